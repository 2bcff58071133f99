// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {BridgeOffers} from "../../src/BridgeOffers.sol";
import {NodeRegistry} from "../../src/NodeRegistry.sol";
import {Enrolment, NodeFixture} from "../NodeFixture.sol";
import {vm} from "../Vm.sol";

/// @notice Registers nodes, lets them leave, and has everybody announce and withdraw offers for them. Who was entitled is
/// kept in accounts of its own; nothing is read back from the registry.
contract OfferHandler is NodeFixture {
    uint256 private constant NODES = 3;
    uint256 private constant CALLERS = 3;
    uint256 private constant FIRST_NODE_KEY = 0x1000;
    uint256 private constant MAX_POLICY = 1024;

    NodeRegistry private immutable _registry;
    BridgeOffers private immutable _offers;
    mapping(address node => address) private _operator;
    mapping(address node => uint256) private _agreements;

    /// @notice Calls that went through and must not have.
    uint256 public strangersHeeded;
    uint256 public oversizedPolicies;
    /// @notice Calls that must have gone through and did not.
    uint256 public operatorsRefused;

    constructor(NodeRegistry registry, BridgeOffers offers) {
        _registry = registry;
        _offers = offers;
    }

    function register(uint256 seed, uint256 callerSeed) external {
        address node = _nodeAt(seed);
        address operator = _callerAt(callerSeed);
        Enrolment memory enrolment = _enrolment(seed);
        bytes memory signature =
            _sign(FIRST_NODE_KEY + seed % NODES, _nodeDigest(_registry, operator, enrolment, _agreements[node]));
        vm.deal(operator, operator.balance + MIN_STAKE);
        vm.prank(operator);
        try _registry.register{value: MIN_STAKE}(
            node,
            enrolment.transportKey,
            enrolment.certificate,
            enrolment.endpoint,
            enrolment.profile,
            enrolment.deadline,
            signature
        ) {
            _agreements[node]++;
            _operator[node] = operator;
        } catch {}
    }

    function depart(uint256 seed, bool forGood) external {
        address node = _nodeAt(seed);
        address operator = _operator[node];
        if (operator == address(0)) return;
        vm.prank(operator);
        _registry.unbond(node);
        delete _operator[node];
        if (!forGood) return;
        vm.warp(block.timestamp + UNBONDING_PERIOD);
        vm.prank(operator);
        _registry.withdraw(node);
    }

    function announce(uint256 seed, uint256 callerSeed, uint128 price, uint256 lengthSeed) external {
        address node = _nodeAt(seed);
        address caller = _callerFor(node, callerSeed);
        uint256 length = _lengthAt(lengthSeed);
        vm.prank(caller);
        try _offers.announce(node, price, string(new bytes(length))) {
            _noteDone(node, caller);
            if (length == 0 || length > MAX_POLICY) oversizedPolicies++;
        } catch {
            if (length > 0 && length <= MAX_POLICY) _noteRefused(node, caller);
        }
    }

    function withdraw(uint256 seed, uint256 callerSeed) external {
        address node = _nodeAt(seed);
        address caller = _callerFor(node, callerSeed);
        vm.prank(caller);
        try _offers.withdraw(node) {
            _noteDone(node, caller);
        } catch {
            _noteRefused(node, caller);
        }
    }

    function _noteDone(address node, address caller) private {
        if (_operator[node] != caller) strangersHeeded++;
    }

    function _noteRefused(address node, address caller) private {
        if (_operator[node] == caller) operatorsRefused++;
    }

    function _nodeAt(uint256 seed) private pure returns (address) {
        return vm.addr(FIRST_NODE_KEY + seed % NODES);
    }

    function _callerAt(uint256 seed) private pure returns (address) {
        return address(uint160(0x2000 + seed % CALLERS));
    }

    /// @dev At the bounds and beside them as often as anywhere between.
    function _lengthAt(uint256 seed) private pure returns (uint256) {
        uint256[5] memory bounds = [uint256(0), 1, MAX_POLICY, MAX_POLICY + 1, _between(seed >> 8, 2, MAX_POLICY - 1)];
        return bounds[seed % 5];
    }

    /// @dev Mostly the node's operator, else anybody, or the node itself.
    function _callerFor(address node, uint256 seed) private view returns (address) {
        if (seed % 4 != 0 && _operator[node] != address(0)) return _operator[node];
        return seed % 8 == 0 ? node : _callerAt(seed >> 8);
    }
}
