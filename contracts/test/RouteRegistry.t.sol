// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {NodeRegistry} from "../src/NodeRegistry.sol";
import {RouteRegistry} from "../src/RouteRegistry.sol";
import {INodeRegistry} from "../src/interfaces/INodeRegistry.sol";
import {IRouteRegistry} from "../src/interfaces/IRouteRegistry.sol";
import {RouteFixture} from "./RouteFixture.sol";
import {vm} from "./Vm.sol";

contract RouteRegistryTest is RouteFixture {
    uint256 private constant WALLET_KEY = 0xA11CE;
    uint256 private constant OTHER_KEY = 0xB0B;
    address private constant RELAYER = address(0x5E1A);

    NodeRegistry private nodes;
    RouteRegistry private registry;
    address private wallet;
    uint64 private expiry;

    function setUp() public {
        vm.warp(1_700_000_000);
        nodes = new NodeRegistry(1 ether, 1 days);
        registry = new RouteRegistry(nodes);
        wallet = vm.addr(WALLET_KEY);
        expiry = uint64(block.timestamp + 30 days);
    }

    function test_constructor_keepsNodeRegistry() public view {
        vm.assertEq(address(registry.nodeRegistry()), address(nodes), "node registry");
    }

    function test_constructor_revertsIfNodeRegistryIsNoContract() public {
        vm.expectRevert(abi.encodeWithSelector(IRouteRegistry.InvalidNodeRegistry.selector, RELAYER));
        new RouteRegistry(INodeRegistry(RELAYER));
    }

    function test_wallet_isUnlistedByDefault() public view {
        _assertAbsent(wallet);
        vm.assertEq(registry.sequenceOf(wallet), 0, "sequence");
    }

    // setRoute

    function testFuzz_setRoute_storesRoute(uint256 seed, uint64 sequence, uint64 validFor) public {
        vm.assume(sequence > 0 && validFor > 0 && validFor < type(uint64).max - block.timestamp);
        IRouteRegistry.Route memory route = _route(wallet, sequence, uint64(block.timestamp) + validFor, seed);
        _expectRouteSet(route);
        vm.prank(wallet);
        registry.setRoute(route);
        _assertStored(route);
        vm.assertEq(registry.sequenceOf(wallet), sequence, "sequence");
    }

    function testFuzz_setRoute_replacesRouteOfAnyShape(uint256 first, uint256 second) public {
        vm.prank(wallet);
        registry.setRoute(_route(wallet, 1, expiry, first));
        vm.prank(wallet);
        registry.setRoute(_route(wallet, 2, expiry, second));
        _assertStored(_route(wallet, 2, expiry, second));
    }

    function test_setRoute_revertsIfCallerIsNotWallet() public {
        vm.expectRevert(abi.encodeWithSelector(IRouteRegistry.NotRouteWallet.selector, wallet, RELAYER));
        vm.prank(RELAYER);
        registry.setRoute(_route(wallet, 1, expiry, 0));
    }

    function testFuzz_setRoute_revertsIfSequenceDoesNotRise(uint64 current, uint64 sequence) public {
        vm.assume(current > 0 && sequence <= current);
        vm.prank(wallet);
        registry.setRoute(_route(wallet, current, expiry, 0));
        vm.expectRevert(_staleSequence(sequence, current));
        vm.prank(wallet);
        registry.setRoute(_route(wallet, sequence, expiry, 1));
    }

    function test_setRoute_revertsIfFirstSequenceIsZero() public {
        _expectSetReverts(_route(wallet, 0, expiry, 0), _staleSequence(0, 0));
    }

    function test_setRoute_revertsIfExpiryIsNotInTheFuture() public {
        uint64 now_ = uint64(block.timestamp);
        _expectSetReverts(
            _route(wallet, 1, now_, 0), abi.encodeWithSelector(IRouteRegistry.RouteExpired.selector, now_)
        );
        vm.prank(wallet);
        registry.setRoute(_route(wallet, 1, now_ + 1, 0));
    }

    function testFuzz_setRoute_revertsIfFingerprintLengthIsNeither20Nor32(uint256 seed) public {
        uint256 length = _between(seed, 0, 64);
        vm.assume(length != 20 && length != 32);
        IRouteRegistry.Route memory route = _route(wallet, 1, expiry, 0);
        route.fingerprint = new bytes(length);
        _expectSetReverts(route, abi.encodeWithSelector(IRouteRegistry.InvalidFingerprintLength.selector, length));
    }

    function test_setRoute_revertsIfKeyIdCountIsOutOfBounds() public {
        IRouteRegistry.Route memory route = _route(wallet, 1, expiry, 0);
        route.keyIds = new bytes8[](0);
        _expectSetReverts(route, abi.encodeWithSelector(IRouteRegistry.InvalidKeyIdCount.selector, 0));
        route.keyIds = new bytes8[](9);
        _expectSetReverts(route, abi.encodeWithSelector(IRouteRegistry.InvalidKeyIdCount.selector, 9));
    }

    function testFuzz_setRoute_revertsIfAKeyIdIsZero(uint256 seed) public {
        IRouteRegistry.Route memory route = _route(wallet, 1, expiry, seed);
        route.keyIds[seed % route.keyIds.length] = 0;
        _expectSetReverts(route, abi.encodeWithSelector(IRouteRegistry.ZeroKeyId.selector));
    }

    function test_setRoute_revertsIfMailboxCountIsOutOfBounds() public {
        IRouteRegistry.Route memory route = _route(wallet, 1, expiry, 0);
        route.mailboxes = new address[](0);
        _expectSetReverts(route, abi.encodeWithSelector(IRouteRegistry.InvalidMailboxCount.selector, 0));
        route.mailboxes = new address[](4);
        _expectSetReverts(route, abi.encodeWithSelector(IRouteRegistry.InvalidMailboxCount.selector, 4));
    }

    function testFuzz_setRoute_revertsIfAMailboxIsZero(uint256 seed) public {
        IRouteRegistry.Route memory route = _route(wallet, 1, expiry, seed);
        route.mailboxes[seed % route.mailboxes.length] = address(0);
        _expectSetReverts(route, abi.encodeWithSelector(IRouteRegistry.ZeroMailbox.selector));
    }

    // setRouteBySig

    function testFuzz_setRouteBySig_storesRouteWhoeverCalls(uint256 seed, address caller) public {
        IRouteRegistry.Route memory route = _route(wallet, 1, expiry, seed);
        bytes memory signature = _sign(WALLET_KEY, _routeDigest(registry, route));
        _expectRouteSet(route);
        vm.prank(caller);
        registry.setRouteBySig(route, signature);
        _assertStored(route);
    }

    function test_setRouteBySig_revertsIfReplayed() public {
        IRouteRegistry.Route memory route = _route(wallet, 1, expiry, 0);
        bytes memory signature = _sign(WALLET_KEY, _routeDigest(registry, route));
        registry.setRouteBySig(route, signature);
        vm.expectRevert(_staleSequence(1, 1));
        registry.setRouteBySig(route, signature);
    }

    function test_setRouteBySig_revertsIfReplayedAfterClear() public {
        IRouteRegistry.Route memory route = _route(wallet, 1, expiry, 0);
        bytes memory signature = _sign(WALLET_KEY, _routeDigest(registry, route));
        registry.setRouteBySig(route, signature);
        vm.prank(wallet);
        registry.clearRoute(2);
        vm.expectRevert(_staleSequence(1, 2));
        registry.setRouteBySig(route, signature);
        _assertAbsent(wallet);
    }

    function test_setRouteBySig_revertsIfSignedByAnotherKey() public {
        IRouteRegistry.Route memory route = _route(wallet, 1, expiry, 0);
        _expectSetBySigReverts(route, _sign(OTHER_KEY, _routeDigest(registry, route)), _invalidSignature());
    }

    function testFuzz_setRouteBySig_revertsIfSignedValuesDiffer(uint256 field, uint256 seed) public {
        IRouteRegistry.Route memory signed = _route(wallet, 5, expiry, seed);
        bytes memory signature = _sign(WALLET_KEY, _routeDigest(registry, signed));
        IRouteRegistry.Route memory sent = _route(wallet, 5, expiry, seed);
        field = field % 5;
        if (field == 0) sent.fingerprint[seed % sent.fingerprint.length] ^= 0x01;
        if (field == 1) sent.keyIds[seed % sent.keyIds.length] ^= bytes8(uint64(1));
        if (field == 2) sent.mailboxes[seed % sent.mailboxes.length] = RELAYER;
        if (field == 3) sent.sequence = 6;
        if (field == 4) sent.expiry = expiry + 1;
        _expectSetBySigReverts(sent, signature, _invalidSignature());
    }

    function test_setRouteBySig_revertsIfSignedForAnotherRegistry() public {
        RouteRegistry other = new RouteRegistry(nodes);
        IRouteRegistry.Route memory route = _route(wallet, 1, expiry, 0);
        _expectSetBySigReverts(route, _sign(WALLET_KEY, _routeDigest(other, route)), _invalidSignature());
    }

    function test_setRouteBySig_revertsIfChainIdChanged() public {
        IRouteRegistry.Route memory route = _route(wallet, 1, expiry, 0);
        bytes memory signature = _sign(WALLET_KEY, _routeDigest(registry, route));
        vm.chainId(block.chainid + 1);
        _expectSetBySigReverts(route, signature, _invalidSignature());
        registry.setRouteBySig(route, _sign(WALLET_KEY, _routeDigest(registry, route)));
        _assertStored(route);
    }

    function test_setRouteBySig_revertsIfSignatureIsMalleated() public {
        IRouteRegistry.Route memory route = _route(wallet, 1, expiry, 0);
        _expectSetBySigReverts(route, _signWithHighS(WALLET_KEY, _routeDigest(registry, route)), _invalidSignature());
    }

    function test_setRouteBySig_revertsIfSignatureIsCompact() public {
        IRouteRegistry.Route memory route = _route(wallet, 1, expiry, 0);
        _expectSetBySigReverts(route, _signCompact(WALLET_KEY, _routeDigest(registry, route)), _invalidSignature());
    }

    function testFuzz_setRouteBySig_revertsIfSignatureIsGarbage(bytes calldata signature) public {
        _expectSetBySigReverts(_route(wallet, 1, expiry, 0), signature, _invalidSignature());
    }

    function test_setRouteBySig_revertsIfWalletIsZeroAndSignatureIsInvalid() public {
        wallet = address(0);
        _expectSetBySigReverts(_route(wallet, 1, expiry, 0), new bytes(65), _invalidSignature());
    }

    function test_setRouteBySig_revertsIfExpired() public {
        IRouteRegistry.Route memory route = _route(wallet, 1, expiry, 0);
        bytes memory signature = _sign(WALLET_KEY, _routeDigest(registry, route));
        vm.warp(expiry);
        _expectSetBySigReverts(route, signature, abi.encodeWithSelector(IRouteRegistry.RouteExpired.selector, expiry));
    }

    function test_setRouteBySig_revertsIfBoundsAreBroken() public {
        IRouteRegistry.Route memory route = _route(wallet, 1, expiry, 0);
        route.mailboxes = new address[](0);
        bytes memory signature = _sign(WALLET_KEY, _routeDigest(registry, route));
        _expectSetBySigReverts(route, signature, abi.encodeWithSelector(IRouteRegistry.InvalidMailboxCount.selector, 0));
    }

    // expiry

    function test_routeOf_isEmptyFromExpiryOn() public {
        vm.prank(wallet);
        registry.setRoute(_route(wallet, 1, expiry, 0));
        vm.warp(expiry - 1);
        _assertStored(_route(wallet, 1, expiry, 0));
        vm.warp(expiry);
        _assertAbsent(wallet);
        vm.assertEq(registry.sequenceOf(wallet), 1, "the sequence stays");
    }

    // clearRoute

    function test_clearRoute_forgetsRouteAndKeepsSequence() public {
        vm.prank(wallet);
        registry.setRoute(_route(wallet, 1, expiry, 0));
        vm.expectEmit(address(registry));
        emit IRouteRegistry.RouteCleared(wallet, 7);
        vm.prank(wallet);
        registry.clearRoute(7);
        _assertAbsent(wallet);
        vm.assertEq(registry.sequenceOf(wallet), 7, "sequence");
    }

    function test_clearRoute_voidsSignaturesOfAWalletWithoutRoute() public {
        IRouteRegistry.Route memory route = _route(wallet, 3, expiry, 0);
        bytes memory signature = _sign(WALLET_KEY, _routeDigest(registry, route));
        vm.prank(wallet);
        registry.clearRoute(3);
        _expectSetBySigReverts(route, signature, _staleSequence(3, 3));
    }

    function testFuzz_clearRoute_revertsIfSequenceDoesNotRise(uint64 current, uint64 sequence) public {
        vm.assume(current > 0 && sequence <= current);
        vm.prank(wallet);
        registry.setRoute(_route(wallet, current, expiry, 0));
        vm.expectRevert(_staleSequence(sequence, current));
        vm.prank(wallet);
        registry.clearRoute(sequence);
    }

    function test_clearRoute_leavesOtherWalletsAlone() public {
        vm.prank(wallet);
        registry.setRoute(_route(wallet, 1, expiry, 0));
        vm.prank(RELAYER);
        registry.clearRoute(9);
        _assertStored(_route(wallet, 1, expiry, 0));
    }

    // clearRouteBySig

    function test_clearRouteBySig_clearsWhoeverCalls() public {
        vm.prank(wallet);
        registry.setRoute(_route(wallet, 1, expiry, 0));
        bytes memory signature = _sign(WALLET_KEY, _clearDigest(registry, wallet, 2, expiry));
        vm.warp(expiry - 1);
        vm.prank(RELAYER);
        registry.clearRouteBySig(wallet, 2, expiry, signature);
        _assertAbsent(wallet);
        vm.assertEq(registry.sequenceOf(wallet), 2, "sequence");
    }

    function test_clearRouteBySig_revertsIfDeadlinePassed() public {
        bytes memory signature = _sign(WALLET_KEY, _clearDigest(registry, wallet, 1, expiry));
        vm.warp(expiry + 1);
        vm.expectRevert(abi.encodeWithSelector(IRouteRegistry.SignatureExpired.selector, expiry));
        registry.clearRouteBySig(wallet, 1, expiry, signature);
        vm.warp(expiry);
        registry.clearRouteBySig(wallet, 1, expiry, signature);
    }

    function test_clearRouteBySig_revertsIfReplayed() public {
        bytes memory signature = _sign(WALLET_KEY, _clearDigest(registry, wallet, 1, expiry));
        registry.clearRouteBySig(wallet, 1, expiry, signature);
        vm.prank(wallet);
        registry.setRoute(_route(wallet, 2, expiry, 0));
        vm.expectRevert(_staleSequence(1, 2));
        registry.clearRouteBySig(wallet, 1, expiry, signature);
        _assertStored(_route(wallet, 2, expiry, 0));
    }

    function test_clearRouteBySig_revertsIfSignedByAnotherKey() public {
        bytes memory signature = _sign(OTHER_KEY, _clearDigest(registry, wallet, 1, expiry));
        vm.expectRevert(_invalidSignature());
        registry.clearRouteBySig(wallet, 1, expiry, signature);
    }

    function test_clearRouteBySig_revertsIfSignatureIsForARoute() public {
        IRouteRegistry.Route memory route = _route(wallet, 1, expiry, 0);
        bytes memory signature = _sign(WALLET_KEY, _routeDigest(registry, route));
        vm.expectRevert(_invalidSignature());
        registry.clearRouteBySig(wallet, 1, expiry, signature);
    }

    function testFuzz_clearRouteBySig_revertsIfSignedValuesDiffer(uint64 sequence, uint64 deadline) public {
        vm.assume(sequence != 1 || deadline != expiry);
        vm.assume(deadline >= block.timestamp);
        bytes memory signature = _sign(WALLET_KEY, _clearDigest(registry, wallet, 1, expiry));
        vm.expectRevert(_invalidSignature());
        registry.clearRouteBySig(wallet, sequence, deadline, signature);
    }

    // digests

    function testFuzz_routeDigest_isThatOfEip712(uint256 seed, uint64 sequence, uint64 anyExpiry) public view {
        IRouteRegistry.Route memory route = _route(wallet, sequence, anyExpiry, seed);
        vm.assertEq(registry.routeDigest(route), _routeDigest(registry, route), "digest");
    }

    // steps

    function _expectRouteSet(IRouteRegistry.Route memory route) private {
        vm.expectEmit(address(registry));
        emit IRouteRegistry.RouteSet(
            route.wallet, route.fingerprint, route.keyIds, route.mailboxes, route.sequence, route.expiry
        );
    }

    function _expectSetReverts(IRouteRegistry.Route memory route, bytes memory reason) private {
        vm.expectRevert(reason);
        vm.prank(wallet);
        registry.setRoute(route);
    }

    function _expectSetBySigReverts(IRouteRegistry.Route memory route, bytes memory signature, bytes memory reason)
        private
    {
        vm.expectRevert(reason);
        registry.setRouteBySig(route, signature);
    }

    function _assertStored(IRouteRegistry.Route memory route) private view {
        vm.assertEq(abi.encode(registry.routeOf(route.wallet)), abi.encode(route), "stored route");
    }

    function _assertAbsent(address who) private view {
        IRouteRegistry.Route memory none;
        vm.assertEq(abi.encode(registry.routeOf(who)), abi.encode(none), "no route");
    }

    function _invalidSignature() private view returns (bytes memory) {
        return abi.encodeWithSelector(IRouteRegistry.InvalidSignature.selector, wallet);
    }

    function _staleSequence(uint64 sequence, uint64 current) private pure returns (bytes memory) {
        return abi.encodeWithSelector(IRouteRegistry.StaleSequence.selector, sequence, current);
    }
}
