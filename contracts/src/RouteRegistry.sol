// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";

import {INodeRegistry} from "./interfaces/INodeRegistry.sol";
import {IRouteRegistry} from "./interfaces/IRouteRegistry.sol";
import {BatchTree} from "./libraries/BatchTree.sol";
import {RouteTyping} from "./libraries/RouteTyping.sol";

/// @title RouteRegistry
/// @notice See {IRouteRegistry}.
/// @dev Invariant: a wallet's sequence only ever rises. Invariant: a stored route was sent or signed
/// by its wallet. The contract holds no wei.
contract RouteRegistry is IRouteRegistry, EIP712 {
    uint256 private constant V4_FINGERPRINT_BYTES = 20;
    uint256 private constant V6_FINGERPRINT_BYTES = 32;
    /// @dev Two live subkeys (X25519 and ML-KEM), each with its predecessor, for two devices.
    uint256 private constant MAX_KEY_IDS = 8;
    uint256 private constant MAX_MAILBOXES = 3;
    uint256 private constant MAX_BATCH_ROUTES = 256;
    /// @dev Half of what common nodes relay as one transaction. A route of one key ID and one mailbox
    /// takes 608 bytes, so that 107 fit.
    uint256 private constant MAX_BATCH_BYTES = 64 * 1024;

    INodeRegistry private immutable _nodeRegistry;

    /// @dev A cleared route is all empty but for its sequence.
    mapping(address wallet => Route) private _routes;
    mapping(bytes32 root => bool) private _batchRoots;

    /// @param registry The NodeRegistry whose active nodes may submit batches.
    constructor(INodeRegistry registry) EIP712("CONET RouteRegistry", "1") {
        if (address(registry).code.length == 0) revert InvalidNodeRegistry(address(registry));
        _nodeRegistry = registry;
    }

    /// @inheritdoc IRouteRegistry
    function setRoute(Route calldata route) external {
        if (route.wallet != msg.sender) revert NotRouteWallet(route.wallet, msg.sender);
        _setRoute(route);
    }

    /// @inheritdoc IRouteRegistry
    function setRouteBySig(Route calldata route, bytes calldata signature) external {
        _checkSignature(route.wallet, RouteTyping.hash(route), signature);
        _setRoute(route);
    }

    /// @inheritdoc IRouteRegistry
    function clearRoute(uint64 sequence) external {
        _clearRoute(msg.sender, sequence);
    }

    /// @inheritdoc IRouteRegistry
    function clearRouteBySig(address wallet, uint64 sequence, uint64 deadline, bytes calldata signature) external {
        if (block.timestamp > deadline) revert SignatureExpired(deadline);
        _checkSignature(wallet, RouteTyping.hashClear(wallet, sequence, deadline), signature);
        _clearRoute(wallet, sequence);
    }

    /// @inheritdoc IRouteRegistry
    function submitBatch(bytes32 root, uint32 count, bytes calldata routes) external {
        if (!_nodeRegistry.isActive(msg.sender)) revert NotActiveNode(msg.sender);
        if (routes.length > MAX_BATCH_BYTES) revert InvalidBatchLength(routes.length);

        SignedRoute[] memory batch = abi.decode(routes, (SignedRoute[]));
        if (batch.length != count) revert BatchCountMismatch(count, batch.length);
        // One encoding only: no route shares bytes with another, nothing rides along unread.
        if (keccak256(abi.encode(batch)) != keccak256(routes)) revert NonCanonicalBatch();
        bytes32 actual = _batchRoot(batch);
        if (actual != root) revert BatchRootMismatch(root, actual);

        _batchRoots[root] = true;
        emit RouteBatchSubmitted(msg.sender, root, count, routes);
    }

    /// @inheritdoc IRouteRegistry
    function applyFromBatch(bytes32 root, Route calldata route, bytes calldata signature, bytes32[] calldata proof)
        external
    {
        if (!_batchRoots[root]) revert UnknownBatchRoot(root);
        bytes32 structHash = RouteTyping.hash(route);
        bytes32 leaf = BatchTree.leaf(structHash);
        if (!MerkleProof.verifyCalldata(proof, root, leaf)) revert NotInBatch(root, leaf);
        _checkSignature(route.wallet, structHash, signature);
        _setRoute(route);
    }

    /// @inheritdoc IRouteRegistry
    function isBatchRoot(bytes32 root) external view returns (bool) {
        return _batchRoots[root];
    }

    /// @inheritdoc IRouteRegistry
    function isInBatch(bytes32 root, bytes32 leaf, bytes32[] calldata proof) external view returns (bool) {
        return _batchRoots[root] && MerkleProof.verifyCalldata(proof, root, leaf);
    }

    /// @inheritdoc IRouteRegistry
    function routeOf(address wallet) external view returns (Route memory route) {
        // A cleared route's expiry is zero.
        if (_routes[wallet].expiry > block.timestamp) route = _routes[wallet];
    }

    /// @inheritdoc IRouteRegistry
    function sequenceOf(address wallet) external view returns (uint64) {
        return _routes[wallet].sequence;
    }

    /// @inheritdoc IRouteRegistry
    function routeDigest(Route calldata route) external view returns (bytes32) {
        return _hashTypedDataV4(RouteTyping.hash(route));
    }

    /// @inheritdoc IRouteRegistry
    function batchLeaf(Route calldata route) external pure returns (bytes32) {
        return BatchTree.leaf(RouteTyping.hash(route));
    }

    /// @inheritdoc IRouteRegistry
    function batchRoot(SignedRoute[] calldata routes) external pure returns (bytes32) {
        return _batchRoot(routes);
    }

    /// @inheritdoc IRouteRegistry
    function nodeRegistry() external view returns (INodeRegistry) {
        return _nodeRegistry;
    }

    /// @dev Stores a route whose wallet has been proven to want it.
    function _setRoute(Route memory route) private {
        _checkBounds(route);
        if (route.expiry <= block.timestamp) revert RouteExpired(route.expiry);
        _checkSequence(route.wallet, route.sequence);

        _routes[route.wallet] = route;

        emit RouteSet(route.wallet, route.fingerprint, route.keyIds, route.mailboxes, route.sequence, route.expiry);
    }

    /// @dev Clears the route of a wallet that has been proven to want it.
    function _clearRoute(address wallet, uint64 sequence) private {
        _checkSequence(wallet, sequence);

        delete _routes[wallet];
        _routes[wallet].sequence = sequence;

        emit RouteCleared(wallet, sequence);
    }

    function _checkSequence(address wallet, uint64 sequence) private view {
        uint64 current = _routes[wallet].sequence;
        if (sequence <= current) revert StaleSequence(sequence, current);
    }

    function _checkSignature(address wallet, bytes32 structHash, bytes calldata signature) private view {
        // The third value only describes the failure, for errors that name it.
        // slither-disable-next-line unused-return
        (address signer, ECDSA.RecoverError failure,) =
            ECDSA.tryRecoverCalldata(_hashTypedDataV4(structHash), signature);
        if (failure != ECDSA.RecoverError.NoError || signer != wallet) revert InvalidSignature(wallet);
    }

    /// @dev Checks the number and the bounds of a batch's routes and returns its root.
    function _batchRoot(SignedRoute[] memory batch) private pure returns (bytes32) {
        uint256 count = batch.length;
        if (count == 0 || count > MAX_BATCH_ROUTES) revert InvalidBatchCount(count);

        bytes32[] memory leaves = new bytes32[](count);
        for (uint256 i = 0; i < count; ++i) {
            Route memory route = batch[i].route;
            _checkBounds(route);
            if (batch[i].signature.length != 65) revert InvalidSignature(route.wallet);
            leaves[i] = BatchTree.leaf(RouteTyping.hash(route));
        }
        return BatchTree.root(leaves);
    }

    function _checkBounds(Route memory route) private pure {
        uint256 length = route.fingerprint.length;
        if (length != V4_FINGERPRINT_BYTES && length != V6_FINGERPRINT_BYTES) revert InvalidFingerprintLength(length);

        uint256 keyIds = route.keyIds.length;
        if (keyIds == 0 || keyIds > MAX_KEY_IDS) revert InvalidKeyIdCount(keyIds);
        for (uint256 i = 0; i < keyIds; ++i) {
            if (route.keyIds[i] == 0) revert ZeroKeyId();
        }

        uint256 mailboxes = route.mailboxes.length;
        if (mailboxes == 0 || mailboxes > MAX_MAILBOXES) revert InvalidMailboxCount(mailboxes);
        for (uint256 i = 0; i < mailboxes; ++i) {
            if (route.mailboxes[i] == address(0)) revert ZeroMailbox();
        }
    }
}
