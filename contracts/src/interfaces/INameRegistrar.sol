// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {INameRegistry} from "./INameRegistry.sol";
import {INameResolver} from "./INameResolver.sol";

/// @title Registration of `.conet` names
/// @notice Whoever comes first gets a name, for a time, at a price that depends on length and duration only. So that
/// nobody can take a name by watching others ask for it, a claim is first committed to by its hash and revealed when the
/// commitment has aged.
///
/// ```text
/// free ──commit, wait, register──▶ registered ──expiry──▶ grace ──90 days──▶ free, at a falling premium
///                                      ▲  renew, anybody     │ renew, the holder alone
///                                      └─────────────────────┘
/// ```
///
/// @dev There is no owner, no proxy and no pause. What is paid stays in this contract for good: no function pays it out,
/// so nobody gains by names but those who use them. Who owns a name is kept by the {INameRegistry}, and only there.
///
/// A label has 3 characters or more and at most 63 bytes: `a`-`z`, `0`-`9`, `-`, `_`, `$` or UTF-8 beyond ASCII, whose
/// normal form (ENSIP-15) this contract does not check: clients register and look up normalised names only, so that a
/// name in any other form is never met.
interface INameRegistrar {
    /// @notice What is committed to and then revealed.
    /// @param label The name without `.conet`.
    /// @param owner Whose name it becomes; anybody may bring the claim.
    /// @param duration Seconds, 28 days to 10 years.
    /// @param target The wallet that the name says, zero for none.
    /// @param secret Random; without it the commitment could be guessed.
    struct Claim {
        string label;
        address owner;
        uint64 duration;
        address target;
        bytes32 secret;
    }

    /// @notice A commitment was made.
    event Committed(bytes32 indexed commitment);
    /// @notice `label` is registered to `owner` until second `expiry`, for `price` wei.
    event NameRegistered(string label, bytes32 indexed labelHash, address indexed owner, uint256 price, uint64 expiry);
    /// @notice The registration of `label` now lasts until second `expiry`.
    event NameRenewed(string label, bytes32 indexed labelHash, uint256 price, uint64 expiry);

    /// @notice The price is zero or too high, or the ages leave no time between them.
    error InvalidTerms(uint256 pricePerYear, uint64 minCommitmentAge, uint64 maxCommitmentAge);
    /// @notice The label has fewer than 3 characters or more than 63 bytes.
    error InvalidLabelLength(string label);
    /// @notice The label has a byte that no normalised name has: a dot, an upper-case letter, a control character.
    error InvalidLabelByte(string label, uint256 position);
    /// @notice The duration is below 28 days, or the registration would last more than 10 years from now.
    error InvalidDuration(uint64 duration);
    /// @notice The name has to have an owner.
    error ZeroOwner();
    /// @notice The commitment was made already and can still be used.
    error CommitmentPending(bytes32 commitment);
    /// @notice Nobody made this commitment: the claim differs from what was committed to, in one of its values.
    error UnknownCommitment(bytes32 commitment);
    /// @notice The commitment can be used from that second on.
    error CommitmentTooNew(bytes32 commitment, uint256 usableFrom);
    /// @notice The commitment can't be used any more.
    error CommitmentTooOld(bytes32 commitment, uint256 usableUntil);
    /// @notice The name is somebody's, if only in its days of grace.
    error NameUnavailable(string label);
    /// @notice The name is nobody's and can't be renewed.
    error NameNotRegistered(string label);
    /// @notice In the days of grace only the holder may renew.
    error NotHolder(string label, address caller);
    /// @notice Less was paid than the price.
    error InsufficientPayment(uint256 sent, uint256 price);
    /// @notice The caller refused what was paid too much.
    error RefundRefused(address caller, uint256 amount);

    /// @notice Commits to a claim by its hash. Anybody may.
    /// @param commitment `makeCommitment` of the claim.
    function commit(bytes32 commitment) external;

    /// @notice Registers a name; the claim's commitment is used up. What is paid above the price is returned.
    /// @param claim The claim that was committed to.
    function register(Claim calldata claim) external payable;

    /// @notice Prolongs a registration. Anybody may; in the days of grace the holder alone. What is paid above the price
    /// is returned.
    /// @param label The name without `.conet`.
    /// @param duration Seconds that are added to the expiry, at least one.
    function renew(string calldata label, uint64 duration) external payable;

    /// @notice Returns the hash by which a claim is committed to: keccak256(abi.encode(chain ID, this contract, keccak256
    /// of the label, owner, duration, target, secret)).
    function makeCommitment(Claim calldata claim) external view returns (bytes32);

    /// @notice Returns the second at which a commitment was made, zero if it wasn't or is used up.
    function commitmentTime(bytes32 commitment) external view returns (uint64);

    /// @notice Returns what registering a name costs now.
    /// @return base By length and duration, wei; also the price of renewing.
    /// @return premium Of a name that has become free lately, wei: it halves each day and ends after 16 days.
    function rentPrice(string calldata label, uint64 duration) external view returns (uint256 base, uint256 premium);

    /// @notice Tells whether a name can be registered.
    function available(string calldata label) external view returns (bool);

    /// @notice Returns the second at which a registration ends or ended, zero for a name that never had one.
    function nameExpires(string calldata label) external view returns (uint64);

    /// @notice Returns what a year of a name of 5 characters or more costs, wei; with 4 characters 8 times, with 3 64 times.
    function PRICE_PER_YEAR() external view returns (uint256);

    /// @notice Returns the least age of a commitment that is used, seconds.
    function MIN_COMMITMENT_AGE() external view returns (uint64);

    /// @notice Returns the greatest age of a commitment that is used, seconds.
    function MAX_COMMITMENT_AGE() external view returns (uint64);

    /// @notice Returns the registry that keeps who owns a name.
    function registry() external view returns (INameRegistry);

    /// @notice Returns the resolver that new names get.
    function resolver() external view returns (INameResolver);
}
