// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {RouteRegistry} from "../../src/RouteRegistry.sol";
import {IRouteRegistry} from "../../src/interfaces/IRouteRegistry.sol";
import {RouteFixture} from "../RouteFixture.sol";
import {vm} from "../Vm.sol";

/// @notice Does to a RouteRegistry what wallets, relayers, nodes and strangers can do, good or bad, and
/// keeps its own account of what each wallet last agreed to.
contract RouteHandler is RouteFixture {
    enum Kind {
        Set,
        Clear,
        Batched
    }

    /// @notice A statement that a wallet signed at some time, brought already or not.
    struct Signed {
        Kind kind;
        IRouteRegistry.Route route;
        bytes signature;
        bytes32 root;
        bytes32[] proof;
    }

    uint256 public constant WALLETS = 3;
    uint256 private constant FIRST_WALLET_KEY = 0x2000;
    uint256 private constant MAX_HISTORY = 64;
    uint64 private constant MAX_VALIDITY = 30 days;

    RouteRegistry private immutable _registry;
    address private immutable _activeNode;
    address private immutable _unbondedNode;
    address[WALLETS] private _wallets;

    mapping(address wallet => bytes) private _agreedRoute;
    mapping(address wallet => uint64) private _agreedExpiry;
    mapping(address wallet => uint64) private _agreedSequence;
    mapping(address wallet => uint64) private _highestSeen;
    Signed[] private _history;
    Signed[] private _recentlyBatched;
    bytes32[] private _announced;
    mapping(bytes32 root => bool) private _isAnnounced;

    /// @notice Things that happened and must not have.
    uint256 public sequenceFalls;
    uint256 public strangersHeeded;
    uint256 public forgeriesAccepted;
    uint256 public replaysHeeded;
    uint256 public foreignBatches;
    uint256 public dishonestBatches;
    uint256 public unannouncedApplied;

    constructor(RouteRegistry registry, address activeNode, address unbondedNode) {
        _registry = registry;
        _activeNode = activeNode;
        _unbondedNode = unbondedNode;
        for (uint256 i = 0; i < WALLETS; ++i) {
            _wallets[i] = vm.addr(_keyAt(i));
        }
    }

    function walletAt(uint256 seed) public view returns (address) {
        return _wallets[seed % WALLETS];
    }

    /// @notice The route that should be read now: the last one agreed to, unless it has expired.
    function expectedRouteOf(address wallet) external view returns (bytes memory) {
        if (_agreedExpiry[wallet] > block.timestamp) return _agreedRoute[wallet];
        IRouteRegistry.Route memory none;
        return abi.encode(none);
    }

    function expectedSequenceOf(address wallet) external view returns (uint64) {
        return _agreedSequence[wallet];
    }

    /// @notice The roots that should be known, at most the first 64.
    function announcedRoots() external view returns (bytes32[] memory) {
        return _announced;
    }

    // actions

    function setRoute(uint256 seed, uint256 callerSeed, uint64 rise, uint256 content) external watched {
        IRouteRegistry.Route memory route = _newRoute(seed, rise, content);
        address caller = callerSeed % 3 == 0 ? walletAt(callerSeed >> 8) : route.wallet;
        vm.prank(caller);
        try _registry.setRoute(route) {
            if (caller != route.wallet) strangersHeeded++;
            else _agree(route);
        } catch {}
    }

    function setRouteBySig(uint256 seed, uint256 callerSeed, uint64 rise, uint256 content) external watched {
        Signed memory signed = _signRoute(seed, rise, content);
        _remember(signed);
        vm.prank(walletAt(callerSeed));
        try _registry.setRouteBySig(signed.route, signed.signature) {
            _agree(signed.route);
        } catch {}
    }

    /// @notice Brings a route that the wallet has not signed.
    function forgeRoute(uint256 seed, uint64 rise, uint256 content, bool garbage) external watched {
        IRouteRegistry.Route memory route = _newRoute(seed, rise, content);
        bytes memory signature = garbage ? new bytes(65) : _sign(_otherKeyThan(seed), _routeDigest(_registry, route));
        try _registry.setRouteBySig(route, signature) {
            forgeriesAccepted++;
        } catch {}
    }

    function clearRoute(uint256 seed, uint64 rise) external watched {
        address wallet = walletAt(seed);
        uint64 sequence = _nextSequence(wallet, rise);
        vm.prank(wallet);
        try _registry.clearRoute(sequence) {
            _agreeToNone(wallet, sequence);
        } catch {}
    }

    function clearRouteBySig(uint256 seed, uint256 callerSeed, uint64 rise) external watched {
        IRouteRegistry.Route memory route = _newRoute(seed, rise, 0);
        bytes32 digest = _clearDigest(_registry, route.wallet, route.sequence, route.expiry);
        Signed memory signed = Signed(Kind.Clear, route, _sign(_keyAt(seed), digest), 0, new bytes32[](0));
        _remember(signed);
        vm.prank(walletAt(callerSeed));
        try _registry.clearRouteBySig(route.wallet, route.sequence, route.expiry, signed.signature) {
            _agreeToNone(route.wallet, route.sequence);
        } catch {}
    }

    function forgeClear(uint256 seed, uint64 rise) external watched {
        IRouteRegistry.Route memory route = _newRoute(seed, rise, 0);
        bytes32 digest = _clearDigest(_registry, route.wallet, route.sequence, route.expiry);
        bytes memory signature = _sign(_otherKeyThan(seed), digest);
        try _registry.clearRouteBySig(route.wallet, route.sequence, route.expiry, signature) {
            forgeriesAccepted++;
        } catch {}
    }

    /// @notice Brings anything signed so far again. It may still be news; it must not be old.
    function replay(uint256 historySeed, uint256 callerSeed) external watched {
        if (_history.length == 0) return;
        Signed memory signed = _history[historySeed % _history.length];
        IRouteRegistry.Route memory route = signed.route;
        bytes32 before = _stateOf(route.wallet);
        vm.prank(walletAt(callerSeed));
        if (signed.kind == Kind.Set) {
            try _registry.setRouteBySig(route, signed.signature) {} catch {}
        } else if (signed.kind == Kind.Clear) {
            try _registry.clearRouteBySig(route.wallet, route.sequence, route.expiry, signed.signature) {} catch {}
        } else {
            try _registry.applyFromBatch(signed.root, route, signed.signature, signed.proof) {} catch {}
        }
        if (_stateOf(route.wallet) == before) return;
        if (route.sequence <= _agreedSequence[route.wallet]) replaysHeeded++;
        else if (signed.kind == Kind.Clear) _agreeToNone(route.wallet, route.sequence);
        else _agree(route);
    }

    /// @notice Announces routes of all wallets, from an active node or not, under the right root or not.
    function submitBatch(uint256 content, uint256 callerSeed, uint64 rise, uint256 honestSeed) external watched {
        bool honest = honestSeed % 4 != 0;
        uint256 count = _between(content, 1, WALLETS);
        IRouteRegistry.SignedRoute[] memory batch = new IRouteRegistry.SignedRoute[](count);
        for (uint256 i = 0; i < count; ++i) {
            Signed memory signed = _signRoute(i, rise, content >> (8 * i));
            batch[i] = IRouteRegistry.SignedRoute(signed.route, signed.signature);
        }
        bytes32[] memory leaves = _leaves(batch);
        bytes32 root = honest ? _treeRoot(leaves) : keccak256(abi.encode(leaves));
        address caller = _activeNode;
        if (callerSeed % 8 == 0) caller = _unbondedNode;
        if (callerSeed % 8 == 1) caller = walletAt(callerSeed >> 8);

        vm.prank(caller);
        try _registry.submitBatch(root, uint32(count), abi.encode(batch)) {
            if (caller != _activeNode) foreignBatches++;
            if (!honest) dishonestBatches++;
            if (_announced.length < MAX_HISTORY) _announced.push(root);
            _isAnnounced[root] = true;
        } catch {}
        // Remembered though refused: what was never announced must never be applied.
        delete _recentlyBatched;
        for (uint256 i = 0; i < count; ++i) {
            Signed memory signed = Signed(Kind.Batched, batch[i].route, batch[i].signature, root, _treeProof(leaves, i));
            _recentlyBatched.push(signed);
            _remember(signed);
        }
    }

    /// @notice Applies a route out of a batch, rightly, or under another root, or with a forged signature.
    function applyFromBatch(uint256 batchSeed, uint256 twist) external watched {
        if (_recentlyBatched.length == 0) return;
        Signed memory signed = _recentlyBatched[batchSeed % _recentlyBatched.length];
        bool announced = _isAnnounced[signed.root];
        if (twist % 4 == 1 && _announced.length > 0) {
            bytes32 other = _announced[(twist >> 8) % _announced.length];
            announced = announced && other == signed.root;
            signed.root = other;
        }
        bool forged = twist % 4 == 2;
        if (forged) signed.signature = _sign(_keyAt(twist >> 8), keccak256("something else"));
        try _registry.applyFromBatch(signed.root, signed.route, signed.signature, signed.proof) {
            if (forged) forgeriesAccepted++;
            if (!announced) unannouncedApplied++;
            if (!forged && announced) _agree(signed.route);
        } catch {}
    }

    function pass(uint256 seconds_) external watched {
        vm.warp(block.timestamp + _between(seconds_, 1, MAX_VALIDITY / 8));
    }

    // steps

    /// @dev After each action, looks whether any wallet's sequence fell.
    modifier watched() {
        _;
        for (uint256 i = 0; i < WALLETS; ++i) {
            address wallet = walletAt(i);
            uint64 sequence = _registry.sequenceOf(wallet);
            if (sequence < _highestSeen[wallet]) sequenceFalls++;
            else _highestSeen[wallet] = sequence;
        }
    }

    function _keyAt(uint256 seed) private pure returns (uint256) {
        return FIRST_WALLET_KEY + seed % WALLETS;
    }

    function _otherKeyThan(uint256 seed) private pure returns (uint256) {
        return _keyAt(seed % WALLETS + 1);
    }

    /// @dev Around the last one agreed to: below, the same and above all occur.
    function _nextSequence(address wallet, uint64 rise) private view returns (uint64) {
        uint64 base = _agreedSequence[wallet];
        return rise % 4 == 0 ? base - (base > 0 ? rise % base : 0) : base + rise % 4;
    }

    function _newRoute(uint256 seed, uint64 rise, uint256 content) private view returns (IRouteRegistry.Route memory) {
        address wallet = walletAt(seed);
        uint64 expiry = uint64(block.timestamp + _between(content, 0, MAX_VALIDITY));
        return _route(wallet, _nextSequence(wallet, rise), expiry, content);
    }

    function _signRoute(uint256 seed, uint64 rise, uint256 content) private view returns (Signed memory) {
        IRouteRegistry.Route memory route = _newRoute(seed, rise, content);
        bytes memory signature = _sign(_keyAt(seed), _routeDigest(_registry, route));
        return Signed(Kind.Set, route, signature, 0, new bytes32[](0));
    }

    function _remember(Signed memory signed) private {
        if (_history.length < MAX_HISTORY) _history.push(signed);
        else _history[uint256(keccak256(signed.signature)) % MAX_HISTORY] = signed;
    }

    function _agree(IRouteRegistry.Route memory route) private {
        _agreedRoute[route.wallet] = abi.encode(route);
        _agreedExpiry[route.wallet] = route.expiry;
        _agreedSequence[route.wallet] = route.sequence;
    }

    function _agreeToNone(address wallet, uint64 sequence) private {
        _agreedExpiry[wallet] = 0;
        _agreedSequence[wallet] = sequence;
    }

    function _stateOf(address wallet) private view returns (bytes32) {
        return keccak256(abi.encode(_registry.routeOf(wallet), _registry.sequenceOf(wallet)));
    }
}
