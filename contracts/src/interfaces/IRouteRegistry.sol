// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {INodeRegistry} from "./INodeRegistry.sol";

/// @title Where a wallet's packets go
/// @notice A route names a wallet's OpenPGP certificate, the key IDs it covers and its mailboxes. A
/// wallet is unlisted until it sets a route. Only the wallet changes its route: by a transaction, or
/// by an EIP-712 signature that anybody may bring, alone or in a batch that a node announces.
/// @dev There is no owner, no proxy and no pause. EIP-712 domain: name "CONET RouteRegistry",
/// version "1", chain ID, address of this contract. The signed types are
/// `Route(address wallet,bytes fingerprint,bytes8[] keyIds,address[] mailboxes,uint64 sequence,uint64 expiry)` and
/// `ClearRoute(address wallet,uint64 sequence,uint64 deadline)`.
///
/// Every change carries a sequence above the wallet's last one, so no signature works twice and none
/// works after a later change. A cleared or expired route keeps its sequence.
///
/// Batches: a batch root announces routes at a fraction of the cost of storing them. What counts is
/// the route with the highest sequence of all valid ones, stored or announced: readers check every
/// announced signature themselves. The tree over the routes r[0] … r[n-1], in the order given:
///
/// ```text
/// leaf i   = keccak256(keccak256(abi.encode(hashStruct(r[i]))))    hashStruct: EIP-712, without domain
/// parent   = keccak256(min(left, right) ‖ max(left, right))        compared as big-endian numbers
/// level up = parents of (0,1), (2,3), …; the last of an odd number moves up unchanged
/// root     = the one value that is left; for one route its leaf
/// proof    = the siblings from the leaf upwards; a level where the value moves up adds none
/// ```
///
/// `abi.encode` of one bytes32 is its 32 bytes, so a leaf is the double hash of `hashStruct` and can
/// never be taken for a parent, which hashes 64 bytes.
interface IRouteRegistry {
    /// @notice Where a wallet's packets go.
    /// @param wallet The wallet.
    /// @param fingerprint Primary fingerprint of its OpenPGP certificate: 20 bytes (v4) or 32 (v6).
    /// @param keyIds Key IDs of its encryption subkeys, 1 to 8, none zero.
    /// @param mailboxes Wallets of the nodes that keep its packets, 1 to 3, none zero, best first.
    /// @param sequence Above the wallet's last sequence.
    /// @param expiry Second from which the route is void.
    struct Route {
        address wallet;
        bytes fingerprint;
        bytes8[] keyIds;
        address[] mailboxes;
        uint64 sequence;
        uint64 expiry;
    }

    /// @notice A route and its wallet's EIP-712 signature over it (65 bytes).
    struct SignedRoute {
        Route route;
        bytes signature;
    }

    /// @notice A wallet's route is now this one.
    event RouteSet(
        address indexed wallet, bytes fingerprint, bytes8[] keyIds, address[] mailboxes, uint64 sequence, uint64 expiry
    );

    /// @notice A wallet has no route any more; routes up to `sequence` are void, announced ones too.
    event RouteCleared(address indexed wallet, uint64 sequence);

    /// @notice An active node announced `count` routes, `routes` = abi.encode(SignedRoute[]), whose
    /// root was checked. Their signatures, sequences and expiries were not.
    event RouteBatchSubmitted(address indexed mailbox, bytes32 indexed root, uint32 count, bytes routes);

    /// @notice The address given as NodeRegistry holds no contract.
    error InvalidNodeRegistry(address nodeRegistry);
    /// @notice The caller is not the route's wallet.
    error NotRouteWallet(address wallet, address caller);
    /// @notice The sequence is not above the wallet's last one.
    error StaleSequence(uint64 sequence, uint64 current);
    /// @notice The route is void already.
    error RouteExpired(uint64 expiry);
    /// @notice The signature's deadline has passed.
    error SignatureExpired(uint64 deadline);
    /// @notice The signature is malformed or was not made by the wallet over these values.
    error InvalidSignature(address wallet);
    /// @notice The fingerprint has neither 20 nor 32 bytes.
    error InvalidFingerprintLength(uint256 length);
    /// @notice There are no key IDs or more than 8.
    error InvalidKeyIdCount(uint256 count);
    /// @notice A key ID is zero, OpenPGP's mark of an anonymous recipient, which has no route.
    error ZeroKeyId();
    /// @notice There are no mailboxes or more than 3.
    error InvalidMailboxCount(uint256 count);
    /// @notice A mailbox is the zero address.
    error ZeroMailbox();
    /// @notice The caller is not an active node of the NodeRegistry.
    error NotActiveNode(address caller);
    /// @notice A batch has 1 to 256 routes.
    error InvalidBatchCount(uint256 count);
    /// @notice A batch has at most 65,536 bytes.
    error InvalidBatchLength(uint256 length);
    /// @notice The bytes are not exactly what abi.encode makes of the routes.
    error NonCanonicalBatch();
    /// @notice The batch holds another number of routes than stated.
    error BatchCountMismatch(uint32 stated, uint256 actual);
    /// @notice The root is not that of the routes given.
    error BatchRootMismatch(bytes32 stated, bytes32 actual);
    /// @notice No batch with this root was submitted.
    error UnknownBatchRoot(bytes32 root);
    /// @notice The proof doesn't lead from the leaf to the root.
    error NotInBatch(bytes32 root, bytes32 leaf);

    /// @notice Sets the caller's route.
    /// @param route The route; its wallet is the caller.
    function setRoute(Route calldata route) external;

    /// @notice Sets the route that its wallet has signed; anybody may call.
    /// @param route The route.
    /// @param signature EIP-712 signature (65 bytes, low s) by the wallet over `Route`.
    function setRouteBySig(Route calldata route, bytes calldata signature) external;

    /// @notice Clears the caller's route. Works without one too: it voids what was signed so far.
    /// @param sequence Above the caller's last sequence.
    function clearRoute(uint64 sequence) external;

    /// @notice Clears a wallet's route by its signature; anybody may call.
    /// @param wallet The wallet.
    /// @param sequence Above the wallet's last sequence.
    /// @param deadline Last second at which the signature is good.
    /// @param signature EIP-712 signature (65 bytes, low s) by the wallet over `ClearRoute`.
    function clearRouteBySig(address wallet, uint64 sequence, uint64 deadline, bytes calldata signature) external;

    /// @notice Announces signed routes. Only an active node of the NodeRegistry may call.
    /// @dev Checks each route's bounds and the root, nothing else: readers and `applyFromBatch` check
    /// signatures. The same batch may come again, from any node, so that nobody can take a node's
    /// announcement away by sending it first.
    /// @param root Root of the tree over the routes.
    /// @param count Number of routes, 1 to 256.
    /// @param routes abi.encode(SignedRoute[]), exactly, at most 65,536 bytes.
    function submitBatch(bytes32 root, uint32 count, bytes calldata routes) external;

    /// @notice Stores a route out of an announced batch as its wallet's route; anybody may call.
    /// @param root Root of the batch.
    /// @param route The route.
    /// @param signature The wallet's EIP-712 signature over it.
    /// @param proof Siblings from the route's leaf up to the root.
    function applyFromBatch(bytes32 root, Route calldata route, bytes calldata signature, bytes32[] calldata proof)
        external;

    /// @notice Tells whether a batch with this root was submitted.
    function isBatchRoot(bytes32 root) external view returns (bool);

    /// @notice Tells whether the leaf is part of a submitted batch, given the siblings up to its root.
    function isInBatch(bytes32 root, bytes32 leaf, bytes32[] calldata proof) external view returns (bool);

    /// @notice Returns a wallet's stored route, all empty when there is none or it has expired.
    function routeOf(address wallet) external view returns (Route memory);

    /// @notice Returns the last sequence a wallet used, zero when it never did.
    function sequenceOf(address wallet) external view returns (uint64);

    /// @notice Returns the EIP-712 digest that a route's wallet signs.
    function routeDigest(Route calldata route) external view returns (bytes32);

    /// @notice Returns a route's leaf in a batch's tree.
    function batchLeaf(Route calldata route) external pure returns (bytes32);

    /// @notice Returns the root of the tree over these routes, of which there must be 1 to 256.
    function batchRoot(SignedRoute[] calldata routes) external pure returns (bytes32);

    /// @notice Returns the registry that says which nodes are active.
    function nodeRegistry() external view returns (INodeRegistry);
}
