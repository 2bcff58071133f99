// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {BridgeOffers} from "../../src/BridgeOffers.sol";
import {NodeRegistry} from "../../src/NodeRegistry.sol";
import {NodeFixture} from "../NodeFixture.sol";
import {vm} from "../Vm.sol";
import {InvariantTargets} from "./InvariantTargets.sol";
import {OfferHandler} from "./OfferHandler.sol";

contract BridgeOffersInvariants is NodeFixture, InvariantTargets {
    OfferHandler private handler;

    function setUp() public {
        vm.warp(1_700_000_000);
        NodeRegistry registry = new NodeRegistry(MIN_STAKE, UNBONDING_PERIOD);
        handler = new OfferHandler(registry, new BridgeOffers(registry));
        _target(address(handler));
    }

    /// @notice Nobody speaks for a node but who operates it, while it is active.
    function invariant_onlyTheOperatorOffers() public view {
        vm.assertEq(handler.strangersHeeded(), 0, "strangers heeded");
    }

    /// @notice The operator of an active node is always heard.
    function invariant_theOperatorIsHeard() public view {
        vm.assertEq(handler.operatorsRefused(), 0, "operators refused");
    }

    /// @notice No policy is empty, or longer than readers are ready for.
    function invariant_policiesAreBounded() public view {
        vm.assertEq(handler.oversizedPolicies(), 0, "oversized policies");
    }
}
