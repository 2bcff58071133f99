// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {IBridgeOffers} from "./interfaces/IBridgeOffers.sol";
import {INodeRegistry} from "./interfaces/INodeRegistry.sol";

/// @title BridgeOffers
/// @notice See {IBridgeOffers}.
contract BridgeOffers is IBridgeOffers {
    /// @dev Bounds what an offer costs those who sync its event; 64 rules fit.
    uint256 private constant MAX_POLICY_BYTES = 1024;

    INodeRegistry private immutable _nodeRegistry;

    /// @param registry The NodeRegistry whose active nodes may offer.
    constructor(INodeRegistry registry) {
        if (address(registry).code.length == 0) revert InvalidNodeRegistry(address(registry));
        _nodeRegistry = registry;
    }

    /// @inheritdoc IBridgeOffers
    function announce(address node, uint128 price, string calldata policy) external {
        _checkCaller(node);
        uint256 length = bytes(policy).length;
        if (length == 0 || length > MAX_POLICY_BYTES) revert InvalidPolicyLength(length);

        emit OfferAnnounced(node, price, policy);
    }

    /// @inheritdoc IBridgeOffers
    function withdraw(address node) external {
        _checkCaller(node);

        emit OfferWithdrawn(node);
    }

    /// @inheritdoc IBridgeOffers
    function nodeRegistry() external view returns (INodeRegistry) {
        return _nodeRegistry;
    }

    function _checkCaller(address node) private view {
        INodeRegistry.NodeRecord memory record = _nodeRegistry.nodeOf(node);
        if (record.operator == address(0) || record.releaseTime != 0) revert NodeNotActive(node);
        if (record.operator != msg.sender) revert NotOperator(node, msg.sender);
    }
}
