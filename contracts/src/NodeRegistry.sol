// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Nonces} from "@openzeppelin/contracts/utils/Nonces.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";

import {INodeRegistry} from "./interfaces/INodeRegistry.sol";
import {NodeTyping} from "./libraries/NodeTyping.sol";

/// @title NodeRegistry
/// @notice See {INodeRegistry}. A node is absent, active or unbonding:
///
/// ```text
/// absent ──register──▶ active ──unbond──▶ unbonding ──withdraw──▶ absent
/// ```
///
/// @dev Invariant: the contract's balance is at least the sum of all stakes (wei can be forced in, but
/// leaves only as somebody's stake). Invariant: an absent node's record is all zero.
contract NodeRegistry is INodeRegistry, EIP712, Nonces {
    /// @dev Bounds what a registration costs those who sync its event; a v6 certificate with a
    /// post-quantum subkey is about 2 KiB.
    uint256 private constant MAX_CERTIFICATE_BYTES = 4096;
    /// @dev A host name has at most 253 bytes, an endpoint adds a scheme or a port.
    uint256 private constant MAX_ENDPOINT_BYTES = 256;
    uint256 private constant MAX_PROFILE_BYTES = 64;
    /// @dev Keeps a mistyped period from locking stake for good and `releaseTime` within 64 bits.
    uint64 private constant MAX_UNBONDING_PERIOD = 365 days;

    /// @inheritdoc INodeRegistry
    uint256 public immutable MIN_STAKE;
    /// @inheritdoc INodeRegistry
    uint64 public immutable UNBONDING_PERIOD;

    mapping(address node => NodeRecord) private _records;

    /// @param minStake Least stake of a new node, wei, above zero.
    /// @param unbondingPeriod Seconds from `unbond` to `withdraw`, at most 365 days.
    constructor(uint256 minStake, uint64 unbondingPeriod) EIP712("CONET NodeRegistry", "1") {
        if (minStake == 0 || unbondingPeriod > MAX_UNBONDING_PERIOD) {
            revert InvalidParameters(minStake, unbondingPeriod);
        }
        MIN_STAKE = minStake;
        UNBONDING_PERIOD = unbondingPeriod;
    }

    /// @inheritdoc INodeRegistry
    function register(
        address node,
        bytes32 transportKey,
        bytes calldata certificate,
        string calldata endpoint,
        string calldata profile,
        uint256 deadline,
        bytes calldata nodeSignature
    ) external payable {
        NodeRecord storage record = _records[node];
        if (record.operator != address(0)) revert NodeAlreadyRegistered(node);
        if (msg.value < MIN_STAKE) revert InsufficientStake(msg.value, MIN_STAKE);

        record.operator = msg.sender;
        record.stake = msg.value;
        _checkBounds(transportKey, certificate.length, bytes(endpoint).length, bytes(profile).length);
        _setKeys(
            node,
            transportKey,
            keccak256(certificate),
            keccak256(bytes(endpoint)),
            keccak256(bytes(profile)),
            deadline,
            nodeSignature
        );

        emit NodeRegistered(node, msg.sender, transportKey, certificate, endpoint, profile);
        emit StakeAdded(node, msg.value, msg.value);
    }

    /// @inheritdoc INodeRegistry
    function update(
        address node,
        bytes32 transportKey,
        bytes calldata certificate,
        string calldata endpoint,
        string calldata profile,
        uint256 deadline,
        bytes calldata nodeSignature
    ) external {
        _activeRecordOfCaller(node);
        _checkBounds(transportKey, certificate.length, bytes(endpoint).length, bytes(profile).length);
        _setKeys(
            node,
            transportKey,
            keccak256(certificate),
            keccak256(bytes(endpoint)),
            keccak256(bytes(profile)),
            deadline,
            nodeSignature
        );

        emit NodeUpdated(node, transportKey, certificate, endpoint, profile);
    }

    /// @inheritdoc INodeRegistry
    function addStake(address node) external payable {
        NodeRecord storage record = _activeRecordOfCaller(node);
        if (msg.value == 0) revert ZeroAmount();

        uint256 total = record.stake + msg.value;
        record.stake = total;

        emit StakeAdded(node, msg.value, total);
    }

    /// @inheritdoc INodeRegistry
    function unbond(address node) external {
        NodeRecord storage record = _activeRecordOfCaller(node);

        uint64 releaseTime = uint64(block.timestamp) + UNBONDING_PERIOD;
        record.releaseTime = releaseTime;

        emit NodeUnbonding(node, releaseTime);
    }

    /// @inheritdoc INodeRegistry
    function withdraw(address node) external {
        NodeRecord storage record = _records[node];
        uint64 releaseTime = record.releaseTime;
        if (releaseTime == 0) revert NodeNotUnbonding(node);
        if (record.operator != msg.sender) revert NotOperator(node, msg.sender);
        if (block.timestamp < releaseTime) revert StakeLocked(releaseTime);

        uint256 amount = record.stake;
        delete _records[node];
        emit StakeWithdrawn(node, msg.sender, amount);

        // Last, so that a call back into this contract meets an absent node. A bare call, since the operator
        // may be a contract that needs more gas than a transfer gives.
        // slither-disable-next-line low-level-calls
        (bool paid,) = msg.sender.call{value: amount}("");
        if (!paid) revert PaymentRefused(msg.sender, amount);
    }

    /// @inheritdoc INodeRegistry
    function isActive(address node) external view returns (bool) {
        return _isActive(_records[node]);
    }

    /// @inheritdoc INodeRegistry
    function nodeOf(address node) external view returns (NodeRecord memory) {
        return _records[node];
    }

    /// @inheritdoc INodeRegistry
    function nonces(address node) public view override(INodeRegistry, Nonces) returns (uint256) {
        return super.nonces(node);
    }

    /// @dev Checks the node's signature with the caller as operator, uses up its nonce and stores the
    /// keys.
    function _setKeys(
        address node,
        bytes32 transportKey,
        bytes32 certificateHash,
        bytes32 endpointHash,
        bytes32 profileHash,
        uint256 deadline,
        bytes calldata nodeSignature
    ) private {
        if (block.timestamp > deadline) revert SignatureExpired(deadline);

        bytes32 structHash = NodeTyping.hash(
            msg.sender, transportKey, certificateHash, endpointHash, profileHash, _useNonce(node), deadline
        );
        // The third value only describes the failure, for errors that name it.
        // slither-disable-next-line unused-return
        (address signer, ECDSA.RecoverError failure,) =
            ECDSA.tryRecoverCalldata(_hashTypedDataV4(structHash), nodeSignature);
        if (failure != ECDSA.RecoverError.NoError || signer != node) revert InvalidNodeSignature(node);

        NodeRecord storage record = _records[node];
        record.transportKey = transportKey;
        record.certificateHash = certificateHash;
    }

    function _activeRecordOfCaller(address node) private view returns (NodeRecord storage record) {
        record = _records[node];
        if (!_isActive(record)) revert NodeNotActive(node);
        if (record.operator != msg.sender) revert NotOperator(node, msg.sender);
    }

    function _isActive(NodeRecord storage record) private view returns (bool) {
        return record.operator != address(0) && record.releaseTime == 0;
    }

    function _checkBounds(bytes32 transportKey, uint256 certificate, uint256 endpoint, uint256 profile) private pure {
        if (transportKey == 0) revert ZeroTransportKey();
        if (certificate == 0 || certificate > MAX_CERTIFICATE_BYTES) revert InvalidCertificateLength(certificate);
        if (endpoint == 0 || endpoint > MAX_ENDPOINT_BYTES) revert InvalidEndpointLength(endpoint);
        if (profile > MAX_PROFILE_BYTES) revert InvalidProfileLength(profile);
    }
}
