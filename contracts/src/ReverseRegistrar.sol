// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {INameRegistry} from "./interfaces/INameRegistry.sol";
import {INameResolver} from "./interfaces/INameResolver.sol";
import {IReverseRegistrar} from "./interfaces/IReverseRegistrar.sol";
import {NameHash} from "./libraries/NameHash.sol";

/// @title ReverseRegistrar
/// @notice See {IReverseRegistrar}.
contract ReverseRegistrar is IReverseRegistrar {
    INameRegistry private immutable _registry;
    INameResolver private immutable _defaultResolver;

    /// @param registry_ The registry, in which `.addr.reverse` is this contract's.
    /// @param defaultResolver_ The resolver that nodes get if none is given.
    constructor(INameRegistry registry_, INameResolver defaultResolver_) {
        _registry = registry_;
        _defaultResolver = defaultResolver_;
    }

    /// @inheritdoc IReverseRegistrar
    function claim(address owner) external returns (bytes32) {
        return _claim(msg.sender, owner, address(_defaultResolver));
    }

    /// @inheritdoc IReverseRegistrar
    function claimWithResolver(address owner, address resolver) external returns (bytes32) {
        return _claim(msg.sender, owner, resolver);
    }

    /// @inheritdoc IReverseRegistrar
    function claimForAddr(address account, address owner, address resolver) external returns (bytes32) {
        _checkCaller(account);
        return _claim(account, owner, resolver);
    }

    /// @inheritdoc IReverseRegistrar
    function setName(string calldata name) external returns (bytes32) {
        return _setName(msg.sender, msg.sender, address(_defaultResolver), name);
    }

    /// @inheritdoc IReverseRegistrar
    function setNameForAddr(address account, address owner, address resolver, string calldata name)
        external
        returns (bytes32)
    {
        _checkCaller(account);
        return _setName(account, owner, resolver, name);
    }

    /// @inheritdoc IReverseRegistrar
    function node(address account) public pure returns (bytes32) {
        return NameHash.below(NameHash.ADDR_REVERSE, _hexLabel(account));
    }

    /// @inheritdoc IReverseRegistrar
    function registry() external view returns (INameRegistry) {
        return _registry;
    }

    /// @inheritdoc IReverseRegistrar
    function defaultResolver() external view returns (INameResolver) {
        return _defaultResolver;
    }

    function _claim(address account, address owner, address resolver) private returns (bytes32 node_) {
        node_ = node(account);
        emit ReverseClaimed(account, node_);
        _registry.setSubnodeRecord(NameHash.ADDR_REVERSE, _hexLabel(account), owner, resolver, 0);
    }

    /// @dev This contract owns the node until its resolver, which asks the registry, has been told the name. A resolver
    /// that calls back meets a node of the account's alone.
    function _setName(address account, address owner, address resolver, string calldata name)
        private
        returns (bytes32 node_)
    {
        node_ = _claim(account, address(this), resolver);
        INameResolver(resolver).setName(node_, name);
        _registry.setOwner(node_, owner);
    }

    function _checkCaller(address account) private view {
        bool allowed = account == msg.sender || _registry.isApprovedForAll(account, msg.sender);
        if (!allowed) revert NotAccount(account, msg.sender);
    }

    /// @dev keccak256 of the account's 40 hexadecimal digits, lower case, without 0x.
    function _hexLabel(address account) private pure returns (bytes32) {
        bytes memory digits = new bytes(40);
        uint160 value = uint160(account);
        for (uint256 i = 40; i > 0; --i) {
            digits[i - 1] = bytes16("0123456789abcdef")[value & 0xf];
            value >>= 4;
        }
        return keccak256(digits);
    }
}
