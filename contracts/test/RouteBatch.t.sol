// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {NodeRegistry} from "../src/NodeRegistry.sol";
import {RouteRegistry} from "../src/RouteRegistry.sol";
import {IRouteRegistry} from "../src/interfaces/IRouteRegistry.sol";
import {Enrolment, NodeFixture} from "./NodeFixture.sol";
import {RouteFixture} from "./RouteFixture.sol";
import {vm} from "./Vm.sol";

contract RouteBatchTest is NodeFixture, RouteFixture {
    uint256 private constant FIRST_WALLET_KEY = 0x1000;
    uint256 private constant NODE_KEY = 0xA11CE;
    address private constant STRANGER = address(0x57A);

    RouteRegistry private registry;
    NodeRegistry private nodes;
    address private node;
    uint64 private expiry;

    function setUp() public {
        vm.warp(1_700_000_000);
        nodes = new NodeRegistry(MIN_STAKE, UNBONDING_PERIOD);
        registry = new RouteRegistry(nodes);
        node = vm.addr(NODE_KEY);
        expiry = uint64(block.timestamp + 30 days);

        vm.deal(node, 10 ether);
        bytes memory signature = _sign(NODE_KEY, _nodeDigest(nodes, node, _enrolment(0), 0));
        vm.prank(node);
        _register(nodes, node, MIN_STAKE, _enrolment(0), signature);
    }

    // submitBatch

    function testFuzz_submitBatch_announcesRoutes(uint256 seed) public {
        uint256 count = _between(seed, 1, 40);
        IRouteRegistry.SignedRoute[] memory batch = _batch(count, 1);
        bytes32[] memory leaves = _leaves(batch);
        bytes32 root = _treeRoot(leaves);
        vm.assertFalse(registry.isBatchRoot(root), "not yet");

        vm.expectEmit(address(registry));
        emit IRouteRegistry.RouteBatchSubmitted(node, root, uint32(count), abi.encode(batch));
        vm.prank(node);
        registry.submitBatch(root, uint32(count), abi.encode(batch));

        vm.assertTrue(registry.isBatchRoot(root), "announced");
        vm.assertEq(registry.batchRoot(batch), root, "the view agrees");
        for (uint256 i = 0; i < count; ++i) {
            vm.assertEq(registry.batchLeaf(batch[i].route), leaves[i], "leaf");
            vm.assertTrue(registry.isInBatch(root, leaves[i], _treeProof(leaves, i)), "in batch");
        }
        _assertAbsent(batch[0].route.wallet);
    }

    function test_submitBatch_revertsIfCallerIsNoNode() public {
        IRouteRegistry.SignedRoute[] memory batch = _batch(2, 1);
        _expectSubmitReverts(
            STRANGER, _rootOf(batch), 2, abi.encode(batch), _reason(IRouteRegistry.NotActiveNode.selector, STRANGER)
        );
    }

    function test_submitBatch_revertsIfNodeIsUnbonding() public {
        vm.prank(node);
        nodes.unbond(node);
        IRouteRegistry.SignedRoute[] memory batch = _batch(2, 1);
        _expectSubmitReverts(
            node, _rootOf(batch), 2, abi.encode(batch), _reason(IRouteRegistry.NotActiveNode.selector, node)
        );
    }

    function testFuzz_submitBatch_revertsIfRootIsWrong(bytes32 root) public {
        IRouteRegistry.SignedRoute[] memory batch = _batch(3, 1);
        vm.assume(root != _rootOf(batch));
        _expectSubmitReverts(
            node,
            root,
            3,
            abi.encode(batch),
            abi.encodeWithSelector(IRouteRegistry.BatchRootMismatch.selector, root, _rootOf(batch))
        );
    }

    function test_submitBatch_revertsIfCountIsWrong() public {
        IRouteRegistry.SignedRoute[] memory batch = _batch(3, 1);
        _expectSubmitReverts(
            node,
            _rootOf(batch),
            2,
            abi.encode(batch),
            abi.encodeWithSelector(IRouteRegistry.BatchCountMismatch.selector, 2, 3)
        );
    }

    function test_submitBatch_revertsIfEmpty() public {
        IRouteRegistry.SignedRoute[] memory none = new IRouteRegistry.SignedRoute[](0);
        _expectSubmitReverts(
            node, 0, 0, abi.encode(none), abi.encodeWithSelector(IRouteRegistry.InvalidBatchCount.selector, 0)
        );
    }

    function test_submitBatch_revertsIfTooLong() public {
        bytes memory routes = new bytes(64 * 1024 + 1);
        _expectSubmitReverts(
            node, 0, 1, routes, abi.encodeWithSelector(IRouteRegistry.InvalidBatchLength.selector, 64 * 1024 + 1)
        );
    }

    function test_submitBatch_acceptsFullBatchWithinABlock() public {
        IRouteRegistry.SignedRoute[] memory batch = _smallBatch(107);
        bytes memory routes = abi.encode(batch);
        vm.assertTrue(routes.length <= 64 * 1024 && routes.length + 608 > 64 * 1024, "as many as fit");
        bytes32 root = _rootOf(batch);
        vm.prank(node);
        uint256 before = gasleft();
        registry.submitBatch(root, 107, routes);
        vm.assertTrue(before - gasleft() < 4_000_000, "gas");
    }

    function test_batchRoot_revertsIfCountIsAbove256() public {
        IRouteRegistry.SignedRoute[] memory batch = _smallBatch(1);
        IRouteRegistry.SignedRoute[] memory many = new IRouteRegistry.SignedRoute[](257);
        for (uint256 i = 0; i < 257; ++i) {
            many[i] = batch[0];
        }
        vm.expectRevert(abi.encodeWithSelector(IRouteRegistry.InvalidBatchCount.selector, 257));
        registry.batchRoot(many);
    }

    function test_submitBatch_revertsIfBytesFollow() public {
        IRouteRegistry.SignedRoute[] memory batch = _batch(2, 1);
        _expectSubmitReverts(
            node,
            _rootOf(batch),
            2,
            bytes.concat(abi.encode(batch), bytes32(uint256(1))),
            abi.encodeWithSelector(IRouteRegistry.NonCanonicalBatch.selector)
        );
    }

    function test_submitBatch_revertsIfRoutesShareBytes() public {
        IRouteRegistry.SignedRoute[] memory batch = _batch(1, 1);
        bytes memory one = abi.encode(batch);
        // Two offsets that lead to the same route: [0x20][length 2][0x40][0x40] then the route.
        bytes memory shared = bytes.concat(
            bytes32(uint256(0x20)), bytes32(uint256(2)), bytes32(uint256(0x40)), bytes32(uint256(0x40)), _from(one, 96)
        );
        _expectSubmitReverts(node, 0, 2, shared, abi.encodeWithSelector(IRouteRegistry.NonCanonicalBatch.selector));
    }

    function testFuzz_submitBatch_revertsIfBytesAreGarbage(bytes calldata routes) public {
        vm.expectRevert();
        vm.prank(node);
        registry.submitBatch(0, 1, routes);
    }

    function test_submitBatch_revertsIfARouteBreaksItsBounds() public {
        IRouteRegistry.SignedRoute[] memory batch = _batch(3, 1);
        batch[1].route.keyIds = new bytes8[](9);
        _expectSubmitReverts(
            node,
            _rootOf(batch),
            3,
            abi.encode(batch),
            abi.encodeWithSelector(IRouteRegistry.InvalidKeyIdCount.selector, 9)
        );
    }

    function test_submitBatch_revertsIfASignatureHasNot65Bytes() public {
        IRouteRegistry.SignedRoute[] memory batch = _batch(3, 1);
        batch[2].signature = new bytes(64);
        _expectSubmitReverts(
            node,
            _rootOf(batch),
            3,
            abi.encode(batch),
            _reason(IRouteRegistry.InvalidSignature.selector, batch[2].route.wallet)
        );
    }

    function test_submitBatch_mayComeAgain() public {
        IRouteRegistry.SignedRoute[] memory batch = _batch(2, 1);
        bytes32 root = _submit(batch);
        vm.expectEmit(address(registry));
        emit IRouteRegistry.RouteBatchSubmitted(node, root, 2, abi.encode(batch));
        _submit(batch);
    }

    // isInBatch

    function test_isInBatch_isFalseForAForeignLeafOrProof() public {
        IRouteRegistry.SignedRoute[] memory batch = _batch(5, 1);
        bytes32 root = _submit(batch);
        bytes32[] memory leaves = _leaves(batch);
        vm.assertFalse(registry.isInBatch(root, leaves[1], _treeProof(leaves, 0)), "another leaf's proof");
        vm.assertFalse(registry.isInBatch(root, leaves[0], new bytes32[](0)), "no proof");
        vm.assertFalse(registry.isInBatch(root, keccak256("foreign"), _treeProof(leaves, 0)), "foreign leaf");
        vm.assertFalse(registry.isInBatch(leaves[0], leaves[0], new bytes32[](0)), "a root never submitted");
    }

    // applyFromBatch

    function testFuzz_applyFromBatch_storesRoute(uint256 seed) public {
        uint256 count = _between(seed, 1, 12);
        uint256 index = (seed >> 8) % count;
        IRouteRegistry.SignedRoute[] memory batch = _batch(count, 1);
        bytes32 root = _submit(batch);
        IRouteRegistry.Route memory route = batch[index].route;

        vm.expectEmit(address(registry));
        emit IRouteRegistry.RouteSet(
            route.wallet, route.fingerprint, route.keyIds, route.mailboxes, route.sequence, route.expiry
        );
        vm.prank(STRANGER);
        registry.applyFromBatch(root, route, batch[index].signature, _treeProof(_leaves(batch), index));
        vm.assertEq(abi.encode(registry.routeOf(route.wallet)), abi.encode(route), "stored route");
        vm.assertEq(registry.sequenceOf(route.wallet), 1, "sequence");
    }

    function test_applyFromBatch_revertsIfReplayed() public {
        IRouteRegistry.SignedRoute[] memory batch = _batch(3, 1);
        bytes32 root = _submit(batch);
        _apply(root, batch, 1);
        _expectApplyReverts(root, batch, 1, abi.encodeWithSelector(IRouteRegistry.StaleSequence.selector, 1, 1));
    }

    function test_applyFromBatch_revertsIfANewerRouteIsStored() public {
        IRouteRegistry.SignedRoute[] memory older = _batch(3, 1);
        IRouteRegistry.SignedRoute[] memory newer = _batch(3, 2);
        bytes32 olderRoot = _submit(older);
        _apply(_submit(newer), newer, 1);
        _expectApplyReverts(olderRoot, older, 1, abi.encodeWithSelector(IRouteRegistry.StaleSequence.selector, 1, 2));
    }

    function test_applyFromBatch_revertsIfRootIsUnknown() public {
        IRouteRegistry.SignedRoute[] memory batch = _batch(3, 1);
        bytes32 root = _rootOf(batch);
        _expectApplyReverts(root, batch, 1, abi.encodeWithSelector(IRouteRegistry.UnknownBatchRoot.selector, root));
    }

    function test_applyFromBatch_revertsIfRouteIsNotInBatch() public {
        IRouteRegistry.SignedRoute[] memory batch = _batch(3, 1);
        bytes32 root = _submit(batch);
        batch[1] = _batch(3, 2)[1];
        _expectApplyReverts(
            root, batch, 1, abi.encodeWithSelector(IRouteRegistry.NotInBatch.selector, root, _leaf(batch[1].route))
        );
    }

    function test_applyFromBatch_revertsIfSignatureIsForged() public {
        IRouteRegistry.SignedRoute[] memory batch = _batch(3, 1);
        batch[1].signature = _sign(NODE_KEY, _routeDigest(registry, batch[1].route));
        bytes32 root = _submit(batch);
        _expectApplyReverts(root, batch, 1, _reason(IRouteRegistry.InvalidSignature.selector, batch[1].route.wallet));
    }

    function test_applyFromBatch_revertsIfExpired() public {
        IRouteRegistry.SignedRoute[] memory batch = _batch(3, 1);
        bytes32 root = _submit(batch);
        vm.warp(expiry);
        _expectApplyReverts(root, batch, 1, abi.encodeWithSelector(IRouteRegistry.RouteExpired.selector, expiry));
    }

    // steps

    function _batch(uint256 count, uint64 sequence) private view returns (IRouteRegistry.SignedRoute[] memory batch) {
        batch = new IRouteRegistry.SignedRoute[](count);
        for (uint256 i = 0; i < count; ++i) {
            batch[i].route = _route(vm.addr(FIRST_WALLET_KEY + i), sequence, expiry, i);
            batch[i].signature = _sign(FIRST_WALLET_KEY + i, _routeDigest(registry, batch[i].route));
        }
    }

    /// @dev Routes of one key ID and one mailbox under a v6 fingerprint, the usual size.
    function _smallBatch(uint256 count) private view returns (IRouteRegistry.SignedRoute[] memory batch) {
        batch = new IRouteRegistry.SignedRoute[](count);
        for (uint256 i = 0; i < count; ++i) {
            batch[i].route = _route(vm.addr(FIRST_WALLET_KEY + i), 1, expiry, 24 * i);
            batch[i].signature = _sign(FIRST_WALLET_KEY + i, _routeDigest(registry, batch[i].route));
        }
    }

    function _rootOf(IRouteRegistry.SignedRoute[] memory batch) private pure returns (bytes32) {
        return _treeRoot(_leaves(batch));
    }

    function _submit(IRouteRegistry.SignedRoute[] memory batch) private returns (bytes32 root) {
        root = _rootOf(batch);
        vm.prank(node);
        registry.submitBatch(root, uint32(batch.length), abi.encode(batch));
    }

    function _apply(bytes32 root, IRouteRegistry.SignedRoute[] memory batch, uint256 index) private {
        registry.applyFromBatch(root, batch[index].route, batch[index].signature, _treeProof(_leaves(batch), index));
    }

    function _expectSubmitReverts(address caller, bytes32 root, uint32 count, bytes memory routes, bytes memory reason)
        private
    {
        vm.expectRevert(reason);
        vm.prank(caller);
        registry.submitBatch(root, count, routes);
        vm.assertFalse(registry.isBatchRoot(root), "not announced");
    }

    function _expectApplyReverts(
        bytes32 root,
        IRouteRegistry.SignedRoute[] memory batch,
        uint256 index,
        bytes memory reason
    ) private {
        bytes32[] memory proof = _treeProof(_leaves(batch), index);
        vm.expectRevert(reason);
        registry.applyFromBatch(root, batch[index].route, batch[index].signature, proof);
    }

    function _assertAbsent(address who) private view {
        IRouteRegistry.Route memory none;
        vm.assertEq(abi.encode(registry.routeOf(who)), abi.encode(none), "no route");
    }

    function _reason(bytes4 selector, address who) private pure returns (bytes memory) {
        return abi.encodeWithSelector(selector, who);
    }

    function _from(bytes memory data, uint256 start) private pure returns (bytes memory rest) {
        rest = new bytes(data.length - start);
        for (uint256 i = 0; i < rest.length; ++i) {
            rest[i] = data[start + i];
        }
    }
}
