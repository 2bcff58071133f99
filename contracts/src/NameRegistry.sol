// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {NameRegistrar} from "./NameRegistrar.sol";
import {NameResolver} from "./NameResolver.sol";
import {ReverseRegistrar} from "./ReverseRegistrar.sol";
import {INameRegistry} from "./interfaces/INameRegistry.sol";
import {NameHash} from "./libraries/NameHash.sol";

/// @title NameRegistry
/// @notice See {INameRegistry}.
/// @dev Invariant: a node stands if and only if no node from it up to the root has expired and each was made in the
/// present generation of the one above. Invariant: no node has more than 16 labels, so every walk up ends.
contract NameRegistry is INameRegistry {
    /// @dev Zero for a node that was never given to anybody.
    struct Record {
        address owner;
        uint64 ttl;
        uint32 generation;
        address resolver;
        uint64 expiry;
        uint32 parentGeneration;
        bytes32 parent;
    }

    mapping(bytes32 node => Record) private _records;
    mapping(address owner => mapping(address operator => bool)) private _operators;

    /// @param pricePerYear See {INameRegistrar.PRICE_PER_YEAR}.
    /// @param minCommitmentAge See {INameRegistrar.MIN_COMMITMENT_AGE}.
    /// @param maxCommitmentAge See {INameRegistrar.MAX_COMMITMENT_AGE}.
    constructor(uint256 pricePerYear, uint64 minCommitmentAge, uint64 maxCommitmentAge) {
        NameResolver resolver_ = new NameResolver(this);
        NameRegistrar registrar = new NameRegistrar(this, resolver_, pricePerYear, minCommitmentAge, maxCommitmentAge);
        ReverseRegistrar reverse = new ReverseRegistrar(this, resolver_);
        _give(NameHash.ROOT, NameHash.CONET_LABEL, address(registrar), address(0), 0);
        _give(NameHash.REVERSE, NameHash.ADDR_LABEL, address(reverse), address(0), 0);
    }

    /// @inheritdoc INameRegistry
    function setRecord(bytes32 node, address owner_, address resolver_, uint64 ttl_) external {
        Record storage record = _recordOfCaller(node);
        _setOwner(record, node, owner_);
        _setResolver(record, node, resolver_);
        _setTtl(record, node, ttl_);
    }

    /// @inheritdoc INameRegistry
    function setSubnodeRecord(bytes32 node, bytes32 label, address owner_, address resolver_, uint64 ttl_) external {
        _recordOfCaller(node);
        _give(node, label, owner_, resolver_, ttl_);
    }

    /// @inheritdoc INameRegistry
    function setSubnodeOwner(bytes32 node, bytes32 label, address owner_) external returns (bytes32 subnode) {
        _recordOfCaller(node);
        subnode = _give(node, label, owner_, address(0), 0);
    }

    /// @inheritdoc INameRegistry
    function setSubnodeExpiry(bytes32 node, bytes32 label, uint64 expiry_) external {
        _recordOfCaller(node);
        bytes32 subnode = NameHash.below(node, label);
        Record storage record = _records[subnode];
        if (record.generation == 0) revert UnknownNode(subnode);
        record.expiry = expiry_;
        emit NewExpiry(subnode, expiry_);
    }

    /// @inheritdoc INameRegistry
    function setResolver(bytes32 node, address resolver_) external {
        _setResolver(_recordOfCaller(node), node, resolver_);
    }

    /// @inheritdoc INameRegistry
    function setOwner(bytes32 node, address owner_) external {
        _setOwner(_recordOfCaller(node), node, owner_);
    }

    /// @inheritdoc INameRegistry
    function setTTL(bytes32 node, uint64 ttl_) external {
        _setTtl(_recordOfCaller(node), node, ttl_);
    }

    /// @inheritdoc INameRegistry
    function setApprovalForAll(address operator, bool approved) external {
        _operators[msg.sender][operator] = approved;
        emit ApprovalForAll(msg.sender, operator, approved);
    }

    /// @inheritdoc INameRegistry
    function owner(bytes32 node) external view returns (address) {
        return _stands(node) ? _records[node].owner : address(0);
    }

    /// @inheritdoc INameRegistry
    function resolver(bytes32 node) external view returns (address) {
        return _stands(node) ? _records[node].resolver : address(0);
    }

    /// @inheritdoc INameRegistry
    function ttl(bytes32 node) external view returns (uint64) {
        return _stands(node) ? _records[node].ttl : 0;
    }

    /// @inheritdoc INameRegistry
    function recordExists(bytes32 node) external view returns (bool) {
        return _records[node].owner != address(0) && _stands(node);
    }

    /// @inheritdoc INameRegistry
    function isApprovedForAll(address owner_, address operator) external view returns (bool) {
        return _operators[owner_][operator];
    }

    /// @inheritdoc INameRegistry
    function holder(bytes32 node) external view returns (address) {
        return _records[node].owner;
    }

    /// @inheritdoc INameRegistry
    function expiry(bytes32 node) external view returns (uint64) {
        return _records[node].expiry;
    }

    /// @inheritdoc INameRegistry
    function generation(bytes32 node) external view returns (uint32) {
        return _records[node].generation;
    }

    /// @dev Makes the node below `node` anew, in its next generation.
    function _give(bytes32 node, bytes32 label, address owner_, address resolver_, uint64 ttl_)
        private
        returns (bytes32 subnode)
    {
        subnode = NameHash.below(node, label);
        // The labels of the node above, and one.
        if (_depth(node) >= NameHash.MAX_LABELS) revert TooDeep(subnode);
        Record storage record = _records[subnode];
        _records[subnode] = Record({
            owner: owner_,
            ttl: ttl_,
            generation: record.generation + 1,
            resolver: resolver_,
            expiry: 0,
            parentGeneration: _records[node].generation,
            parent: node
        });

        emit NewOwner(node, label, owner_);
        emit NewResolver(subnode, resolver_);
        emit NewTTL(subnode, ttl_);
    }

    function _setOwner(Record storage record, bytes32 node, address owner_) private {
        record.owner = owner_;
        emit Transfer(node, owner_);
    }

    function _setResolver(Record storage record, bytes32 node, address resolver_) private {
        record.resolver = resolver_;
        emit NewResolver(node, resolver_);
    }

    function _setTtl(Record storage record, bytes32 node, uint64 ttl_) private {
        record.ttl = ttl_;
        emit NewTTL(node, ttl_);
    }

    function _recordOfCaller(bytes32 node) private view returns (Record storage record) {
        record = _records[node];
        address owner_ = record.owner;
        bool allowed = owner_ == msg.sender || _operators[owner_][msg.sender];
        if (!allowed || owner_ == address(0) || !_stands(node)) revert NotNodeOwner(node, msg.sender);
    }

    function _stands(bytes32 node) private view returns (bool) {
        // The root has no record and always stands.
        while (node != NameHash.ROOT) {
            Record storage record = _records[node];
            uint64 expiry_ = record.expiry;
            if (expiry_ != 0 && expiry_ <= block.timestamp) return false;
            bytes32 parent = record.parent;
            if (record.parentGeneration != _records[parent].generation) return false;
            node = parent;
        }
        return true;
    }

    /// @dev How many labels a node has. One without a record counts as below the root.
    function _depth(bytes32 node) private view returns (uint256 depth) {
        while (node != NameHash.ROOT) {
            node = _records[node].parent;
            ++depth;
        }
    }
}
