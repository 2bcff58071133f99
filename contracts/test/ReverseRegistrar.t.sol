// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {IReverseRegistrar} from "../src/interfaces/IReverseRegistrar.sol";
import {NameFixture} from "./NameFixture.sol";
import {vm} from "./Vm.sol";

contract ReverseRegistrarTest is NameFixture {
    address private constant ALICE = 0x00000000000000000000000000000000000A11cE;
    address private constant BOB = address(0xB0B);
    string private constant DIGITS = "00000000000000000000000000000000000a11ce";

    Names private names;
    bytes32 private node;

    function setUp() public {
        vm.warp(1_700_000_000);
        names = _names();
        node = _below(_hash("reverse", "addr"), DIGITS);
    }

    function test_node_isThatOfTheLowerCaseDigits() public view {
        vm.assertEq(names.reverse.node(ALICE), node, "node");
    }

    function test_setName_isWhatTheCallerIsCalled() public {
        vm.expectEmit(address(names.reverse));
        emit IReverseRegistrar.ReverseClaimed(ALICE, node);
        vm.prank(ALICE);
        vm.assertEq(names.reverse.setName("shop.conet"), node, "node");
        vm.assertEq(bytes(names.resolver.name(node)), "shop.conet", "name");
        vm.assertEq(names.registry.owner(node), ALICE, "owner");
        vm.prank(ALICE);
        names.reverse.setName("other.conet");
        vm.assertEq(bytes(names.resolver.name(node)), "other.conet", "new name");
    }

    function test_claims_giveTheNode() public {
        vm.prank(ALICE);
        names.reverse.claim(BOB);
        vm.assertEq(names.registry.owner(node), BOB, "owner");
        vm.assertEq(names.registry.resolver(node), address(names.resolver), "resolver");
        vm.prank(ALICE);
        names.reverse.claimWithResolver(ALICE, BOB);
        vm.assertEq(names.registry.owner(node), ALICE, "owner");
        vm.assertEq(names.registry.resolver(node), BOB, "resolver");
    }

    function testFuzz_claimForAddr_revertsIfCallerIsAStranger(address stranger) public {
        vm.assume(stranger != ALICE);
        _expectNotAccount(stranger);
        names.reverse.claimForAddr(ALICE, stranger, address(0));
        _expectNotAccount(stranger);
        names.reverse.setNameForAddr(ALICE, stranger, address(names.resolver), "x");
    }

    function test_operator_mayNameTheAccount() public {
        vm.prank(ALICE);
        names.registry.setApprovalForAll(BOB, true);
        vm.prank(BOB);
        names.reverse.setNameForAddr(ALICE, ALICE, address(names.resolver), "shop.conet");
        vm.assertEq(bytes(names.resolver.name(node)), "shop.conet", "name");
        vm.assertEq(names.registry.owner(node), ALICE, "owner");
    }

    function _expectNotAccount(address caller) private {
        vm.expectRevert(abi.encodeWithSelector(IReverseRegistrar.NotAccount.selector, ALICE, caller));
        vm.prank(caller);
    }
}
