// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {INameRegistry} from "../src/interfaces/INameRegistry.sol";
import {NameFixture} from "./NameFixture.sol";
import {vm} from "./Vm.sol";

contract NameRegistryTest is NameFixture {
    address private constant ALICE = address(0xA11CE);
    address private constant BOB = address(0xB0B);
    bytes32 private constant PAY = keccak256("pay");

    Names private names;
    bytes32 private shop;

    function setUp() public {
        vm.warp(1_700_000_000);
        names = _names();
        shop = _hash("conet", "shop");
        _register(names, _claim("shop", ALICE, BOB));
    }

    function test_constructor_leavesTheRootToNobody() public {
        vm.assertEq(names.registry.owner(0), address(0), "root");
        vm.assertEq(names.registry.owner(_hash("reverse")), address(0), "reverse");
        _expectNotOwner(0, address(this));
        names.registry.setSubnodeOwner(0, keccak256("eth"), address(this));
    }

    function test_constructor_givesTopNodesToItsCreations() public view {
        vm.assertEq(address(names.registrar.registry()), address(names.registry), "registrar");
        vm.assertEq(address(names.reverse.registry()), address(names.registry), "reverse registrar");
        vm.assertEq(address(names.reverse.defaultResolver()), address(names.resolver), "resolver");
        vm.assertEq(names.registry.expiry(_hash("conet")), 0, "never expires");
    }

    function test_names_areHashedAsInEip137() public view {
        // The value that EIP-181 publishes.
        bytes32 addrReverse = 0x91d1777781884d03a6757a803996e38de2a42967fb37eeaca72729271025a9e2;
        vm.assertEq(names.registry.owner(addrReverse), address(names.reverse), "addr.reverse");
    }

    // changes by owner, operator, stranger

    function testFuzz_setters_changeWhatTheOwnerSays(address owner, address resolver, uint64 ttl) public {
        vm.assume(owner != address(0));
        vm.prank(ALICE);
        names.registry.setRecord(shop, owner, resolver, ttl);
        vm.assertEq(names.registry.owner(shop), owner, "owner");
        vm.assertEq(names.registry.resolver(shop), resolver, "resolver");
        vm.assertEq(names.registry.ttl(shop), ttl, "ttl");
        vm.prank(owner);
        names.registry.setResolver(shop, ALICE);
        vm.prank(owner);
        names.registry.setTTL(shop, 7);
        vm.prank(owner);
        names.registry.setOwner(shop, BOB);
        vm.assertEq(names.registry.resolver(shop), ALICE, "resolver");
        vm.assertEq(names.registry.ttl(shop), 7, "ttl");
        vm.assertEq(names.registry.owner(shop), BOB, "owner");
        vm.assertEq(names.registry.holder(shop), BOB, "holder");
    }

    function test_setters_emitTheEventsOfEip137() public {
        vm.expectEmit(address(names.registry));
        emit INameRegistry.Transfer(shop, BOB);
        vm.expectEmit(address(names.registry));
        emit INameRegistry.NewResolver(shop, ALICE);
        vm.expectEmit(address(names.registry));
        emit INameRegistry.NewTTL(shop, 3);
        vm.prank(ALICE);
        names.registry.setRecord(shop, BOB, ALICE, 3);
        vm.expectEmit(address(names.registry));
        emit INameRegistry.NewOwner(shop, PAY, ALICE);
        vm.prank(BOB);
        names.registry.setSubnodeOwner(shop, PAY, ALICE);
    }

    function testFuzz_setters_revertIfCallerIsAStranger(address stranger) public {
        vm.assume(stranger != ALICE);
        _expectNotOwner(shop, stranger);
        names.registry.setRecord(shop, stranger, stranger, 1);
        _expectNotOwner(shop, stranger);
        names.registry.setOwner(shop, stranger);
        _expectNotOwner(shop, stranger);
        names.registry.setResolver(shop, stranger);
        _expectNotOwner(shop, stranger);
        names.registry.setTTL(shop, 1);
        _expectNotOwner(shop, stranger);
        names.registry.setSubnodeOwner(shop, PAY, stranger);
        _expectNotOwner(shop, stranger);
        names.registry.setSubnodeRecord(shop, PAY, stranger, stranger, 1);
        _expectNotOwner(shop, stranger);
        names.registry.setSubnodeExpiry(shop, PAY, 1);
    }

    function test_zeroAddress_ownsNothing() public {
        _expectNotOwner(_hash("conet", "nobodys"), address(0));
        names.registry.setOwner(_hash("conet", "nobodys"), ALICE);
    }

    function test_operator_mayUntilItMayNoMore() public {
        vm.prank(ALICE);
        names.registry.setApprovalForAll(BOB, true);
        vm.assertTrue(names.registry.isApprovedForAll(ALICE, BOB), "approved");
        vm.prank(BOB);
        names.registry.setTTL(shop, 5);
        vm.prank(ALICE);
        names.registry.setApprovalForAll(BOB, false);
        _expectNotOwner(shop, BOB);
        names.registry.setTTL(shop, 6);
    }

    // nodes below

    function test_subnode_isItsOwners() public {
        bytes32 pay = _give(shop, "pay", BOB);
        vm.assertEq(names.registry.owner(pay), BOB, "owner");
        vm.assertTrue(names.registry.recordExists(pay), "exists");
        _expectNotOwner(pay, ALICE);
        names.registry.setOwner(pay, ALICE);
    }

    function test_subnodeGivenAnew_isEmpty() public {
        bytes32 pay = _give(shop, "pay", BOB);
        vm.prank(BOB);
        names.registry.setResolver(pay, BOB);
        bytes32 deep = _giveAs(BOB, pay, "deep", BOB);
        _give(shop, "pay", ALICE);
        vm.assertEq(names.registry.resolver(pay), address(0), "resolver");
        vm.assertEq(names.registry.owner(deep), address(0), "what was below");
        vm.assertFalse(names.registry.recordExists(deep), "exists");
        vm.assertEq(names.registry.holder(deep), BOB, "holder");
        _expectNotOwner(deep, BOB);
        names.registry.setOwner(deep, BOB);
        _giveAs(ALICE, pay, "deep", ALICE);
        vm.assertEq(names.registry.owner(deep), ALICE, "given anew");
    }

    function test_subnodes_comeAndGoWithTheExpiryAbove() public {
        bytes32 pay = _give(shop, "pay", BOB);
        uint64 expiry = names.registry.expiry(shop);
        vm.warp(expiry - 1);
        vm.assertEq(names.registry.owner(pay), BOB, "last second");
        vm.warp(expiry);
        vm.assertEq(names.registry.owner(pay), address(0), "expired");
        vm.assertEq(names.registry.owner(shop), address(0), "expired above");
        vm.assertEq(names.registry.resolver(shop), address(0), "resolver");
        vm.assertEq(names.registry.holder(shop), ALICE, "holder");
        _expectNotOwner(shop, ALICE);
        names.registry.setOwner(shop, ALICE);
        vm.deal(ALICE, 100 ether);
        vm.prank(ALICE);
        names.registrar.renew{value: 100 ether}("shop", YEAR);
        vm.assertEq(names.registry.owner(pay), BOB, "renewed");
    }

    function test_setSubnodeExpiry_endsANodeAtThatSecond() public {
        bytes32 pay = _give(shop, "pay", BOB);
        uint64 expiry = uint64(block.timestamp) + 10;
        vm.expectEmit(address(names.registry));
        emit INameRegistry.NewExpiry(pay, expiry);
        vm.prank(ALICE);
        names.registry.setSubnodeExpiry(shop, PAY, expiry);
        vm.warp(expiry);
        vm.assertEq(names.registry.owner(pay), address(0), "expired");
        vm.assertEq(names.registry.owner(shop), ALICE, "above");
    }

    function test_setSubnodeExpiry_revertsIfThereIsNoSuchNode() public {
        bytes32 pay = _below(shop, "pay");
        vm.expectRevert(abi.encodeWithSelector(INameRegistry.UnknownNode.selector, pay));
        vm.prank(ALICE);
        names.registry.setSubnodeExpiry(shop, PAY, 1);
    }

    function test_setSubnodeOwner_revertsBelow16Labels() public {
        bytes32 node = shop;
        for (uint256 labels = 2; labels < 16; ++labels) {
            node = _give(node, "a", ALICE);
        }
        bytes32 tooDeep = _below(node, "a");
        vm.expectRevert(abi.encodeWithSelector(INameRegistry.TooDeep.selector, tooDeep));
        vm.prank(ALICE);
        names.registry.setSubnodeOwner(node, keccak256("a"), ALICE);
    }

    function _give(bytes32 node, string memory label, address owner) private returns (bytes32) {
        return _giveAs(ALICE, node, label, owner);
    }

    function _giveAs(address giver, bytes32 node, string memory label, address owner)
        private
        returns (bytes32 subnode)
    {
        vm.prank(giver);
        subnode = names.registry.setSubnodeOwner(node, keccak256(bytes(label)), owner);
        vm.assertEq(subnode, _below(node, label), "node");
    }

    function _expectNotOwner(bytes32 node, address caller) private {
        vm.expectRevert(abi.encodeWithSelector(INameRegistry.NotNodeOwner.selector, node, caller));
        vm.prank(caller);
    }
}
