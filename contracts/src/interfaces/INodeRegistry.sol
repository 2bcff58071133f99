// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

/// @title The network's nodes: who runs them, under which keys, with what at stake
/// @notice A node is named by its wallet. Its operator, another account or the same one, pays the
/// stake and is the only one who may change the entry. The node's wallet agrees to each set of keys
/// by an EIP-712 signature, so nobody can list a node that is not theirs.
/// @dev There is no owner, no proxy and no pause. EIP-712 domain: name "CONET NodeRegistry",
/// version "1", chain ID, address of this contract. The signed type is
/// `Node(address operator,bytes32 transportKey,bytes certificate,string endpoint,string profile,uint256 nonce,uint256 deadline)`.
interface INodeRegistry {
    /// @notice What the contract keeps of a node. All fields are zero for a node that isn't listed.
    /// @param operator The account that registered the node and gets the stake back.
    /// @param releaseTime Second from which the stake can be withdrawn; zero while the node is active.
    /// @param stake Wei at stake.
    /// @param transportKey The node's static public key for links and sessions.
    /// @param certificateHash keccak256 of the node's OpenPGP certificate; the bytes are in the events.
    struct NodeRecord {
        address operator;
        uint64 releaseTime;
        uint256 stake;
        bytes32 transportKey;
        bytes32 certificateHash;
    }

    /// @notice A node joined the active set.
    event NodeRegistered(
        address indexed node,
        address indexed operator,
        bytes32 transportKey,
        bytes certificate,
        string endpoint,
        string profile
    );

    /// @notice An active node's keys, endpoint and profile were replaced by these.
    event NodeUpdated(address indexed node, bytes32 transportKey, bytes certificate, string endpoint, string profile);

    /// @notice A node's stake rose by `amount` wei to `total` wei. Also follows every registration.
    event StakeAdded(address indexed node, uint256 amount, uint256 total);

    /// @notice A node left the active set; its stake can be withdrawn from `releaseTime` on.
    event NodeUnbonding(address indexed node, uint64 releaseTime);

    /// @notice The stake went back to the operator and the node is not listed any more.
    event StakeWithdrawn(address indexed node, address indexed operator, uint256 amount);

    /// @notice The minimum stake must be above zero and the unbonding period at most 365 days.
    error InvalidParameters(uint256 minStake, uint64 unbondingPeriod);
    /// @notice The node is listed already, active or unbonding.
    error NodeAlreadyRegistered(address node);
    /// @notice The node is not in the active set.
    error NodeNotActive(address node);
    /// @notice The node is not unbonding, so there is nothing to withdraw.
    error NodeNotUnbonding(address node);
    /// @notice The caller is not the node's operator.
    error NotOperator(address node, address caller);
    /// @notice The stake sent is below the minimum.
    error InsufficientStake(uint256 sent, uint256 required);
    /// @notice No wei was sent to add.
    error ZeroAmount();
    /// @notice The unbonding period ends only at `releaseTime`.
    error StakeLocked(uint64 releaseTime);
    /// @notice The operator's account refused the payment.
    error PaymentRefused(address operator, uint256 amount);
    /// @notice The signature's deadline has passed.
    error SignatureExpired(uint256 deadline);
    /// @notice The signature is malformed or was not made by the node's wallet over these values.
    error InvalidNodeSignature(address node);
    /// @notice The transport key is zero.
    error ZeroTransportKey();
    /// @notice The certificate is empty or longer than 4096 bytes.
    error InvalidCertificateLength(uint256 length);
    /// @notice The endpoint is empty or longer than 256 bytes.
    error InvalidEndpointLength(uint256 length);
    /// @notice The profile is longer than 64 bytes.
    error InvalidProfileLength(uint256 length);

    /// @notice Lists `node` as active. The caller becomes its operator and the value sent its stake.
    /// @param node The node's wallet.
    /// @param transportKey The node's static public key, not zero.
    /// @param certificate The node's OpenPGP certificate, 1 to 4096 bytes.
    /// @param endpoint Where the node is reached, 1 to 256 bytes.
    /// @param profile Name of the node's site profile, at most 64 bytes.
    /// @param deadline Last second at which the signature is good.
    /// @param nodeSignature EIP-712 signature (65 bytes, low s) by `node` over `Node` with the caller
    /// as operator and the node's current nonce.
    function register(
        address node,
        bytes32 transportKey,
        bytes calldata certificate,
        string calldata endpoint,
        string calldata profile,
        uint256 deadline,
        bytes calldata nodeSignature
    ) external payable;

    /// @notice Replaces the keys, endpoint and profile of an active node; parameters as in `register`.
    /// @dev Operator only. The node's wallet signs the same `Node` type with its next nonce.
    function update(
        address node,
        bytes32 transportKey,
        bytes calldata certificate,
        string calldata endpoint,
        string calldata profile,
        uint256 deadline,
        bytes calldata nodeSignature
    ) external;

    /// @notice Adds the value sent to the stake of an active node. Operator only.
    function addStake(address node) external payable;

    /// @notice Takes an active node out of the active set at once and starts its unbonding period.
    /// Operator only.
    function unbond(address node) external;

    /// @notice Pays the stake back once the unbonding period is over and removes the node, which may
    /// then be registered anew. Operator only.
    function withdraw(address node) external;

    /// @notice Tells whether the node is listed and not unbonding.
    function isActive(address node) external view returns (bool);

    /// @notice Returns what is kept of a node, all zero if it isn't listed.
    function nodeOf(address node) external view returns (NodeRecord memory);

    /// @notice Returns the nonce that the node's next signature must carry. It survives withdrawal.
    function nonces(address node) external view returns (uint256);

    /// @notice Least stake of a new node, wei.
    function MIN_STAKE() external view returns (uint256);

    /// @notice Seconds between `unbond` and the first second at which `withdraw` works.
    function UNBONDING_PERIOD() external view returns (uint64);
}
