// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {NodeRegistry} from "../../src/NodeRegistry.sol";
import {INodeRegistry} from "../../src/interfaces/INodeRegistry.sol";
import {NodeFixture} from "../NodeFixture.sol";
import {vm} from "../Vm.sol";
import {InvariantTargets} from "./InvariantTargets.sol";
import {NodeHandler} from "./NodeHandler.sol";

contract NodeRegistryInvariants is NodeFixture, InvariantTargets {
    NodeRegistry private registry;
    NodeHandler private handler;

    function setUp() public {
        vm.warp(1_700_000_000);
        registry = new NodeRegistry(MIN_STAKE, UNBONDING_PERIOD);
        handler = new NodeHandler(registry);
        _target(address(handler));
    }

    /// @notice The balance is the sum of the stakes, and both are what came in less what went out.
    function invariant_balanceIsTheSumOfStakes() public view {
        uint256 stakes = 0;
        for (uint256 i = 0; i < handler.NODES(); ++i) {
            stakes += registry.nodeOf(handler.nodeAt(i)).stake;
        }
        vm.assertEq(address(registry).balance, stakes, "balance and stakes");
        vm.assertEq(stakes, handler.depositedTotal() - handler.paidOutTotal(), "stakes and flows");
    }

    /// @notice For no node is more paid out than was ever paid in, nor anything twice.
    function invariant_withdrawnNeverExceedsDeposited() public view {
        for (uint256 i = 0; i < handler.NODES(); ++i) {
            address node = handler.nodeAt(i);
            uint256 due = handler.expectedOf(node).stake;
            vm.assertTrue(
                handler.paidOutFor(node) + due <= handler.depositedFor(node), "paid out or due at most what was paid in"
            );
        }
    }

    /// @notice A node's entry is what its operator made of it.
    function invariant_onlyTheOperatorChangesANode() public view {
        vm.assertEq(handler.strangersHeeded(), 0, "strangers heeded");
        for (uint256 i = 0; i < handler.NODES(); ++i) {
            address node = handler.nodeAt(i);
            INodeRegistry.NodeRecord memory actual = registry.nodeOf(node);
            NodeHandler.Expected memory expected = handler.expectedOf(node);
            vm.assertEq(actual.operator, expected.operator, "operator");
            vm.assertEq(actual.stake, expected.stake, "stake");
            vm.assertEq(actual.releaseTime, expected.releaseTime, "release time");
            vm.assertEq(actual.transportKey, expected.transportKey, "transport key");
            vm.assertEq(actual.certificateHash, expected.certificateHash, "certificate hash");
        }
    }

    /// @notice No agreement of a node's wallet works twice.
    function invariant_replayedAgreementsNeverWork() public view {
        vm.assertEq(handler.replaysAccepted(), 0, "replays accepted");
    }

    /// @notice No node is listed or changed under keys that its wallet hasn't signed.
    function invariant_forgedAgreementsNeverWork() public view {
        vm.assertEq(handler.forgeriesAccepted(), 0, "forgeries accepted");
    }

    /// @notice No stake leaves before the unbonding period is over.
    function invariant_stakeStaysForTheUnbondingPeriod() public view {
        vm.assertEq(handler.earlyWithdrawals(), 0, "early withdrawals");
    }

    /// @notice The active nodes are those with an operator, the least stake and no unbonding begun.
    function invariant_activeNodesAreStaked() public view {
        for (uint256 i = 0; i < handler.NODES(); ++i) {
            address node = handler.nodeAt(i);
            NodeHandler.Expected memory expected = handler.expectedOf(node);
            bool active = expected.operator != address(0) && expected.releaseTime == 0;
            vm.assertTrue(registry.isActive(node) == active, "active");
            vm.assertTrue(!active || expected.stake >= MIN_STAKE, "staked");
        }
    }
}
