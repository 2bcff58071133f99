// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {NodeRegistry} from "../../src/NodeRegistry.sol";
import {INodeRegistry} from "../../src/interfaces/INodeRegistry.sol";
import {vm} from "../Vm.sol";
import {svm} from "./Svm.sol";

/// @notice One call of any function with any arguments, from any state whatever: what holds after each
/// single step holds for ever.
contract NodeRegistrySymbolic {
    address private constant CALLER = address(0xCA11E2);
    uint256 private constant MIN_STAKE = 1 ether;

    NodeRegistry private _registry;

    function setUp() public {
        _registry = new NodeRegistry(MIN_STAKE, 14 days);
        svm.enableSymbolicStorage(address(_registry));
    }

    /// @notice The contract's balance rises and falls by as much as the stake of the node that is named.
    function check_balanceFollowsStake(uint256 value, uint256 balance) public {
        vm.assume(value <= 1e9 ether && balance <= 1e9 ether);
        (bytes memory data, address node) = _call();
        uint256 stake = _registry.nodeOf(node).stake;
        // The invariant before the step: nobody's stake is missing. An absent node has none.
        vm.assume(stake <= balance);
        vm.assume(_registry.nodeOf(node).operator != address(0) || stake == 0);
        vm.deal(address(_registry), balance);

        _act(data, value);

        assert(address(_registry).balance + stake == balance + _registry.nodeOf(node).stake);
    }

    /// @notice A call that names one node leaves every other as it is.
    function check_onlyTheNodeNamedChanges(address other, uint256 value) public {
        (bytes memory data, address node) = _call();
        vm.assume(other != node);
        bytes32 before = _recordOf(other);
        uint256 nonce = _registry.nonces(other);

        _act(data, value);

        assert(_recordOf(other) == before);
        assert(_registry.nonces(other) == nonce);
    }

    /// @notice Nobody but its operator changes a listed node.
    function check_onlyTheOperatorChangesANode(uint256 value) public {
        (bytes memory data, address node) = _call();
        address operator = _registry.nodeOf(node).operator;
        vm.assume(operator != address(0) && operator != CALLER);
        bytes32 before = _recordOf(node);

        bool done = _tried(data, value);

        assert(!done && _recordOf(node) == before);
    }

    /// @notice Whoever lists a node becomes its operator, with at least the minimum at stake.
    function check_aNewNodeIsItsCallersAndStaked(uint256 value) public {
        (bytes memory data, address node) = _call();
        vm.assume(_registry.nodeOf(node).operator == address(0));

        _act(data, value);

        INodeRegistry.NodeRecord memory record = _registry.nodeOf(node);
        assert(record.operator == address(0) || (record.operator == CALLER && record.stake >= MIN_STAKE));
    }

    /// @notice Must fail, or the checks above looked at nothing: each kind of call can succeed.
    function reach_register(uint256 value) public {
        _reach(_enrolment(INodeRegistry.register.selector, svm.createAddress("node")), value);
    }

    function reach_update() public {
        _reach(_enrolment(INodeRegistry.update.selector, svm.createAddress("node")), 0);
    }

    function reach_addStake(uint256 value) public {
        _reach(abi.encodeCall(_registry.addStake, (svm.createAddress("node"))), value);
    }

    function reach_unbond() public {
        _reach(abi.encodeCall(_registry.unbond, (svm.createAddress("node"))), 0);
    }

    function reach_withdraw() public {
        vm.deal(address(_registry), 1e9 ether);
        _reach(abi.encodeCall(_registry.withdraw, (svm.createAddress("node"))), 0);
    }

    /// @notice A node's nonce never falls.
    function check_noncesNeverFall(uint256 value) public {
        (bytes memory data, address node) = _call();
        uint256 nonce = _registry.nonces(node);
        // 2^64 signatures are out of reach.
        vm.assume(nonce < type(uint64).max);

        _act(data, value);

        assert(_registry.nonces(node) >= nonce);
    }

    /// @notice Stake leaves only of a node that is unbonding, after its release, and then all of it.
    function check_stakeLeavesOnlyAfterItsRelease(uint256 value, uint64 time) public {
        vm.warp(time);
        (bytes memory data, address node) = _call();
        INodeRegistry.NodeRecord memory before = _registry.nodeOf(node);

        _act(data, value);

        uint256 stake = _registry.nodeOf(node).stake;
        if (stake < before.stake) {
            assert(before.operator == CALLER || before.operator == address(0));
            assert(stake == 0 || before.operator == address(0));
            assert(before.operator == address(0) || (before.releaseTime != 0 && before.releaseTime <= time));
        }
    }

    /// @dev A call of any function that changes something, about any node, and that node. What a statement
    /// says is free; its lengths are not, since nothing depends on them but the bounds, which have tests.
    function _call() private view returns (bytes memory data, address node) {
        node = svm.createAddress("node");
        uint256 choice = svm.createUint256("choice");
        if (choice == 0) return (_enrolment(INodeRegistry.register.selector, node), node);
        if (choice == 1) return (_enrolment(INodeRegistry.update.selector, node), node);
        if (choice == 2) return (abi.encodeCall(_registry.addStake, (node)), node);
        if (choice == 3) return (abi.encodeCall(_registry.unbond, (node)), node);
        return (abi.encodeCall(_registry.withdraw, (node)), node);
    }

    function _enrolment(bytes4 selector, address node) private pure returns (bytes memory) {
        return abi.encodeWithSelector(
            selector,
            node,
            svm.createBytes32("transportKey"),
            svm.createBytes(32, "certificate"),
            svm.createBytes(8, "endpoint"),
            svm.createBytes(8, "profile"),
            svm.createUint256("deadline"),
            svm.createBytes(65, "signature")
        );
    }

    /// @dev Follows only the calls that succeed: one that reverts changes nothing.
    function _act(bytes memory data, uint256 value) private {
        vm.assume(_tried(data, value));
    }

    function _tried(bytes memory data, uint256 value) private returns (bool done) {
        vm.deal(CALLER, value);
        vm.prank(CALLER);
        (done,) = address(_registry).call{value: value}(data);
    }

    function _reach(bytes memory data, uint256 value) private {
        _act(data, value);
        assert(false);
    }

    function _recordOf(address node) private view returns (bytes32) {
        INodeRegistry.NodeRecord memory record = _registry.nodeOf(node);
        return keccak256(abi.encode(record));
    }
}
