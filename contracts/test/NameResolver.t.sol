// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {INameResolver} from "../src/interfaces/INameResolver.sol";
import {NameFixture} from "./NameFixture.sol";
import {vm} from "./Vm.sol";

contract NameResolverTest is NameFixture {
    address private constant ALICE = address(0xA11CE);
    address private constant BOB = address(0xB0B);
    uint256 private constant BITCOIN = 0;

    Names private names;
    bytes32 private shop;

    function setUp() public {
        vm.warp(1_700_000_000);
        names = _names();
        shop = _hash("conet", "shop");
        _register(names, _claim("shop", ALICE, address(0)));
    }

    // records

    function testFuzz_setAddr_isReadBothWays(address wallet) public {
        vm.assume(wallet != address(0));
        vm.expectEmit(address(names.resolver));
        emit INameResolver.AddrChanged(shop, wallet);
        vm.expectEmit(address(names.resolver));
        emit INameResolver.AddressChanged(shop, 60, abi.encodePacked(wallet));
        vm.prank(ALICE);
        names.resolver.setAddr(shop, wallet);
        vm.assertEq(names.resolver.addr(shop), wallet, "addr");
        vm.assertEq(names.resolver.addr(shop, 60), abi.encodePacked(wallet), "addr of coin type 60");
        vm.prank(ALICE);
        names.resolver.setAddr(shop, address(0));
        vm.assertEq(names.resolver.addr(shop), address(0), "cleared");
        vm.assertEq(names.resolver.addr(shop, 60), "", "cleared of coin type 60");
    }

    function test_setAddr_ofAnotherCoin_leavesTheWallet() public {
        vm.prank(ALICE);
        names.resolver.setAddr(shop, BITCOIN, hex"0014aa");
        vm.assertEq(names.resolver.addr(shop, BITCOIN), hex"0014aa", "address");
        vm.assertEq(names.resolver.addr(shop), address(0), "wallet");
    }

    function test_textContenthashAndName_areReadBack() public {
        vm.expectEmit(address(names.resolver));
        emit INameResolver.TextChanged(shop, "url", "url", "http://shop.conet");
        vm.prank(ALICE);
        names.resolver.setText(shop, "url", "http://shop.conet");
        vm.expectEmit(address(names.resolver));
        emit INameResolver.ContenthashChanged(shop, hex"e301");
        vm.prank(ALICE);
        names.resolver.setContenthash(shop, hex"e301");
        vm.expectEmit(address(names.resolver));
        emit INameResolver.NameChanged(shop, "x.conet");
        vm.prank(ALICE);
        names.resolver.setName(shop, "x.conet");
        vm.assertEq(bytes(names.resolver.text(shop, "url")), "http://shop.conet", "text");
        vm.assertEq(bytes(names.resolver.text(shop, "other")), "", "other text");
        vm.assertEq(names.resolver.contenthash(shop), hex"e301", "content");
        vm.assertEq(bytes(names.resolver.name(shop)), "x.conet", "name");
    }

    function testFuzz_setters_revertIfCallerIsAStranger(address stranger) public {
        vm.assume(stranger != ALICE);
        _expectNotOwner(shop, stranger);
        names.resolver.setAddr(shop, stranger);
        _expectNotOwner(shop, stranger);
        names.resolver.setAddr(shop, 0, hex"01");
        _expectNotOwner(shop, stranger);
        names.resolver.setText(shop, "url", "x");
        _expectNotOwner(shop, stranger);
        names.resolver.setContenthash(shop, hex"01");
        _expectNotOwner(shop, stranger);
        names.resolver.setName(shop, "x");
        _expectNotOwner(_hash("conet", "nobodys"), stranger);
        names.resolver.setName(_hash("conet", "nobodys"), "x");
    }

    function test_operator_maySetRecords() public {
        vm.prank(ALICE);
        names.registry.setApprovalForAll(BOB, true);
        vm.prank(BOB);
        names.resolver.setAddr(shop, BOB);
        vm.assertEq(names.resolver.addr(shop), BOB, "wallet");
    }

    function test_setters_revertIfTooLong() public {
        vm.prank(ALICE);
        names.resolver.setText(shop, string(new bytes(64)), string(new bytes(1024)));
        _expectInvalidLength(65);
        names.resolver.setText(shop, string(new bytes(65)), "");
        _expectInvalidLength(1025);
        names.resolver.setText(shop, "", string(new bytes(1025)));
        _expectInvalidLength(129);
        names.resolver.setContenthash(shop, new bytes(129));
        _expectInvalidLength(256);
        names.resolver.setName(shop, string(new bytes(256)));
        _expectInvalidLength(65);
        names.resolver.setAddr(shop, BITCOIN, new bytes(65));
        _expectInvalidLength(19);
        names.resolver.setAddr(shop, 60, new bytes(19));
    }

    function test_records_areSilentWhileExpiredAndGoneAfterwards() public {
        vm.prank(ALICE);
        names.resolver.setAddr(shop, BOB);
        vm.warp(names.registrar.nameExpires("shop"));
        vm.assertEq(names.resolver.addr(shop), address(0), "expired");
        _expectNotOwner(shop, ALICE);
        names.resolver.setAddr(shop, ALICE);
        vm.warp(block.timestamp + GRACE + 30 days);
        _register(names, _claim("shop", BOB, address(0)));
        vm.assertEq(names.resolver.addr(shop), address(0), "registered by another");
    }

    // resolve

    function test_resolve_answersAsTheFunctionsDo() public {
        vm.prank(ALICE);
        names.resolver.setAddr(shop, BOB);
        vm.prank(ALICE);
        names.resolver.setText(shop, "url", "x");
        bytes memory name = hex"0473686f7005636f6e657400";
        vm.assertEq(_resolve(name, abi.encodeWithSelector(0x3b3b57de, shop)), abi.encode(BOB), "addr");
        vm.assertEq(
            _resolve(name, abi.encodeWithSelector(0xf1cb7e06, shop, 60)), abi.encode(abi.encodePacked(BOB)), "coin"
        );
        vm.assertEq(_resolve(name, abi.encodeCall(INameResolver.text, (shop, "url"))), abi.encode("x"), "text");
        vm.assertEq(_resolve(name, abi.encodeCall(INameResolver.contenthash, (shop))), abi.encode(""), "content");
        vm.assertEq(_resolve(name, abi.encodeCall(INameResolver.name, (shop))), abi.encode(""), "name");
    }

    function test_resolve_belowAName_answersByItsWildcard() public {
        bytes32 wildcard = _below(shop, "*");
        bytes memory query = abi.encodeWithSelector(0x3b3b57de, bytes32(0));
        bytes memory name = hex"036f6e650374776f0473686f7005636f6e657400";
        vm.assertEq(_resolve(name, query), abi.encode(address(0)), "without a wildcard");
        vm.prank(ALICE);
        names.registry.setSubnodeOwner(shop, keccak256("*"), ALICE);
        vm.prank(ALICE);
        names.resolver.setAddr(wildcard, BOB);
        vm.assertEq(_resolve(name, query), abi.encode(BOB), "with one");
        vm.prank(ALICE);
        names.registry.setSubnodeOwner(shop, keccak256("two"), ALICE);
        vm.assertEq(_resolve(name, query), abi.encode(address(0)), "a nearer name has none");
    }

    function testFuzz_resolve_ofAnyBytes_answersOrRefuses(bytes calldata name, bytes calldata data) public view {
        (bool answered,) = address(names.resolver).staticcall(abi.encodeCall(INameResolver.resolve, (name, data)));
        vm.assertFalse(answered && data.length < 36, "answered without a node");
    }

    function test_resolve_revertsIfNameIsMalformed() public {
        bytes[6] memory malformed = [
            bytes(hex""),
            hex"01",
            hex"0161",
            hex"016100ff",
            hex"c001",
            hex"0161016101610161016101610161016101610161016101610161016101610161016100"
        ];
        for (uint256 i = 0; i < malformed.length; ++i) {
            vm.expectRevert(abi.encodeWithSelector(INameResolver.MalformedName.selector, malformed[i]));
            names.resolver.resolve(malformed[i], abi.encodeWithSelector(0x3b3b57de, shop));
        }
    }

    function test_resolve_revertsIfCallIsNoneItAnswers() public {
        bytes4 setAddr = bytes4(keccak256("setAddr(bytes32,address)"));
        _expectUnsupported(setAddr, abi.encodeWithSelector(setAddr, shop, BOB));
        _expectUnsupported(INameResolver.text.selector, abi.encodeWithSelector(INameResolver.text.selector, shop));
        _expectUnsupported(0x3b3b57de, hex"3b3b57de");
        _expectUnsupported(0, hex"");
    }

    function test_supportsInterface_namesWhatItAnswers() public view {
        bytes4[7] memory ids =
            [bytes4(0x01ffc9a7), 0x3b3b57de, 0xf1cb7e06, 0x59d1d43c, 0xbc1c58d1, 0x691f3431, 0x9061b923];
        for (uint256 i = 0; i < ids.length; ++i) {
            vm.assertTrue(names.resolver.supportsInterface(ids[i]), "supported");
        }
        vm.assertFalse(names.resolver.supportsInterface(0xffffffff), "never");
    }

    function _resolve(bytes memory name, bytes memory data) private view returns (bytes memory) {
        return names.resolver.resolve(name, data);
    }

    function _expectNotOwner(bytes32 node, address caller) private {
        vm.expectRevert(abi.encodeWithSelector(INameResolver.NotNodeOwner.selector, node, caller));
        vm.prank(caller);
    }

    function _expectInvalidLength(uint256 length) private {
        vm.expectRevert(abi.encodeWithSelector(INameResolver.InvalidLength.selector, length));
        vm.prank(ALICE);
    }

    function _expectUnsupported(bytes4 selector, bytes memory data) private {
        vm.expectRevert(abi.encodeWithSelector(INameResolver.UnsupportedCall.selector, selector));
        names.resolver.resolve(hex"0473686f7005636f6e657400", data);
    }
}
