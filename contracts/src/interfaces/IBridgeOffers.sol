// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {INodeRegistry} from "./INodeRegistry.sol";

/// @title What bridges let out, and at which price
/// @notice A node that is a bridge says here which targets it connects to and what it asks for it, so that clients
/// choose among bridges without asking them. Only the operator of an active node speaks for it, and the latest
/// word counts.
/// @dev There is no owner, no proxy and no pause. Nothing is stored: the events are all there is, and whoever reads
/// them together with the {INodeRegistry}'s knows every offer. A node that unbonds takes its offer with it: an
/// offer is void from the node's `NodeUnbonding` on, and after a new `NodeRegistered` until it is announced anew.
interface IBridgeOffers {
    /// @notice A bridge's offer is this from now on.
    /// @param node The node.
    /// @param price Wei of the chain's coin for each GiB (2^30 bytes) that the bridge carries, both directions
    /// together; zero if it asks nothing.
    /// @param policy The bridge's exit policy, 1 to 1,024 bytes, meant as UTF-8. The contract reads none of it: who does must
    /// expect anything.
    event OfferAnnounced(address indexed node, uint128 price, string policy);

    /// @notice A bridge offers nothing from now on.
    event OfferWithdrawn(address indexed node);

    /// @notice The address given to the constructor is no contract.
    error InvalidNodeRegistry(address nodeRegistry);
    /// @notice The node isn't listed or is unbonding.
    error NodeNotActive(address node);
    /// @notice The caller isn't the node's operator.
    error NotOperator(address node, address caller);
    /// @notice A policy has 1 to 1,024 bytes.
    error InvalidPolicyLength(uint256 length);

    /// @notice Announces what a node offers as a bridge, in place of what it offered before. Operator only.
    function announce(address node, uint128 price, string calldata policy) external;

    /// @notice Takes a node's offer back, if there is one. Operator only.
    function withdraw(address node) external;

    /// @notice Returns the registry whose active nodes may offer.
    function nodeRegistry() external view returns (INodeRegistry);
}
