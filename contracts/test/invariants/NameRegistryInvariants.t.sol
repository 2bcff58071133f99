// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {NameFixture} from "../NameFixture.sol";
import {vm} from "../Vm.sol";
import {InvariantTargets} from "./InvariantTargets.sol";
import {NameHandler} from "./NameHandler.sol";

contract NameRegistryInvariants is NameFixture, InvariantTargets {
    Names private names;
    NameHandler private handler;

    function setUp() public {
        vm.warp(1_700_000_000);
        names = _names();
        handler = new NameHandler(names);
        _target(address(handler));
    }

    /// @notice The registrar keeps each price, to the wei, and nothing else; nothing leaves it.
    function invariant_balanceIsTheSumOfPrices() public view {
        vm.assertEq(address(names.registrar).balance, handler.paidTotal(), "balance and payments");
        vm.assertEq(handler.paidTotal(), handler.dueTotal(), "payments and prices");
    }

    /// @notice No name is registered but by a claim that was committed to, as it was, once.
    function invariant_claimsAreCommittedTo() public view {
        vm.assertEq(handler.claimsWithoutCommitment(), 0, "claims without commitment");
    }

    /// @notice No commitment is used before its time or after.
    function invariant_commitmentsAreUsedInTheirTime() public view {
        vm.assertEq(handler.untimelyClaims(), 0, "untimely claims");
    }

    /// @notice Nobody gets a name that is somebody's, be it in its days of grace.
    function invariant_heldNamesAreNotTaken() public view {
        vm.assertEq(handler.namesTaken(), 0, "names taken");
    }

    /// @notice In the days of grace nobody renews a name but its holder.
    function invariant_graceIsTheHolders() public view {
        vm.assertEq(handler.renewedInGraceByOthers(), 0, "renewed by others");
    }

    /// @notice A name is what its owner made of it, while it lasts, and nothing afterwards.
    function invariant_onlyTheOwnerChangesAName() public view {
        vm.assertEq(handler.strangersHeeded(), 0, "strangers heeded");
        for (uint256 i = 0; i < handler.NAMES(); ++i) {
            bytes32 node = handler.nodeAt(i);
            NameHandler.Expected memory expected = handler.expectedOf(i);
            bool lives = block.timestamp < expected.expiry;
            vm.assertEq(names.registry.holder(node), expected.owner, "holder");
            vm.assertEq(names.registry.expiry(node), expected.expiry, "expiry");
            vm.assertEq(names.registry.owner(node), lives ? expected.owner : address(0), "owner");
        }
    }

    /// @notice A name says what its present owner, or the one who handed it on, made it say; expired it says nothing.
    function invariant_namesSayWhatTheirOwnersSaid() public view {
        for (uint256 i = 0; i < handler.NAMES(); ++i) {
            NameHandler.Expected memory expected = handler.expectedOf(i);
            address wallet = block.timestamp < expected.expiry ? expected.wallet : address(0);
            vm.assertEq(names.resolver.addr(handler.nodeAt(i)), wallet, "wallet");
        }
    }

    /// @notice What was below a name ends with its registration, and comes back by renewal only.
    function invariant_nothingBelowOutlivesARegistration() public view {
        for (uint256 i = 0; i < handler.NAMES(); ++i) {
            NameHandler.Expected memory expected = handler.expectedOf(i);
            address owner = block.timestamp < expected.expiry ? expected.payOwner : address(0);
            vm.assertEq(names.registry.owner(_below(handler.nodeAt(i), "pay")), owner, "owner below");
        }
    }
}
