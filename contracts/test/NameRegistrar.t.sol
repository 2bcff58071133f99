// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {NameRegistry} from "../src/NameRegistry.sol";
import {INameRegistrar} from "../src/interfaces/INameRegistrar.sol";
import {NameFixture} from "./NameFixture.sol";
import {vm} from "./Vm.sol";

contract NameRegistrarTest is NameFixture {
    address private constant ALICE = address(0xA11CE);
    address private constant MALLORY = address(0x3A110);
    address private constant WALLET = address(0x3A11E7);

    Names private names;
    bool private refusing;

    function setUp() public {
        vm.warp(1_700_000_000);
        names = _names();
        vm.deal(address(this), 1_000_000 ether);
    }

    receive() external payable {
        require(!refusing, "refused");
    }

    // terms

    function test_constructor_keepsTerms() public view {
        vm.assertEq(names.registrar.PRICE_PER_YEAR(), PRICE, "price");
        vm.assertEq(names.registrar.MIN_COMMITMENT_AGE(), MIN_AGE, "least age");
        vm.assertEq(names.registrar.MAX_COMMITMENT_AGE(), MAX_AGE, "greatest age");
    }

    function test_constructor_revertsIfTermsAreOutOfBounds() public {
        _expectInvalidTerms(0, 1, 2);
        _expectInvalidTerms(2 ** 128 + 1, 1, 2);
        _expectInvalidTerms(1, 0, 2);
        _expectInvalidTerms(1, 2, 2);
        _expectInvalidTerms(1, 1, 7 days + 1);
    }

    // commit and register

    function test_register_givesTheNameAndWhatItSays() public {
        INameRegistrar.Claim memory claim = _claim("shop", ALICE, WALLET);
        names.registrar.commit(_commitment(names.registrar, claim));
        vm.warp(block.timestamp + MIN_AGE);
        uint64 expiry = uint64(block.timestamp) + YEAR;
        vm.expectEmit(address(names.registrar));
        emit INameRegistrar.NameRegistered("shop", keccak256("shop"), ALICE, 8 * PRICE, expiry);
        names.registrar.register{value: 8 * PRICE}(claim);
        bytes32 node = _hash("conet", "shop");
        vm.assertEq(names.registry.owner(node), ALICE, "owner");
        vm.assertEq(names.registry.resolver(node), address(names.resolver), "resolver");
        vm.assertEq(names.resolver.addr(node), WALLET, "wallet");
        vm.assertEq(names.registrar.nameExpires("shop"), expiry, "expiry");
        vm.assertFalse(names.registrar.available("shop"), "available");
    }

    function test_register_withoutTarget_saysNothing() public {
        _register(names, _claim("shop", ALICE, address(0)));
        vm.assertEq(names.resolver.addr(_hash("conet", "shop")), address(0), "wallet");
    }

    function testFuzz_makeCommitment_isTheHashOfAllValues(INameRegistrar.Claim memory claim) public view {
        vm.assertEq(names.registrar.makeCommitment(claim), _commitment(names.registrar, claim), "commitment");
    }

    function test_register_ofWhatAnotherRevealed_isStillTheirs() public {
        // Mallory sees alice's claim before it is in a block, and brings it first: alice has the name, mallory paid.
        INameRegistrar.Claim memory claim = _committed(_claim("shop", ALICE, WALLET));
        vm.deal(MALLORY, 8 * PRICE);
        vm.prank(MALLORY);
        names.registrar.register{value: 8 * PRICE}(claim);
        vm.assertEq(names.registry.owner(_hash("conet", "shop")), ALICE, "owner");
    }

    function testFuzz_register_revertsIfAnyValueDiffersFromTheCommitment(uint256 which, bytes32 other) public {
        INameRegistrar.Claim memory claim = _committed(_claim("shop", ALICE, WALLET));
        which %= 5;
        if (which == 0) claim.label = "shoq";
        if (which == 1) claim.owner = MALLORY;
        if (which == 2) claim.duration += 1;
        if (which == 3) claim.target = MALLORY;
        if (which == 4) claim.secret = other;
        vm.assume(claim.secret != keccak256("shop") || which != 4);
        vm.expectRevert(_about(INameRegistrar.UnknownCommitment.selector, claim));
        names.registrar.register{value: 100 * PRICE}(claim);
    }

    function test_register_revertsIfTheCommitmentWasMadeForAnotherContract() public {
        INameRegistrar.Claim memory claim = _committed(_claim("shop", ALICE, WALLET));
        Names memory others = _names();
        vm.expectRevert(
            abi.encodeWithSelector(INameRegistrar.UnknownCommitment.selector, _commitment(others.registrar, claim))
        );
        others.registrar.register{value: 8 * PRICE}(claim);
    }

    function test_register_revertsOnAnotherChain() public {
        INameRegistrar.Claim memory claim = _committed(_claim("shop", ALICE, WALLET));
        vm.chainId(1);
        vm.expectRevert(_about(INameRegistrar.UnknownCommitment.selector, claim));
        names.registrar.register{value: 8 * PRICE}(claim);
    }

    function testFuzz_register_revertsIfCommitmentIsTooNew(uint64 age) public {
        INameRegistrar.Claim memory claim = _claim("shop", ALICE, WALLET);
        uint256 made = block.timestamp;
        names.registrar.commit(_commitment(names.registrar, claim));
        vm.warp(made + age % MIN_AGE);
        vm.expectRevert(
            abi.encodeWithSelector(
                INameRegistrar.CommitmentTooNew.selector, _commitment(names.registrar, claim), made + MIN_AGE
            )
        );
        names.registrar.register{value: 8 * PRICE}(claim);
    }

    function test_register_revertsIfCommitmentIsTooOld() public {
        INameRegistrar.Claim memory claim = _claim("shop", ALICE, WALLET);
        uint256 made = block.timestamp;
        names.registrar.commit(_commitment(names.registrar, claim));
        vm.warp(made + MAX_AGE + 1);
        vm.expectRevert(
            abi.encodeWithSelector(
                INameRegistrar.CommitmentTooOld.selector, _commitment(names.registrar, claim), made + MAX_AGE
            )
        );
        names.registrar.register{value: 8 * PRICE}(claim);
    }

    function test_commit_revertsWhileTheSameCanBeUsed() public {
        bytes32 commitment = keccak256("commitment");
        uint256 made = block.timestamp;
        vm.expectEmit(address(names.registrar));
        emit INameRegistrar.Committed(commitment);
        names.registrar.commit(commitment);
        vm.warp(made + MAX_AGE);
        vm.expectRevert(abi.encodeWithSelector(INameRegistrar.CommitmentPending.selector, commitment));
        names.registrar.commit(commitment);
        vm.warp(made + MAX_AGE + 1);
        names.registrar.commit(commitment);
        vm.assertEq(names.registrar.commitmentTime(commitment), block.timestamp, "time");
    }

    function test_register_usesUpTheCommitment() public {
        INameRegistrar.Claim memory claim = _claim("shop", ALICE, WALLET);
        _register(names, claim);
        vm.assertEq(names.registrar.commitmentTime(_commitment(names.registrar, claim)), 0, "commitment");
        vm.warp(block.timestamp + YEAR + GRACE);
        vm.expectRevert(_about(INameRegistrar.UnknownCommitment.selector, claim));
        names.registrar.register{value: 100 * PRICE}(claim);
    }

    function test_register_revertsIfNameIsSomebodys() public {
        _register(names, _claim("shop", ALICE, WALLET));
        INameRegistrar.Claim memory claim = _committed(_claim("shop", MALLORY, MALLORY));
        vm.expectRevert(abi.encodeWithSelector(INameRegistrar.NameUnavailable.selector, "shop"));
        names.registrar.register{value: 8 * PRICE}(claim);
        vm.warp(names.registrar.nameExpires("shop") + GRACE - 1);
        vm.expectRevert(abi.encodeWithSelector(INameRegistrar.NameUnavailable.selector, "shop"));
        names.registrar.register{value: 8 * PRICE}(claim);
    }

    function test_register_revertsIfOwnerIsZero() public {
        INameRegistrar.Claim memory claim = _committed(_claim("shop", address(0), WALLET));
        vm.expectRevert(INameRegistrar.ZeroOwner.selector);
        names.registrar.register{value: 8 * PRICE}(claim);
    }

    function test_register_revertsIfDurationIsOutOfBounds() public {
        INameRegistrar.Claim memory claim = _claim("shop", ALICE, WALLET);
        claim.duration = 28 days - 1;
        vm.expectRevert(abi.encodeWithSelector(INameRegistrar.InvalidDuration.selector, claim.duration));
        names.registrar.register{value: 8 * PRICE}(claim);
        claim.duration = 10 * YEAR + 1;
        vm.expectRevert(abi.encodeWithSelector(INameRegistrar.InvalidDuration.selector, claim.duration));
        names.registrar.register{value: 100 * PRICE}(claim);
    }

    // labels

    function test_label_lengthsAreCountedInCharacters() public {
        _expectInvalidLength("");
        _expectInvalidLength("ab");
        // Two characters of three bytes.
        _expectInvalidLength(unicode"中文");
        _expectInvalidLength("a234567890123456789012345678901234567890123456789012345678901234");
        vm.assertTrue(names.registrar.available("abc"), "three letters");
        vm.assertTrue(names.registrar.available(unicode"中文字"), "three characters");
        vm.assertTrue(
            names.registrar.available("a23456789012345678901234567890123456789012345678901234567890123"), "63 bytes"
        );
    }

    function testFuzz_label_ofAForeignByte_isRefusedWithItsPlace(bytes1 byte_, uint8 place) public {
        bytes memory label = "shop-1_$";
        place %= uint8(label.length);
        bool normal = byte_ >= 0x80 || (byte_ >= 0x61 && byte_ <= 0x7a) || (byte_ >= 0x30 && byte_ <= 0x39)
            || byte_ == 0x2d || byte_ == 0x5f || byte_ == 0x24;
        vm.assume(!normal);
        label[place] = byte_;
        vm.assertFalse(names.registrar.available(string(label)), "available");
        vm.expectRevert(abi.encodeWithSelector(INameRegistrar.InvalidLabelByte.selector, string(label), place));
        names.registrar.rentPrice(string(label), YEAR);
        INameRegistrar.Claim memory claim = _committed(_claim(string(label), ALICE, WALLET));
        vm.expectRevert(abi.encodeWithSelector(INameRegistrar.InvalidLabelByte.selector, string(label), place));
        names.registrar.register{value: 100 * PRICE}(claim);
    }

    // price and payment

    function test_rentPrice_isByLengthAndDuration() public view {
        _assertPrice("abc", YEAR, 64 * PRICE);
        _assertPrice("abcd", YEAR, 8 * PRICE);
        _assertPrice("abcde", YEAR, PRICE);
        _assertPrice("abcdefghijk", 2 * YEAR, 2 * PRICE);
        // Rounded up.
        _assertPrice("abcde", 1, PRICE / YEAR + 1);
    }

    function testFuzz_register_returnsWhatIsPaidTooMuch(uint96 extra) public {
        INameRegistrar.Claim memory claim = _committed(_claim("shopping", ALICE, WALLET));
        vm.deal(address(this), PRICE + extra);
        names.registrar.register{value: PRICE + extra}(claim);
        vm.assertEq(address(this).balance, extra, "returned");
        vm.assertEq(address(names.registrar).balance, PRICE, "kept");
    }

    function test_register_revertsIfPaidTooLittle() public {
        INameRegistrar.Claim memory claim = _committed(_claim("shopping", ALICE, WALLET));
        vm.expectRevert(abi.encodeWithSelector(INameRegistrar.InsufficientPayment.selector, PRICE - 1, PRICE));
        names.registrar.register{value: PRICE - 1}(claim);
    }

    function test_register_revertsIfTheRestIsRefused() public {
        INameRegistrar.Claim memory claim = _committed(_claim("shopping", ALICE, WALLET));
        refusing = true;
        vm.expectRevert(abi.encodeWithSelector(INameRegistrar.RefundRefused.selector, address(this), 1));
        names.registrar.register{value: PRICE + 1}(claim);
        names.registrar.register{value: PRICE}(claim);
    }

    // renewal, grace, premium

    function testFuzz_renew_byAnybodyProlongs(address payer, uint32 duration) public {
        vm.assume(duration > 0 && uint160(payer) > 0xffff && payer.code.length == 0);
        _register(names, _claim("shopping", ALICE, WALLET));
        uint64 expiry = names.registrar.nameExpires("shopping");
        vm.assume(expiry + duration <= block.timestamp + 10 * YEAR);
        (uint256 price,) = names.registrar.rentPrice("shopping", duration);
        vm.deal(payer, price);
        vm.expectEmit(address(names.registrar));
        emit INameRegistrar.NameRenewed("shopping", keccak256("shopping"), price, expiry + duration);
        vm.prank(payer);
        names.registrar.renew{value: price}("shopping", duration);
        vm.assertEq(names.registrar.nameExpires("shopping"), expiry + duration, "expiry");
        vm.assertEq(names.registry.owner(_hash("conet", "shopping")), ALICE, "owner");
    }

    function test_renew_inGraceIsTheHoldersAlone() public {
        _register(names, _claim("shopping", ALICE, WALLET));
        vm.warp(names.registrar.nameExpires("shopping") + GRACE - 1);
        vm.expectRevert(abi.encodeWithSelector(INameRegistrar.NotHolder.selector, "shopping", address(this)));
        names.registrar.renew{value: PRICE}("shopping", YEAR);
        vm.deal(ALICE, PRICE);
        vm.prank(ALICE);
        names.registrar.renew{value: PRICE}("shopping", YEAR);
        vm.assertEq(names.resolver.addr(_hash("conet", "shopping")), WALLET, "says what it said");
    }

    function test_renew_revertsIfNameIsFree() public {
        vm.expectRevert(abi.encodeWithSelector(INameRegistrar.NameNotRegistered.selector, "shopping"));
        names.registrar.renew{value: PRICE}("shopping", YEAR);
        _register(names, _claim("shopping", ALICE, WALLET));
        vm.warp(names.registrar.nameExpires("shopping") + GRACE);
        vm.expectRevert(abi.encodeWithSelector(INameRegistrar.NameNotRegistered.selector, "shopping"));
        vm.deal(ALICE, PRICE);
        vm.prank(ALICE);
        names.registrar.renew{value: PRICE}("shopping", YEAR);
    }

    function test_renew_revertsIfDurationIsOutOfBounds() public {
        _register(names, _claim("shopping", ALICE, WALLET));
        for (uint256 i = 0; i < 3; ++i) {
            uint64 duration = [0, 9 * YEAR + 1, type(uint64).max][i];
            vm.expectRevert(abi.encodeWithSelector(INameRegistrar.InvalidDuration.selector, duration));
            names.registrar.renew{value: 20 * PRICE}("shopping", duration);
        }
        names.registrar.renew{value: 20 * PRICE}("shopping", 9 * YEAR);
    }

    function test_renew_revertsIfItWouldStillBeExpired() public {
        _register(names, _claim("shopping", ALICE, WALLET));
        vm.warp(names.registrar.nameExpires("shopping") + 5);
        vm.expectRevert(abi.encodeWithSelector(INameRegistrar.InvalidDuration.selector, 5));
        vm.prank(ALICE);
        names.registrar.renew("shopping", 5);
    }

    function test_name_afterGraceIsFreeAndEmpty() public {
        bytes32 node = _hash("conet", "shopping");
        _register(names, _claim("shopping", ALICE, WALLET));
        vm.prank(ALICE);
        bytes32 pay = names.registry.setSubnodeOwner(node, keccak256("pay"), ALICE);
        vm.warp(names.registrar.nameExpires("shopping") + GRACE + 30 days);
        vm.assertTrue(names.registrar.available("shopping"), "available");
        _register(names, _claim("shopping", MALLORY, address(0)));
        vm.assertEq(names.registry.owner(node), MALLORY, "owner");
        vm.assertEq(names.resolver.addr(node), address(0), "old wallet");
        vm.assertEq(names.registry.owner(pay), address(0), "old name below");
    }

    function test_premium_halvesEachDayAndEnds() public {
        _register(names, _claim("shopping", ALICE, WALLET));
        uint256 free = names.registrar.nameExpires("shopping") + GRACE;
        _assertPremium(free - 1, 0);
        _assertPremium(free, PRICE << 16);
        _assertPremium(free + 12 hours, (PRICE << 16) * 3 / 4);
        _assertPremium(free + 1 days, PRICE << 15);
        _assertPremium(free + 16 days, PRICE);
        _assertPremium(free + 17 days, 0);
        _assertPremium(free + 10 * YEAR, 0);
    }

    function testFuzz_premium_neverRises(uint32 first, uint32 second) public {
        vm.assume(first <= second);
        _register(names, _claim("shopping", ALICE, WALLET));
        uint256 free = names.registrar.nameExpires("shopping") + GRACE;
        vm.warp(free + first);
        (, uint256 before) = names.registrar.rentPrice("shopping", YEAR);
        vm.warp(free + second);
        (, uint256 later) = names.registrar.rentPrice("shopping", YEAR);
        vm.assertTrue(later <= before, "premium");
    }

    function test_register_ofALapsedNameCostsThePremium() public {
        _register(names, _claim("shopping", ALICE, WALLET));
        vm.warp(names.registrar.nameExpires("shopping") + GRACE + 16 days - MIN_AGE);
        INameRegistrar.Claim memory claim = _committed(_claim("shopping", MALLORY, WALLET));
        vm.expectRevert(abi.encodeWithSelector(INameRegistrar.InsufficientPayment.selector, PRICE, 2 * PRICE));
        names.registrar.register{value: PRICE}(claim);
        names.registrar.register{value: 2 * PRICE}(claim);
    }

    function _committed(INameRegistrar.Claim memory claim) private returns (INameRegistrar.Claim memory) {
        names.registrar.commit(_commitment(names.registrar, claim));
        vm.warp(block.timestamp + MIN_AGE);
        return claim;
    }

    function _about(bytes4 error_, INameRegistrar.Claim memory claim) private view returns (bytes memory) {
        return abi.encodeWithSelector(error_, _commitment(names.registrar, claim));
    }

    function _assertPrice(string memory label, uint64 duration, uint256 expected) private view {
        (uint256 base, uint256 premium) = names.registrar.rentPrice(label, duration);
        vm.assertEq(base, expected, label);
        vm.assertEq(premium, 0, "premium");
    }

    function _assertPremium(uint256 time, uint256 expected) private {
        vm.warp(time);
        (, uint256 premium) = names.registrar.rentPrice("shopping", YEAR);
        vm.assertEq(premium, expected, "premium");
    }

    function _expectInvalidLength(string memory label) private {
        vm.assertFalse(names.registrar.available(label), "available");
        vm.expectRevert(abi.encodeWithSelector(INameRegistrar.InvalidLabelLength.selector, label));
        names.registrar.rentPrice(label, YEAR);
    }

    function _expectInvalidTerms(uint256 price, uint64 least, uint64 greatest) private {
        vm.expectRevert(abi.encodeWithSelector(INameRegistrar.InvalidTerms.selector, price, least, greatest));
        new NameRegistry(price, least, greatest);
    }
}
