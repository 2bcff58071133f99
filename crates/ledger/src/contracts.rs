//! Bindings of the contracts in `contracts/src`, by alloy.
//!
//! **API boundary:** nothing of alloy leaves this crate.

use alloy::sol;

sol! {
    /// The NodeRegistry, as far as this crate uses it.
    #[derive(Debug)]
    contract NodeRegistry {
        constructor(uint256 minStake, uint64 unbondingPeriod);

        event NodeRegistered(address indexed node, address indexed operator, bytes32 transportKey, bytes certificate, string endpoint, string profile);
        event NodeUpdated(address indexed node, bytes32 transportKey, bytes certificate, string endpoint, string profile);
        event NodeUnbonding(address indexed node, uint64 releaseTime);
        event StakeWithdrawn(address indexed node, address indexed operator, uint256 amount);

        error InvalidParameters(uint256 minStake, uint64 unbondingPeriod);
        error NodeAlreadyRegistered(address node);
        error NodeNotActive(address node);
        error NodeNotUnbonding(address node);
        error NotOperator(address node, address caller);
        error InsufficientStake(uint256 sent, uint256 required);
        error ZeroAmount();
        error StakeLocked(uint64 releaseTime);
        error PaymentRefused(address operator, uint256 amount);
        error SignatureExpired(uint256 deadline);
        error InvalidNodeSignature(address node);
        error ZeroTransportKey();
        error InvalidCertificateLength(uint256 length);
        error InvalidEndpointLength(uint256 length);
        error InvalidProfileLength(uint256 length);

        function register(address node, bytes32 transportKey, bytes calldata certificate, string calldata endpoint, string calldata profile, uint256 deadline, bytes calldata nodeSignature) external payable;
        function update(address node, bytes32 transportKey, bytes calldata certificate, string calldata endpoint, string calldata profile, uint256 deadline, bytes calldata nodeSignature) external;
        function addStake(address node) external payable;
        function unbond(address node) external;
        function withdraw(address node) external;
        function nonces(address node) external view returns (uint256);
        function MIN_STAKE() external view returns (uint256);
    }

    /// The RouteRegistry, as far as this crate uses it.
    #[derive(Debug)]
    contract RouteRegistry {
        constructor(address registry);

        event RouteSet(address indexed wallet, bytes fingerprint, bytes8[] keyIds, address[] mailboxes, uint64 sequence, uint64 expiry);
        event RouteCleared(address indexed wallet, uint64 sequence);
        event RouteBatchSubmitted(address indexed mailbox, bytes32 indexed root, uint32 count, bytes routes);

        error InvalidNodeRegistry(address nodeRegistry);
        error NotRouteWallet(address wallet, address caller);
        error StaleSequence(uint64 sequence, uint64 current);
        error RouteExpired(uint64 expiry);
        error SignatureExpired(uint64 deadline);
        error InvalidSignature(address wallet);
        error InvalidFingerprintLength(uint256 length);
        error InvalidKeyIdCount(uint256 count);
        error ZeroKeyId();
        error InvalidMailboxCount(uint256 count);
        error ZeroMailbox();
        error NotActiveNode(address caller);
        error InvalidBatchCount(uint256 count);
        error InvalidBatchLength(uint256 length);
        error NonCanonicalBatch();
        error BatchCountMismatch(uint32 stated, uint256 actual);
        error BatchRootMismatch(bytes32 stated, bytes32 actual);
        error UnknownBatchRoot(bytes32 root);
        error NotInBatch(bytes32 root, bytes32 leaf);

        function setRoute(Route calldata route) external;
        function setRouteBySig(Route calldata route, bytes calldata signature) external;
        function clearRoute(uint64 sequence) external;
        function clearRouteBySig(address wallet, uint64 sequence, uint64 deadline, bytes calldata signature) external;
        function submitBatch(bytes32 root, uint32 count, bytes calldata routes) external;
        function applyFromBatch(bytes32 root, Route calldata route, bytes calldata signature, bytes32[] calldata proof) external;
        function sequenceOf(address wallet) external view returns (uint64);
    }

    /// The NameRegistry, as far as this crate uses it.
    #[derive(Debug)]
    contract NameRegistry {
        constructor(uint256 pricePerYear, uint64 minCommitmentAge, uint64 maxCommitmentAge);

        event NewOwner(bytes32 indexed node, bytes32 indexed label, address owner);
        event Transfer(bytes32 indexed node, address owner);
        event NewResolver(bytes32 indexed node, address resolver);
        event NewExpiry(bytes32 indexed node, uint64 expiry);

        error NotNodeOwner(bytes32 node, address caller);
        error TooDeep(bytes32 node);
        error UnknownNode(bytes32 node);

        function setOwner(bytes32 node, address newOwner) external;
    }

    /// The NameRegistrar, as far as this crate uses it.
    #[derive(Debug)]
    contract NameRegistrar {
        event NameRegistered(string label, bytes32 indexed labelHash, address indexed owner, uint256 price, uint64 expiry);

        error InvalidTerms(uint256 pricePerYear, uint64 minCommitmentAge, uint64 maxCommitmentAge);
        error InvalidLabelLength(string label);
        error InvalidLabelByte(string label, uint256 position);
        error InvalidDuration(uint64 duration);
        error ZeroOwner();
        error CommitmentPending(bytes32 commitment);
        error UnknownCommitment(bytes32 commitment);
        error CommitmentTooNew(bytes32 commitment, uint256 usableFrom);
        error CommitmentTooOld(bytes32 commitment, uint256 usableUntil);
        error NameUnavailable(string label);
        error NameNotRegistered(string label);
        error NotHolder(string label, address caller);
        error InsufficientPayment(uint256 sent, uint256 price);
        error RefundRefused(address caller, uint256 amount);

        function commit(bytes32 commitment) external;
        function register(Claim calldata claim) external payable;
        function renew(string calldata label, uint64 duration) external payable;
        function commitmentTime(bytes32 commitment) external view returns (uint64);
        function PRICE_PER_YEAR() external view returns (uint256);
        function MIN_COMMITMENT_AGE() external view returns (uint64);
        function MAX_COMMITMENT_AGE() external view returns (uint64);
    }

    /// A claim to a name, as the registrar knows it.
    #[derive(Debug)]
    struct Claim {
        string label;
        address owner;
        uint64 duration;
        address target;
        bytes32 secret;
    }

    /// The NameResolver, as far as this crate uses it.
    #[derive(Debug)]
    contract NameResolver {
        event AddrChanged(bytes32 indexed node, address a);
        event NameChanged(bytes32 indexed node, string name);

        error NotNodeOwner(bytes32 node, address caller);
        error InvalidLength(uint256 length);

        function setAddr(bytes32 node, address a) external;
    }

    /// The ReverseRegistrar, as far as this crate uses it.
    #[derive(Debug)]
    contract ReverseRegistrar {
        error NotAccount(address account, address caller);

        function setName(string calldata name) external returns (bytes32 node);
    }

    /// The BridgeOffers.
    #[derive(Debug)]
    contract BridgeOffers {
        constructor(address registry);

        event OfferAnnounced(address indexed node, uint128 price, string policy);
        event OfferWithdrawn(address indexed node);

        error InvalidNodeRegistry(address nodeRegistry);
        error NodeNotActive(address node);
        error NotOperator(address node, address caller);
        error InvalidPolicyLength(uint256 length);

        function announce(address node, uint128 price, string calldata policy) external;
        function withdraw(address node) external;
    }

    /// A route as the registry and EIP-712 know it.
    #[derive(Debug, PartialEq)]
    struct Route {
        address wallet;
        bytes fingerprint;
        bytes8[] keyIds;
        address[] mailboxes;
        uint64 sequence;
        uint64 expiry;
    }

    /// A route and its wallet's signature, as batches carry it.
    #[derive(Debug, PartialEq)]
    struct SignedRoute {
        Route route;
        bytes signature;
    }

    /// The EIP-712 type by which a wallet clears its route.
    #[derive(Debug)]
    struct ClearRoute {
        address wallet;
        uint64 sequence;
        uint64 deadline;
    }

    /// The EIP-712 type by which a node's wallet agrees to its keys.
    #[derive(Debug)]
    struct Node {
        address operator;
        bytes32 transportKey;
        bytes certificate;
        string endpoint;
        string profile;
        uint256 nonce;
        uint256 deadline;
    }
}
