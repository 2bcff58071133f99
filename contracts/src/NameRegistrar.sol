// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {INameRegistrar} from "./interfaces/INameRegistrar.sol";
import {INameRegistry} from "./interfaces/INameRegistry.sol";
import {INameResolver} from "./interfaces/INameResolver.sol";
import {Label} from "./libraries/Label.sol";
import {NameHash} from "./libraries/NameHash.sol";

/// @title NameRegistrar
/// @notice See {INameRegistrar}.
/// @dev Invariant: the contract's balance is at least the sum of all prices paid, and never falls but by a refund within
/// the call that paid it. Invariant: a name that is registered, or in its days of grace, changes its owner by its owner
/// only.
contract NameRegistrar is INameRegistrar {
    uint64 private constant YEAR = 365 days;
    uint64 private constant MIN_DURATION = 28 days;
    /// @dev Nobody can hold a name for good by paying once.
    uint64 private constant MAX_DURATION = 10 * YEAR;
    uint64 private constant GRACE_PERIOD = 90 days;
    /// @dev Leaves time to reveal, and does not let commitments be kept for later.
    uint64 private constant MAX_AGE = 7 days;
    /// @dev Keeps every product of prices far below 2^256.
    uint256 private constant MAX_PRICE_PER_YEAR = 2 ** 128;
    uint256 private constant FOUR_CHARACTERS = 8;
    uint256 private constant THREE_CHARACTERS = 64;
    /// @dev The premium begins at 2^16 years' price and is halved each day, so that to wait is worth more than to be
    /// first; on the 17th day it is gone.
    uint256 private constant PREMIUM_DAYS = 16;

    /// @inheritdoc INameRegistrar
    uint256 public immutable PRICE_PER_YEAR;
    /// @inheritdoc INameRegistrar
    uint64 public immutable MIN_COMMITMENT_AGE;
    /// @inheritdoc INameRegistrar
    uint64 public immutable MAX_COMMITMENT_AGE;
    INameRegistry private immutable _registry;
    INameResolver private immutable _resolver;

    mapping(bytes32 commitment => uint64) private _commitments;

    /// @param registry_ The registry, in which `.conet` is this contract's.
    /// @param resolver_ The resolver of new names.
    /// @param pricePerYear Wei, from 1 to 2^128.
    /// @param minCommitmentAge Seconds, at least 1: no commitment is used in the block that has it.
    /// @param maxCommitmentAge Seconds, above the least, at most 7 days.
    constructor(
        INameRegistry registry_,
        INameResolver resolver_,
        uint256 pricePerYear,
        uint64 minCommitmentAge,
        uint64 maxCommitmentAge
    ) {
        bool ages = minCommitmentAge > 0 && minCommitmentAge < maxCommitmentAge && maxCommitmentAge <= MAX_AGE;
        if (!ages || pricePerYear == 0 || pricePerYear > MAX_PRICE_PER_YEAR) {
            revert InvalidTerms(pricePerYear, minCommitmentAge, maxCommitmentAge);
        }
        _registry = registry_;
        _resolver = resolver_;
        PRICE_PER_YEAR = pricePerYear;
        MIN_COMMITMENT_AGE = minCommitmentAge;
        MAX_COMMITMENT_AGE = maxCommitmentAge;
    }

    /// @inheritdoc INameRegistrar
    function commit(bytes32 commitment) external {
        uint64 made = _commitments[commitment];
        // Else anybody could make a commitment young again that is about to be used.
        if (made != 0 && block.timestamp <= made + MAX_COMMITMENT_AGE) revert CommitmentPending(commitment);
        _commitments[commitment] = uint64(block.timestamp);
        emit Committed(commitment);
    }

    /// @inheritdoc INameRegistrar
    function register(Claim calldata claim) external payable {
        if (claim.owner == address(0)) revert ZeroOwner();
        if (claim.duration < MIN_DURATION || claim.duration > MAX_DURATION) revert InvalidDuration(claim.duration);
        bytes32 labelHash = keccak256(bytes(claim.label));
        bytes32 node = NameHash.below(NameHash.CONET, labelHash);
        if (!_isAvailable(_registry.expiry(node))) revert NameUnavailable(claim.label);
        (uint256 base, uint256 premium) = _price(claim.label, claim.duration, _registry.expiry(node));
        _useCommitment(_commitmentOf(claim));

        uint64 expiry = uint64(block.timestamp) + claim.duration;
        emit NameRegistered(claim.label, labelHash, claim.owner, base + premium, expiry);
        // This contract owns the name until the resolver, which asks the registry, has been told the wallet.
        _registry.setSubnodeRecord(NameHash.CONET, labelHash, address(this), address(_resolver), 0);
        _registry.setSubnodeExpiry(NameHash.CONET, labelHash, expiry);
        if (claim.target != address(0)) _resolver.setAddr(node, claim.target);
        _registry.setOwner(node, claim.owner);
        _settle(base + premium);
    }

    /// @inheritdoc INameRegistrar
    function renew(string calldata label, uint64 duration) external payable {
        bytes32 labelHash = keccak256(bytes(label));
        bytes32 node = NameHash.below(NameHash.CONET, labelHash);
        uint64 expiry = _registry.expiry(node);
        if (_isAvailable(expiry)) revert NameNotRegistered(label);
        if (expiry <= block.timestamp && _registry.holder(node) != msg.sender) revert NotHolder(label, msg.sender);
        if (duration == 0 || duration > MAX_DURATION) revert InvalidDuration(duration);
        expiry += duration;
        if (expiry <= block.timestamp || expiry > block.timestamp + MAX_DURATION) revert InvalidDuration(duration);
        uint256 price = _basePrice(Label.length(label), duration);

        emit NameRenewed(label, labelHash, price, expiry);
        _registry.setSubnodeExpiry(NameHash.CONET, labelHash, expiry);
        _settle(price);
    }

    /// @inheritdoc INameRegistrar
    function makeCommitment(Claim calldata claim) external view returns (bytes32) {
        return _commitmentOf(claim);
    }

    /// @inheritdoc INameRegistrar
    function commitmentTime(bytes32 commitment) external view returns (uint64) {
        return _commitments[commitment];
    }

    /// @inheritdoc INameRegistrar
    function rentPrice(string calldata label, uint64 duration) external view returns (uint256 base, uint256 premium) {
        return _price(label, duration, nameExpires(label));
    }

    /// @inheritdoc INameRegistrar
    function available(string calldata label) external view returns (bool) {
        bool valid = Label.length(label) > 0 && Label.firstForeignByte(label) == bytes(label).length;
        return valid && _isAvailable(nameExpires(label));
    }

    /// @inheritdoc INameRegistrar
    function nameExpires(string calldata label) public view returns (uint64) {
        return _registry.expiry(NameHash.below(NameHash.CONET, keccak256(bytes(label))));
    }

    /// @inheritdoc INameRegistrar
    function registry() external view returns (INameRegistry) {
        return _registry;
    }

    /// @inheritdoc INameRegistrar
    function resolver() external view returns (INameResolver) {
        return _resolver;
    }

    /// @dev Deletes a commitment that may be used now.
    function _useCommitment(bytes32 commitment) private {
        uint64 made = _commitments[commitment];
        if (made < 1) revert UnknownCommitment(commitment);
        uint256 usableFrom = made + MIN_COMMITMENT_AGE;
        if (block.timestamp < usableFrom) revert CommitmentTooNew(commitment, usableFrom);
        uint256 usableUntil = made + MAX_COMMITMENT_AGE;
        if (block.timestamp > usableUntil) revert CommitmentTooOld(commitment, usableUntil);
        delete _commitments[commitment];
    }

    /// @dev Keeps the price and returns the rest; the last thing that a call does.
    function _settle(uint256 price) private {
        if (msg.value < price) revert InsufficientPayment(msg.value, price);
        uint256 rest = msg.value - price;
        if (rest > 0) {
            // A bare call, since the payer may be a contract that needs more gas than a transfer gives.
            // slither-disable-next-line low-level-calls
            (bool paid,) = msg.sender.call{value: rest}("");
            if (!paid) revert RefundRefused(msg.sender, rest);
        }
    }

    function _isAvailable(uint64 expiry) private view returns (bool) {
        return expiry == 0 || expiry + GRACE_PERIOD <= block.timestamp;
    }

    function _price(string calldata label, uint64 duration, uint64 expiry)
        private
        view
        returns (uint256 base, uint256 premium)
    {
        uint256 characters = Label.length(label);
        if (characters == 0) revert InvalidLabelLength(label);
        uint256 foreign = Label.firstForeignByte(label);
        if (foreign != bytes(label).length) revert InvalidLabelByte(label, foreign);
        return (_basePrice(characters, duration), _premium(expiry));
    }

    function _basePrice(uint256 characters, uint64 duration) private view returns (uint256) {
        uint256 factor = 1;
        if (characters == 4) factor = FOUR_CHARACTERS;
        if (characters == 3) factor = THREE_CHARACTERS;
        // Rounded up, so that no duration is free.
        return (PRICE_PER_YEAR * factor * duration + YEAR - 1) / YEAR;
    }

    /// @dev Halved each day, and falling evenly within one.
    function _premium(uint64 expiry) private view returns (uint256) {
        uint64 free = expiry + GRACE_PERIOD;
        if (expiry == 0 || block.timestamp < free) return 0;
        uint256 passed = block.timestamp - free;
        uint256 day = passed / 1 days;
        if (day > PREMIUM_DAYS) return 0;
        uint256 atDaysBegin = PRICE_PER_YEAR << (PREMIUM_DAYS - day);
        // Days are counted whole: what is left of one is what has passed less those.
        // slither-disable-next-line divide-before-multiply
        return atDaysBegin - atDaysBegin * (passed - day * 1 days) / 2 days;
    }

    function _commitmentOf(Claim calldata claim) private view returns (bytes32) {
        return keccak256(
            abi.encode(
                block.chainid,
                address(this),
                keccak256(bytes(claim.label)),
                claim.owner,
                claim.duration,
                claim.target,
                claim.secret
            )
        );
    }
}
