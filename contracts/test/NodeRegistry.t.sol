// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {NodeRegistry} from "../src/NodeRegistry.sol";
import {INodeRegistry} from "../src/interfaces/INodeRegistry.sol";
import {Enrolment, NodeFixture} from "./NodeFixture.sol";
import {vm} from "./Vm.sol";

/// @notice An operator that calls back while it is being paid.
contract ReentrantOperator {
    NodeRegistry private immutable _registry;
    address private immutable _node;
    bytes public answer;

    constructor(NodeRegistry registry, address node) {
        _registry = registry;
        _node = node;
    }

    receive() external payable {
        (bool ok, bytes memory data) = address(_registry).call(abi.encodeCall(NodeRegistry.withdraw, (_node)));
        answer = ok ? bytes("paid again") : data;
    }
}

/// @notice An operator that takes no payment.
contract RefusingOperator {}

contract NodeRegistryTest is NodeFixture {
    uint256 private constant NODE_KEY = 0xA11CE;
    uint256 private constant OTHER_NODE_KEY = 0xB0B;
    address private constant OPERATOR = address(0x0FE);
    address private constant STRANGER = address(0x57A);

    NodeRegistry private registry;
    address private node;

    function setUp() public {
        vm.warp(1_700_000_000);
        registry = new NodeRegistry(MIN_STAKE, UNBONDING_PERIOD);
        node = vm.addr(NODE_KEY);
        vm.deal(OPERATOR, 100 ether);
        vm.deal(STRANGER, 100 ether);
    }

    // register

    function test_register_listsNodeAsActive() public {
        Enrolment memory enrolment = _enrolment(0);
        bytes memory signature = _agree(enrolment, 0);

        vm.expectEmit(address(registry));
        emit INodeRegistry.NodeRegistered(
            node, OPERATOR, enrolment.transportKey, enrolment.certificate, enrolment.endpoint, enrolment.profile
        );
        vm.expectEmit(address(registry));
        emit INodeRegistry.StakeAdded(node, 3 ether, 3 ether);
        vm.prank(OPERATOR);
        _register(registry, node, 3 ether, enrolment, signature);

        INodeRegistry.NodeRecord memory record = registry.nodeOf(node);
        vm.assertTrue(registry.isActive(node), "active");
        vm.assertEq(record.operator, OPERATOR, "operator");
        vm.assertEq(record.stake, 3 ether, "stake");
        vm.assertEq(record.releaseTime, 0, "release time");
        vm.assertEq(record.transportKey, enrolment.transportKey, "transport key");
        vm.assertEq(record.certificateHash, keccak256(enrolment.certificate), "certificate hash");
        vm.assertEq(registry.nonces(node), 1, "nonce");
        vm.assertEq(address(registry).balance, 3 ether, "balance");
    }

    function test_register_revertsIfNodeIsListed() public {
        _registered(0);
        bytes memory signature = _agree(_enrolment(1), 1);
        vm.expectRevert(abi.encodeWithSelector(INodeRegistry.NodeAlreadyRegistered.selector, node));
        vm.prank(OPERATOR);
        _register(registry, node, MIN_STAKE, _enrolment(1), signature);
    }

    function test_register_revertsIfNodeIsUnbonding() public {
        _unbonded();
        bytes memory signature = _agree(_enrolment(1), 1);
        vm.expectRevert(abi.encodeWithSelector(INodeRegistry.NodeAlreadyRegistered.selector, node));
        vm.prank(OPERATOR);
        _register(registry, node, MIN_STAKE, _enrolment(1), signature);
    }

    function testFuzz_register_revertsIfStakeIsBelowMinimum(uint256 seed) public {
        uint256 sent = _between(seed, 0, MIN_STAKE - 1);
        bytes memory signature = _agree(_enrolment(0), 0);
        vm.expectRevert(abi.encodeWithSelector(INodeRegistry.InsufficientStake.selector, sent, MIN_STAKE));
        vm.prank(OPERATOR);
        _register(registry, node, sent, _enrolment(0), signature);
    }

    function test_register_revertsIfSignedByAnotherKey() public {
        bytes memory signature = _sign(OTHER_NODE_KEY, _nodeDigest(registry, OPERATOR, _enrolment(0), 0));
        _expectRegisterReverts(_enrolment(0), signature, _invalidSignature());
    }

    function test_register_revertsIfSignedForAnotherOperator() public {
        bytes memory signature = _sign(NODE_KEY, _nodeDigest(registry, STRANGER, _enrolment(0), 0));
        _expectRegisterReverts(_enrolment(0), signature, _invalidSignature());
    }

    function test_register_revertsIfSignedForAnotherRegistry() public {
        NodeRegistry other = new NodeRegistry(MIN_STAKE, UNBONDING_PERIOD);
        bytes memory signature = _sign(NODE_KEY, _nodeDigest(other, OPERATOR, _enrolment(0), 0));
        _expectRegisterReverts(_enrolment(0), signature, _invalidSignature());
    }

    function test_register_revertsIfChainIdChanged() public {
        bytes memory signature = _agree(_enrolment(0), 0);
        vm.chainId(block.chainid + 1);
        _expectRegisterReverts(_enrolment(0), signature, _invalidSignature());
    }

    function test_register_acceptsSignatureForChangedChainId() public {
        vm.chainId(block.chainid + 1);
        _registered(0);
        vm.assertTrue(registry.isActive(node), "active");
    }

    function testFuzz_register_revertsIfNonceIsWrong(uint256 nonce) public {
        vm.assume(nonce != 0);
        _expectRegisterReverts(_enrolment(0), _agree(_enrolment(0), nonce), _invalidSignature());
    }

    function testFuzz_register_revertsIfSignedValuesDiffer(uint256 field, bytes32 salt) public {
        Enrolment memory signed = _enrolment(0);
        bytes memory signature = _agree(signed, 0);
        Enrolment memory sent = _enrolment(0);
        string memory text = string(abi.encodePacked(salt));
        field = field % 5;
        if (field == 0) sent.transportKey = salt;
        if (field == 1) sent.certificate = bytes(text);
        if (field == 2) sent.endpoint = text;
        if (field == 3) sent.profile = text;
        if (field == 4) sent.deadline = signed.deadline + 1;
        vm.assume(salt != 0 && sent.transportKey != signed.transportKey || field != 0);
        _expectRegisterReverts(sent, signature, _invalidSignature());
    }

    function test_register_revertsIfDeadlinePassed() public {
        Enrolment memory enrolment = _enrolment(0);
        bytes memory signature = _agree(enrolment, 0);
        vm.warp(enrolment.deadline + 1);
        _expectRegisterReverts(
            enrolment, signature, abi.encodeWithSelector(INodeRegistry.SignatureExpired.selector, enrolment.deadline)
        );
    }

    function test_register_worksAtDeadline() public {
        Enrolment memory enrolment = _enrolment(0);
        bytes memory signature = _agree(enrolment, 0);
        vm.warp(enrolment.deadline);
        vm.prank(OPERATOR);
        _register(registry, node, MIN_STAKE, enrolment, signature);
    }

    function test_register_revertsIfSignatureIsMalleated() public {
        bytes memory signature = _signWithHighS(NODE_KEY, _nodeDigest(registry, OPERATOR, _enrolment(0), 0));
        _expectRegisterReverts(_enrolment(0), signature, _invalidSignature());
    }

    function test_register_revertsIfSignatureIsCompact() public {
        bytes memory signature = _signCompact(NODE_KEY, _nodeDigest(registry, OPERATOR, _enrolment(0), 0));
        _expectRegisterReverts(_enrolment(0), signature, _invalidSignature());
    }

    function testFuzz_register_revertsIfSignatureIsGarbage(bytes calldata signature) public {
        _expectRegisterReverts(_enrolment(0), signature, _invalidSignature());
    }

    function test_register_revertsIfNodeIsZeroAndSignatureIsInvalid() public {
        node = address(0);
        _expectRegisterReverts(_enrolment(0), new bytes(65), _invalidSignature());
    }

    function test_register_revertsIfTransportKeyIsZero() public {
        Enrolment memory enrolment = _enrolment(0);
        enrolment.transportKey = 0;
        _expectRegisterReverts(
            enrolment, _agree(enrolment, 0), abi.encodeWithSelector(INodeRegistry.ZeroTransportKey.selector)
        );
    }

    function test_register_revertsIfCertificateLengthIsOutOfBounds() public {
        _expectCertificateLengthReverts(0);
        _expectCertificateLengthReverts(4097);
    }

    function test_register_revertsIfEndpointLengthIsOutOfBounds() public {
        _expectEndpointLengthReverts(0);
        _expectEndpointLengthReverts(257);
    }

    function test_register_revertsIfProfileIsTooLong() public {
        Enrolment memory enrolment = _enrolment(0);
        enrolment.profile = string(new bytes(65));
        bytes memory signature = _agree(enrolment, 0);
        _expectRegisterReverts(
            enrolment, signature, abi.encodeWithSelector(INodeRegistry.InvalidProfileLength.selector, 65)
        );
    }

    function test_register_acceptsLongestFields() public {
        Enrolment memory enrolment = _enrolment(0);
        enrolment.certificate = new bytes(4096);
        enrolment.endpoint = string(new bytes(256));
        enrolment.profile = string(new bytes(64));
        bytes memory signature = _agree(enrolment, 0);
        vm.prank(OPERATOR);
        _register(registry, node, MIN_STAKE, enrolment, signature);
    }

    // update

    function test_update_replacesKeys() public {
        _registered(0);
        Enrolment memory enrolment = _enrolment(1);
        bytes memory signature = _agree(enrolment, 1);

        vm.expectEmit(address(registry));
        emit INodeRegistry.NodeUpdated(
            node, enrolment.transportKey, enrolment.certificate, enrolment.endpoint, enrolment.profile
        );
        vm.prank(OPERATOR);
        _update(registry, node, enrolment, signature);

        INodeRegistry.NodeRecord memory record = registry.nodeOf(node);
        vm.assertEq(record.transportKey, enrolment.transportKey, "transport key");
        vm.assertEq(record.certificateHash, keccak256(enrolment.certificate), "certificate hash");
        vm.assertEq(record.operator, OPERATOR, "operator");
        vm.assertEq(record.stake, MIN_STAKE, "stake");
        vm.assertEq(registry.nonces(node), 2, "nonce");
    }

    function test_update_revertsIfRegistrationIsReplayed() public {
        bytes memory signature = _registered(0);
        vm.expectRevert(_invalidSignature());
        vm.prank(OPERATOR);
        _update(registry, node, _enrolment(0), signature);
    }

    function test_update_revertsIfCallerIsNotOperator() public {
        _registered(0);
        bytes memory signature = _sign(NODE_KEY, _nodeDigest(registry, STRANGER, _enrolment(1), 1));
        vm.expectRevert(_notOperator(STRANGER));
        vm.prank(STRANGER);
        _update(registry, node, _enrolment(1), signature);
    }

    function test_update_revertsIfNodeIsAbsent() public {
        bytes memory signature = _agree(_enrolment(0), 0);
        vm.expectRevert(_notActive());
        vm.prank(OPERATOR);
        _update(registry, node, _enrolment(0), signature);
    }

    function test_update_revertsIfNodeIsUnbonding() public {
        _unbonded();
        bytes memory signature = _agree(_enrolment(1), 1);
        vm.expectRevert(_notActive());
        vm.prank(OPERATOR);
        _update(registry, node, _enrolment(1), signature);
    }

    function test_update_revertsIfTransportKeyIsZero() public {
        _registered(0);
        Enrolment memory enrolment = _enrolment(1);
        enrolment.transportKey = 0;
        bytes memory signature = _agree(enrolment, 1);
        vm.expectRevert(INodeRegistry.ZeroTransportKey.selector);
        vm.prank(OPERATOR);
        _update(registry, node, enrolment, signature);
    }

    // addStake

    function testFuzz_addStake_raisesStake(uint256 seed) public {
        uint256 amount = _between(seed, 1, 50 ether);
        _registered(0);
        vm.expectEmit(address(registry));
        emit INodeRegistry.StakeAdded(node, amount, MIN_STAKE + amount);
        vm.prank(OPERATOR);
        registry.addStake{value: amount}(node);
        vm.assertEq(registry.nodeOf(node).stake, MIN_STAKE + amount, "stake");
    }

    function test_addStake_revertsIfNothingIsSent() public {
        _registered(0);
        vm.expectRevert(INodeRegistry.ZeroAmount.selector);
        vm.prank(OPERATOR);
        registry.addStake(node);
    }

    function test_addStake_revertsIfCallerIsNotOperator() public {
        _registered(0);
        vm.expectRevert(_notOperator(STRANGER));
        vm.prank(STRANGER);
        registry.addStake{value: 1}(node);
    }

    function test_addStake_revertsIfNodeIsUnbonding() public {
        _unbonded();
        vm.expectRevert(_notActive());
        vm.prank(OPERATOR);
        registry.addStake{value: 1}(node);
    }

    // unbond

    function test_unbond_leavesActiveSetAtOnce() public {
        _registered(0);
        uint64 releaseTime = uint64(block.timestamp) + UNBONDING_PERIOD;
        vm.expectEmit(address(registry));
        emit INodeRegistry.NodeUnbonding(node, releaseTime);
        vm.prank(OPERATOR);
        registry.unbond(node);
        vm.assertFalse(registry.isActive(node), "active");
        vm.assertEq(registry.nodeOf(node).releaseTime, releaseTime, "release time");
        vm.assertEq(registry.nodeOf(node).stake, MIN_STAKE, "stake");
    }

    function test_unbond_revertsIfCallerIsNotOperator() public {
        _registered(0);
        vm.expectRevert(_notOperator(node));
        vm.prank(node);
        registry.unbond(node);
    }

    function test_unbond_revertsIfUnbondingAlready() public {
        _unbonded();
        vm.expectRevert(_notActive());
        vm.prank(OPERATOR);
        registry.unbond(node);
    }

    // withdraw

    function test_withdraw_paysOperatorAndForgetsNode() public {
        _unbonded();
        vm.warp(block.timestamp + UNBONDING_PERIOD);
        uint256 before = OPERATOR.balance;
        vm.expectEmit(address(registry));
        emit INodeRegistry.StakeWithdrawn(node, OPERATOR, MIN_STAKE);
        vm.prank(OPERATOR);
        registry.withdraw(node);
        vm.assertEq(OPERATOR.balance, before + MIN_STAKE, "paid");
        vm.assertEq(address(registry).balance, 0, "left over");
        vm.assertEq(
            keccak256(abi.encode(registry.nodeOf(node))), keccak256(new bytes(5 * 32)), "the record is all zero"
        );
        vm.assertEq(registry.nonces(node), 1, "the nonce stays");
    }

    function test_withdraw_revertsIfDoneTwice() public {
        _unbonded();
        vm.warp(block.timestamp + UNBONDING_PERIOD);
        vm.prank(OPERATOR);
        registry.withdraw(node);
        vm.expectRevert(abi.encodeWithSelector(INodeRegistry.NodeNotUnbonding.selector, node));
        vm.prank(OPERATOR);
        registry.withdraw(node);
    }

    function test_withdraw_revertsIfNodeIsActive() public {
        _registered(0);
        vm.warp(block.timestamp + 10 * UNBONDING_PERIOD);
        vm.expectRevert(abi.encodeWithSelector(INodeRegistry.NodeNotUnbonding.selector, node));
        vm.prank(OPERATOR);
        registry.withdraw(node);
    }

    function testFuzz_withdraw_revertsIfBeforeRelease(uint256 seed) public {
        _unbonded();
        uint64 releaseTime = uint64(block.timestamp) + UNBONDING_PERIOD;
        vm.warp(_between(seed, block.timestamp, releaseTime - 1));
        vm.expectRevert(abi.encodeWithSelector(INodeRegistry.StakeLocked.selector, releaseTime));
        vm.prank(OPERATOR);
        registry.withdraw(node);
    }

    function test_withdraw_revertsIfCallerIsNotOperator() public {
        _unbonded();
        vm.warp(block.timestamp + UNBONDING_PERIOD);
        vm.expectRevert(_notOperator(STRANGER));
        vm.prank(STRANGER);
        registry.withdraw(node);
    }

    function test_withdraw_paysReentrantOperatorOnce() public {
        _registeredOther();
        ReentrantOperator operator = new ReentrantOperator(registry, node);
        _unbondedBy(address(operator));
        vm.prank(address(operator));
        registry.withdraw(node);
        vm.assertEq(address(operator).balance, MIN_STAKE, "paid");
        vm.assertEq(
            operator.answer(),
            abi.encodeWithSelector(INodeRegistry.NodeNotUnbonding.selector, node),
            "the call back is refused"
        );
        vm.assertEq(address(registry).balance, MIN_STAKE, "the other node's stake");
    }

    function test_withdraw_revertsIfOperatorRefusesPayment() public {
        RefusingOperator operator = new RefusingOperator();
        _unbondedBy(address(operator));
        vm.expectRevert(abi.encodeWithSelector(INodeRegistry.PaymentRefused.selector, address(operator), MIN_STAKE));
        vm.prank(address(operator));
        registry.withdraw(node);
        vm.assertEq(registry.nodeOf(node).stake, MIN_STAKE, "the stake stays");
    }

    function test_register_worksAgainAfterWithdrawalOnlyWithFreshSignature() public {
        bytes memory used = _registered(0);
        vm.prank(OPERATOR);
        registry.unbond(node);
        vm.warp(block.timestamp + UNBONDING_PERIOD);
        vm.prank(OPERATOR);
        registry.withdraw(node);

        _expectRegisterReverts(_enrolment(0), used, _invalidSignature());
        bytes memory fresh = _agree(_enrolment(1), 1);
        vm.prank(OPERATOR);
        _register(registry, node, MIN_STAKE, _enrolment(1), fresh);
        vm.assertTrue(registry.isActive(node), "active");
    }

    // money and parameters

    function test_receive_revertsIfPlainTransfer() public {
        vm.prank(OPERATOR);
        (bool accepted,) = address(registry).call{value: 1 ether}("");
        vm.assertFalse(accepted, "a plain transfer is refused");
    }

    function test_constructor_revertsIfMinimumStakeIsZero() public {
        vm.expectRevert(abi.encodeWithSelector(INodeRegistry.InvalidParameters.selector, 0, UNBONDING_PERIOD));
        new NodeRegistry(0, UNBONDING_PERIOD);
    }

    function test_constructor_revertsIfUnbondingPeriodIsAboveAYear() public {
        vm.expectRevert(abi.encodeWithSelector(INodeRegistry.InvalidParameters.selector, 1, 365 days + 1));
        new NodeRegistry(1, 365 days + 1);
    }

    function test_constructor_keepsParameters() public view {
        vm.assertEq(registry.MIN_STAKE(), MIN_STAKE, "minimum stake");
        vm.assertEq(registry.UNBONDING_PERIOD(), UNBONDING_PERIOD, "unbonding period");
    }

    // steps

    function _agree(Enrolment memory enrolment, uint256 nonce) private view returns (bytes memory) {
        return _sign(NODE_KEY, _nodeDigest(registry, OPERATOR, enrolment, nonce));
    }

    function _registered(uint256 seed) private returns (bytes memory signature) {
        signature = _agree(_enrolment(seed), 0);
        vm.prank(OPERATOR);
        _register(registry, node, MIN_STAKE, _enrolment(seed), signature);
    }

    function _registeredOther() private {
        bytes memory signature = _sign(OTHER_NODE_KEY, _nodeDigest(registry, OPERATOR, _enrolment(0), 0));
        vm.prank(OPERATOR);
        _register(registry, vm.addr(OTHER_NODE_KEY), MIN_STAKE, _enrolment(0), signature);
    }

    function _unbonded() private {
        _registered(0);
        vm.prank(OPERATOR);
        registry.unbond(node);
    }

    function _unbondedBy(address operator) private {
        vm.deal(operator, MIN_STAKE);
        bytes memory signature = _sign(NODE_KEY, _nodeDigest(registry, operator, _enrolment(0), 0));
        vm.prank(operator);
        _register(registry, node, MIN_STAKE, _enrolment(0), signature);
        vm.prank(operator);
        registry.unbond(node);
        vm.warp(block.timestamp + UNBONDING_PERIOD);
    }

    function _expectRegisterReverts(Enrolment memory enrolment, bytes memory signature, bytes memory reason) private {
        vm.expectRevert(reason);
        vm.prank(OPERATOR);
        _register(registry, node, MIN_STAKE, enrolment, signature);
        vm.assertFalse(registry.isActive(node), "active");
    }

    function _expectCertificateLengthReverts(uint256 length) private {
        Enrolment memory enrolment = _enrolment(0);
        enrolment.certificate = new bytes(length);
        _expectRegisterReverts(
            enrolment,
            _agree(enrolment, 0),
            abi.encodeWithSelector(INodeRegistry.InvalidCertificateLength.selector, length)
        );
    }

    function _expectEndpointLengthReverts(uint256 length) private {
        Enrolment memory enrolment = _enrolment(0);
        enrolment.endpoint = string(new bytes(length));
        _expectRegisterReverts(
            enrolment,
            _agree(enrolment, 0),
            abi.encodeWithSelector(INodeRegistry.InvalidEndpointLength.selector, length)
        );
    }

    function _invalidSignature() private view returns (bytes memory) {
        return abi.encodeWithSelector(INodeRegistry.InvalidNodeSignature.selector, node);
    }

    function _notOperator(address caller) private view returns (bytes memory) {
        return abi.encodeWithSelector(INodeRegistry.NotOperator.selector, node, caller);
    }

    function _notActive() private view returns (bytes memory) {
        return abi.encodeWithSelector(INodeRegistry.NodeNotActive.selector, node);
    }
}
