// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

/// @title Who has which name
/// @notice The registry of EIP-137: nodes (name hashes) with owner, resolver and time to live. A node's owner gives the
/// nodes below it to whom it likes. `.conet` belongs to the {INameRegistrar}, `.addr.reverse` to the
/// {IReverseRegistrar}, the root to nobody.
/// @dev There is no owner, no proxy and no pause. The constructor creates the other contracts, so that nobody stands
/// between: the resolver, the registrar and the reverse registrar are this contract's creations of nonces 1, 2 and 3.
///
/// Beyond EIP-137, two things make a node *stand* or not; of one that doesn't stand, owner, resolver and time to live
/// are zero, and nobody may change it but who owns the node above:
///
/// - A node may have an expiry. From that second on neither it nor anything below it stands.
/// - A node that is given to somebody is given empty: whatever was below it, and what resolvers said of it, is of an
///   earlier generation and doesn't stand any more. So nobody keeps a part of a name that is another's now.
interface INameRegistry {
    /// @notice The owner of `node` gave the node `keccak256(node ‖ label)` to `owner`, empty and without expiry.
    event NewOwner(bytes32 indexed node, bytes32 indexed label, address owner);
    /// @notice The node's owner gave it to another, with all below it.
    event Transfer(bytes32 indexed node, address owner);
    /// @notice The node's resolver is now this one.
    event NewResolver(bytes32 indexed node, address resolver);
    /// @notice Answers about the node may be kept for `ttl` seconds.
    event NewTTL(bytes32 indexed node, uint64 ttl);
    /// @notice The node doesn't stand from second `expiry` on; zero for never.
    event NewExpiry(bytes32 indexed node, uint64 expiry);
    /// @notice `operator` may now, or may no more, do all that `owner` may.
    event ApprovalForAll(address indexed owner, address indexed operator, bool approved);

    /// @notice The caller is neither the node's owner nor the owner's operator, or the node doesn't stand.
    error NotNodeOwner(bytes32 node, address caller);
    /// @notice A name has at most 16 labels.
    error TooDeep(bytes32 node);
    /// @notice There is no such node to set an expiry of.
    error UnknownNode(bytes32 node);

    /// @notice Sets owner, resolver and time to live of a node of the caller's.
    function setRecord(bytes32 node, address newOwner, address newResolver, uint64 newTtl) external;

    /// @notice Gives the node below `node` to `newOwner`, with this resolver and time to live.
    function setSubnodeRecord(bytes32 node, bytes32 label, address newOwner, address newResolver, uint64 newTtl)
        external;

    /// @notice Gives the node below `node` to `newOwner`, without resolver and time to live.
    /// @return subnode keccak256(node ‖ label).
    function setSubnodeOwner(bytes32 node, bytes32 label, address newOwner) external returns (bytes32 subnode);

    /// @notice Sets from when on the node below `node` doesn't stand, zero for never. It stays of its generation: a later
    /// expiry brings everything back.
    function setSubnodeExpiry(bytes32 node, bytes32 label, uint64 newExpiry) external;

    /// @notice Sets the resolver of a node of the caller's.
    function setResolver(bytes32 node, address newResolver) external;

    /// @notice Gives a node of the caller's to another.
    function setOwner(bytes32 node, address newOwner) external;

    /// @notice Sets the time to live of a node of the caller's, seconds.
    function setTTL(bytes32 node, uint64 newTtl) external;

    /// @notice Lets an operator do all that the caller may, or no more.
    function setApprovalForAll(address operator, bool approved) external;

    /// @notice Returns a node's owner, zero if it doesn't stand.
    function owner(bytes32 node) external view returns (address);

    /// @notice Returns a node's resolver, zero if it doesn't stand.
    function resolver(bytes32 node) external view returns (address);

    /// @notice Returns a node's time to live in seconds, zero if it doesn't stand.
    function ttl(bytes32 node) external view returns (uint64);

    /// @notice Tells whether a node stands and has an owner.
    function recordExists(bytes32 node) external view returns (bool);

    /// @notice Tells whether `operator` may do all that `account` may.
    function isApprovedForAll(address account, address operator) external view returns (bool);

    /// @notice Returns to whom a node belongs, or belonged last, whether or not it stands.
    function holder(bytes32 node) external view returns (address);

    /// @notice Returns the second from which a node doesn't stand, zero for never. A node above may expire earlier.
    function expiry(bytes32 node) external view returns (uint64);

    /// @notice Returns how often a node was given by the owner of the node above.
    function generation(bytes32 node) external view returns (uint32);
}
