// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {NodeRegistry} from "../../src/NodeRegistry.sol";
import {INodeRegistry} from "../../src/interfaces/INodeRegistry.sol";
import {Enrolment, NodeFixture} from "../NodeFixture.sol";
import {vm} from "../Vm.sol";

/// @notice An operator that, while it is being paid, tries to be paid once more.
contract GreedyOperator {
    NodeRegistry private immutable _registry;
    address private _node;

    constructor(NodeRegistry registry) {
        _registry = registry;
    }

    function eye(address node) external {
        _node = node;
    }

    receive() external payable {
        (bool again,) = address(_registry).call(abi.encodeCall(NodeRegistry.withdraw, (_node)));
        again; // Whether it worked shows in the balances.
    }
}

/// @notice Does to a NodeRegistry what operators, nodes and strangers can do, good or bad, and keeps
/// its own accounts: of the wei that moved, by balances, and of what each node's entry should be, by
/// who was entitled. Nothing here is read back from the registry's own counters.
contract NodeHandler is NodeFixture {
    /// @notice What a node's entry should be.
    struct Expected {
        address operator;
        uint256 stake;
        uint64 releaseTime;
        bytes32 transportKey;
        bytes32 certificateHash;
    }

    struct UsedAgreement {
        address node;
        address operator;
        Enrolment enrolment;
        bytes signature;
    }

    uint256 public constant NODES = 3;
    uint256 private constant OPERATORS = 3;
    uint256 private constant FIRST_NODE_KEY = 0x1000;
    uint256 private constant MAX_USED = 64;

    NodeRegistry private immutable _registry;
    address[NODES] private _nodes;
    address[OPERATORS] private _operators;
    mapping(address node => Expected) private _expected;
    mapping(address node => address) private _lastOperator;
    mapping(address node => uint256) private _agreements;
    UsedAgreement[] private _used;

    uint256 public depositedTotal;
    uint256 public paidOutTotal;
    mapping(address node => uint256) public depositedFor;
    mapping(address node => uint256) public paidOutFor;

    /// @notice Calls that went through and must not have.
    uint256 public strangersHeeded;
    uint256 public replaysAccepted;
    uint256 public forgeriesAccepted;
    uint256 public earlyWithdrawals;

    constructor(NodeRegistry registry) {
        _registry = registry;
        for (uint256 i = 0; i < NODES; ++i) {
            _nodes[i] = vm.addr(_keyAt(i));
        }
        for (uint256 i = 0; i < OPERATORS; ++i) {
            _operators[i] = address(new GreedyOperator(registry));
        }
    }

    function nodeAt(uint256 seed) public view returns (address) {
        return _nodes[seed % NODES];
    }

    function expectedOf(address node) external view returns (Expected memory) {
        return _expected[node];
    }

    // actions

    function register(uint256 seed, uint256 operatorSeed, uint256 amountSeed) external {
        address node = nodeAt(seed);
        address operator = _operators[operatorSeed % OPERATORS];
        uint256 amount = _between(amountSeed, MIN_STAKE - 1, 3 * MIN_STAKE);
        Enrolment memory enrolment = _enrolment(amountSeed);
        bytes memory signature = _agree(seed, operator, enrolment);
        if (!_tryRegister(operator, node, amount, enrolment, signature)) return;

        _noteAgreement(node, operator, enrolment, signature);
        _lastOperator[node] = operator;
        _expected[node] = Expected(operator, amount, 0, enrolment.transportKey, keccak256(enrolment.certificate));
    }

    function update(uint256 seed, uint256 callerSeed, uint256 content) external {
        address node = nodeAt(seed);
        address caller = _callerFor(node, callerSeed);
        Enrolment memory enrolment = _enrolment(content);
        bytes memory signature = _agree(seed, caller, enrolment);
        if (!_tryUpdate(caller, node, enrolment, signature)) return;

        _noteAgreement(node, caller, enrolment, signature);
        if (_isStranger(node, caller)) return;
        _expected[node].transportKey = enrolment.transportKey;
        _expected[node].certificateHash = keccak256(enrolment.certificate);
    }

    function addStake(uint256 seed, uint256 callerSeed, uint256 amountSeed) external {
        address node = nodeAt(seed);
        address caller = _callerFor(node, callerSeed);
        uint256 amount = _between(amountSeed, 0, 2 * MIN_STAKE);
        vm.deal(caller, caller.balance + amount);
        vm.prank(caller);
        try _registry.addStake{value: amount}(node) {
            depositedTotal += amount;
            depositedFor[node] += amount;
            if (_isStranger(node, caller)) return;
            _expected[node].stake += amount;
        } catch {}
    }

    function unbond(uint256 seed, uint256 callerSeed) external {
        address node = nodeAt(seed);
        address caller = _callerFor(node, callerSeed);
        vm.prank(caller);
        try _registry.unbond(node) {
            if (_isStranger(node, caller)) return;
            _expected[node].releaseTime = uint64(block.timestamp) + UNBONDING_PERIOD;
        } catch {}
    }

    function withdraw(uint256 seed, uint256 callerSeed) external {
        address node = nodeAt(seed);
        address caller = _callerFor(node, callerSeed);
        if (caller != node) GreedyOperator(payable(caller)).eye(node);
        uint256 before = caller.balance;
        vm.prank(caller);
        try _registry.withdraw(node) {
            uint256 paid = caller.balance - before;
            paidOutTotal += paid;
            paidOutFor[node] += paid;
            Expected memory expected = _expected[node];
            if (expected.releaseTime == 0 || block.timestamp < expected.releaseTime) earlyWithdrawals++;
            if (_isStranger(node, caller)) return;
            delete _expected[node];
        } catch {}
    }

    /// @notice Brings an old agreement again, as its operator, to register or to update.
    function replay(uint256 usedSeed, bool asUpdate) external {
        if (_used.length == 0) return;
        UsedAgreement memory used = _used[usedSeed % _used.length];
        bool done = asUpdate
            ? _tryUpdate(used.operator, used.node, used.enrolment, used.signature)
            : _tryRegister(used.operator, used.node, MIN_STAKE, used.enrolment, used.signature);
        if (done) replaysAccepted++;
    }

    /// @notice Brings an agreement that another node's wallet, or the operator, signed.
    function forge(uint256 seed, uint256 callerSeed, uint256 content, bool asUpdate) external {
        address node = nodeAt(seed);
        address caller = _callerFor(node, callerSeed);
        Enrolment memory enrolment = _enrolment(content);
        bytes32 digest = _nodeDigest(_registry, caller, enrolment, _agreements[node]);
        bytes memory signature = _sign(_keyAt(seed % NODES + 1), digest);
        bool done = asUpdate
            ? _tryUpdate(caller, node, enrolment, signature)
            : _tryRegister(caller, node, MIN_STAKE, enrolment, signature);
        if (done) forgeriesAccepted++;
    }

    function pass(uint256 seconds_) external {
        vm.warp(block.timestamp + _between(seconds_, 1, UNBONDING_PERIOD));
    }

    // steps

    function _tryRegister(
        address operator,
        address node,
        uint256 amount,
        Enrolment memory enrolment,
        bytes memory signature
    ) private returns (bool done) {
        vm.deal(operator, operator.balance + amount);
        vm.prank(operator);
        try _registry.register{value: amount}(
            node,
            enrolment.transportKey,
            enrolment.certificate,
            enrolment.endpoint,
            enrolment.profile,
            enrolment.deadline,
            signature
        ) {
            done = true;
            depositedTotal += amount;
            depositedFor[node] += amount;
        } catch {}
    }

    function _tryUpdate(address caller, address node, Enrolment memory enrolment, bytes memory signature)
        private
        returns (bool done)
    {
        vm.prank(caller);
        try _registry.update(
            node,
            enrolment.transportKey,
            enrolment.certificate,
            enrolment.endpoint,
            enrolment.profile,
            enrolment.deadline,
            signature
        ) {
            done = true;
        } catch {}
    }

    function _keyAt(uint256 seed) private pure returns (uint256) {
        return FIRST_NODE_KEY + seed % NODES;
    }

    /// @dev Mostly the node's operator, present or last, else one of the others or the node itself.
    function _callerFor(address node, uint256 seed) private view returns (address) {
        address last = _lastOperator[node];
        if (seed % 4 != 0 && last != address(0)) return last;
        uint256 pick = (seed >> 8) % (OPERATORS + 1);
        return pick == OPERATORS ? node : _operators[pick];
    }

    function _isStranger(address node, address caller) private returns (bool stranger) {
        stranger = _expected[node].operator != caller;
        if (stranger) strangersHeeded++;
    }

    function _agree(uint256 seed, address operator, Enrolment memory enrolment) private view returns (bytes memory) {
        return _sign(_keyAt(seed), _nodeDigest(_registry, operator, enrolment, _agreements[nodeAt(seed)]));
    }

    function _noteAgreement(address node, address operator, Enrolment memory enrolment, bytes memory signature)
        private
    {
        _agreements[node]++;
        if (_used.length < MAX_USED) _used.push(UsedAgreement(node, operator, enrolment, signature));
    }
}
