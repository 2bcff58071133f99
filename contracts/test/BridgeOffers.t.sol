// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {BridgeOffers} from "../src/BridgeOffers.sol";
import {NodeRegistry} from "../src/NodeRegistry.sol";
import {IBridgeOffers} from "../src/interfaces/IBridgeOffers.sol";
import {INodeRegistry} from "../src/interfaces/INodeRegistry.sol";
import {Enrolment, NodeFixture} from "./NodeFixture.sol";
import {vm} from "./Vm.sol";

contract BridgeOffersTest is NodeFixture {
    address private constant OPERATOR = address(0x0123);
    uint256 private constant NODE_KEY = 0x4321;
    string private constant POLICY = "reject *:25;accept *:*";

    NodeRegistry private registry;
    BridgeOffers private offers;
    address private node;

    function setUp() public {
        vm.warp(1_700_000_000);
        registry = new NodeRegistry(MIN_STAKE, UNBONDING_PERIOD);
        offers = new BridgeOffers(registry);
        node = vm.addr(NODE_KEY);
        _enrol(0);
    }

    function test_constructor_revertsIfTheRegistryIsNoContract() public {
        vm.expectRevert(abi.encodeWithSelector(IBridgeOffers.InvalidNodeRegistry.selector, OPERATOR));
        new BridgeOffers(INodeRegistry(OPERATOR));
    }

    function test_nodeRegistry_isTheOneGiven() public view {
        vm.assertEq(address(offers.nodeRegistry()), address(registry), "registry");
    }

    function testFuzz_announce_saysAllThereIsToKnow(uint128 price, uint256 lengthSeed) public {
        string memory policy = _policy(_between(lengthSeed, 1, 1024));
        vm.expectEmit(address(offers));
        emit IBridgeOffers.OfferAnnounced(node, price, policy);
        vm.prank(OPERATOR);
        offers.announce(node, price, policy);
    }

    function test_announce_replacesAndFollowsAWithdrawal() public {
        _announce(1, POLICY);
        _announce(0, "accept *:443");
        _withdraw();
        _announce(2, POLICY);
    }

    function test_announce_takesTheShortestAndTheLongestPolicy() public {
        _announce(0, _policy(1));
        _announce(type(uint128).max, _policy(1024));
    }

    /// @notice The contract reads no policy: whoever does must expect anything.
    function testFuzz_announce_takesAnyBytes(bytes calldata policy) public {
        vm.assume(policy.length > 0 && policy.length <= 1024);
        _announce(0, string(policy));
    }

    function testFuzz_announce_revertsIfThePolicyIsTooLong(uint256 lengthSeed) public {
        uint256 length = _between(lengthSeed, 1025, 4096);
        _expectAnnounceReverts(
            OPERATOR, _policy(length), abi.encodeWithSelector(IBridgeOffers.InvalidPolicyLength.selector, length)
        );
    }

    function test_announce_revertsIfThePolicyIsEmpty() public {
        _expectAnnounceReverts(OPERATOR, "", abi.encodeWithSelector(IBridgeOffers.InvalidPolicyLength.selector, 0));
    }

    function testFuzz_announce_revertsIfCallerIsNotTheOperator(address caller) public {
        vm.assume(caller != OPERATOR);
        bytes memory reason = abi.encodeWithSelector(IBridgeOffers.NotOperator.selector, node, caller);
        _expectAnnounceReverts(caller, POLICY, reason);
        // The node's own wallet too: who pays the stake answers for the node.
        reason = abi.encodeWithSelector(IBridgeOffers.NotOperator.selector, node, node);
        _expectAnnounceReverts(node, POLICY, reason);
    }

    function testFuzz_withdraw_revertsIfCallerIsNotTheOperator(address caller) public {
        vm.assume(caller != OPERATOR);
        _announce(0, POLICY);
        _expectWithdrawReverts(caller, abi.encodeWithSelector(IBridgeOffers.NotOperator.selector, node, caller));
    }

    function testFuzz_offers_revertIfTheNodeIsAbsent(address other, address caller) public {
        vm.assume(other != node);
        bytes memory reason = abi.encodeWithSelector(IBridgeOffers.NodeNotActive.selector, other);
        vm.expectRevert(reason);
        vm.prank(caller);
        offers.announce(other, 0, POLICY);
        vm.expectRevert(reason);
        vm.prank(caller);
        offers.withdraw(other);
    }

    function test_offers_revertIfTheNodeIsUnbondingOrGone() public {
        _announce(0, POLICY);
        bytes memory reason = abi.encodeWithSelector(IBridgeOffers.NodeNotActive.selector, node);
        vm.prank(OPERATOR);
        registry.unbond(node);
        _expectAnnounceReverts(OPERATOR, POLICY, reason);
        _expectWithdrawReverts(OPERATOR, reason);
        vm.warp(block.timestamp + UNBONDING_PERIOD);
        vm.prank(OPERATOR);
        registry.withdraw(node);
        _expectAnnounceReverts(OPERATOR, POLICY, reason);
        _enrol(1);
        _announce(0, POLICY);
    }

    function _enrol(uint256 nonce) private {
        Enrolment memory enrolment = _enrolment(1);
        bytes memory signature = _sign(NODE_KEY, _nodeDigest(registry, OPERATOR, enrolment, nonce));
        vm.deal(OPERATOR, OPERATOR.balance + MIN_STAKE);
        vm.prank(OPERATOR);
        _register(registry, node, MIN_STAKE, enrolment, signature);
    }

    function _announce(uint128 price, string memory policy) private {
        vm.expectEmit(address(offers));
        emit IBridgeOffers.OfferAnnounced(node, price, policy);
        vm.prank(OPERATOR);
        offers.announce(node, price, policy);
    }

    function _withdraw() private {
        vm.expectEmit(address(offers));
        emit IBridgeOffers.OfferWithdrawn(node);
        vm.prank(OPERATOR);
        offers.withdraw(node);
    }

    function _expectAnnounceReverts(address caller, string memory policy, bytes memory reason) private {
        vm.expectRevert(reason);
        vm.prank(caller);
        offers.announce(node, 0, policy);
    }

    function _expectWithdrawReverts(address caller, bytes memory reason) private {
        vm.expectRevert(reason);
        vm.prank(caller);
        offers.withdraw(node);
    }

    function _policy(uint256 length) private pure returns (string memory) {
        bytes memory policy = new bytes(length);
        for (uint256 i = 0; i < length; ++i) {
            policy[i] = bytes1(uint8(97 + i % 26));
        }
        return string(policy);
    }
}
