// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {NodeRegistry} from "../../src/NodeRegistry.sol";
import {RouteRegistry} from "../../src/RouteRegistry.sol";
import {NodeFixture} from "../NodeFixture.sol";
import {vm} from "../Vm.sol";
import {InvariantTargets} from "./InvariantTargets.sol";
import {RouteHandler} from "./RouteHandler.sol";

contract RouteRegistryInvariants is NodeFixture, InvariantTargets {
    uint256 private constant ACTIVE_NODE_KEY = 0xA11CE;
    uint256 private constant UNBONDED_NODE_KEY = 0xB0B;

    NodeRegistry private nodes;
    RouteRegistry private registry;
    RouteHandler private handler;

    function setUp() public {
        vm.warp(1_700_000_000);
        nodes = new NodeRegistry(MIN_STAKE, UNBONDING_PERIOD);
        registry = new RouteRegistry(nodes);
        address active = _listed(ACTIVE_NODE_KEY);
        address unbonded = _listed(UNBONDED_NODE_KEY);
        vm.prank(unbonded);
        nodes.unbond(unbonded);
        handler = new RouteHandler(registry, active, unbonded);
        _target(address(handler));
    }

    /// @notice A wallet's sequence never falls, whatever is set, cleared or replayed.
    function invariant_sequenceNeverFalls() public view {
        vm.assertEq(handler.sequenceFalls(), 0, "sequence falls");
    }

    /// @notice What is read of a wallet is what it last agreed to, or nothing.
    function invariant_onlyTheWalletChangesItsRoute() public view {
        vm.assertEq(handler.strangersHeeded(), 0, "strangers heeded");
        for (uint256 i = 0; i < handler.WALLETS(); ++i) {
            address wallet = handler.walletAt(i);
            vm.assertEq(abi.encode(registry.routeOf(wallet)), handler.expectedRouteOf(wallet), "route");
            vm.assertEq(registry.sequenceOf(wallet), handler.expectedSequenceOf(wallet), "sequence");
        }
    }

    /// @notice Nobody else's signature does anything.
    function invariant_forgedSignaturesNeverWork() public view {
        vm.assertEq(handler.forgeriesAccepted(), 0, "forgeries accepted");
    }

    /// @notice No signature changes anything once the wallet has agreed to something later.
    function invariant_replayedSignaturesNeverChangeState() public view {
        vm.assertEq(handler.replaysHeeded(), 0, "replays heeded");
    }

    /// @notice Only nodes with stake at risk announce batches.
    function invariant_onlyActiveNodesAnnounce() public view {
        vm.assertEq(handler.foreignBatches(), 0, "foreign batches");
    }

    /// @notice Each announced root is the root of the routes announced with it, and stays known.
    function invariant_announcedRootsAreHonest() public view {
        vm.assertEq(handler.dishonestBatches(), 0, "dishonest batches");
        bytes32[] memory roots = handler.announcedRoots();
        for (uint256 i = 0; i < roots.length; ++i) {
            vm.assertTrue(registry.isBatchRoot(roots[i]), "root known");
        }
    }

    /// @notice Nothing is applied that wasn't announced under the root named.
    function invariant_onlyAnnouncedRoutesAreApplied() public view {
        vm.assertEq(handler.unannouncedApplied(), 0, "unannounced applied");
    }

    function _listed(uint256 key) private returns (address node) {
        node = vm.addr(key);
        vm.deal(node, MIN_STAKE);
        bytes memory signature = _sign(key, _nodeDigest(nodes, node, _enrolment(0), 0));
        vm.prank(node);
        _register(nodes, node, MIN_STAKE, _enrolment(0), signature);
    }
}
