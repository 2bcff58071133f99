// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {NodeRegistry} from "../../src/NodeRegistry.sol";
import {RouteRegistry} from "../../src/RouteRegistry.sol";
import {IRouteRegistry} from "../../src/interfaces/IRouteRegistry.sol";
import {vm} from "../Vm.sol";
import {svm} from "./Svm.sol";

/// @notice One call by anybody after a wallet has used any sequence, any root may be known and any node
/// active. Routes have one key ID and one mailbox, whatever they are; a batch has one route.
contract RouteRegistrySymbolic {
    address private constant CALLER = address(0xCA11E2);
    /// @dev Where RouteRegistry keeps routes and roots, and a route's sequence; its first two slots are EIP712's.
    uint256 private constant ROUTES_SLOT = 2;
    uint256 private constant ROOTS_SLOT = 3;
    uint256 private constant SEQUENCE_OFFSET = 4;

    NodeRegistry private _nodes;
    RouteRegistry private _registry;

    function setUp() public {
        _nodes = new NodeRegistry(1 ether, 14 days);
        _registry = new RouteRegistry(_nodes);
        svm.enableSymbolicStorage(address(_nodes));
    }

    /// @notice A wallet's sequence never falls, and each change of its route takes a higher one.
    function check_sequenceOnlyRises(uint64 sequence) public {
        IRouteRegistry.Route memory route = _anyRoute();
        _used(route.wallet, sequence);

        bool done = _tried(_anyCall(route));

        uint64 now_ = _registry.sequenceOf(route.wallet);
        assert(done ? now_ == route.sequence && now_ > sequence : now_ == sequence);
    }

    /// @notice A call about one wallet leaves every other as it is.
    function check_onlyTheWalletNamedChanges(address other, uint64 sequence) public {
        IRouteRegistry.Route memory route = _anyRoute();
        vm.assume(other != route.wallet);
        _used(other, sequence);

        _tried(_anyCall(route));

        assert(_registry.sequenceOf(other) == sequence);
    }

    /// @notice Without a signature only the wallet itself changes its route.
    function check_onlyTheWalletSetsItsRoute() public {
        IRouteRegistry.Route memory route = _anyRoute();
        vm.assume(route.wallet != CALLER);

        bool set = _tried(abi.encodeCall(_registry.setRoute, (route)));
        bool cleared = _tried(abi.encodeCall(_registry.clearRoute, (route.sequence)));

        assert(!set);
        assert(_registry.sequenceOf(route.wallet) == 0);
        assert(!cleared || _registry.sequenceOf(CALLER) == route.sequence);
    }

    /// @notice With a signature, it is the wallet's over the very route that is stored.
    function check_aBroughtRouteIsSignedByItsWallet() public {
        IRouteRegistry.Route memory route = _anyRoute();
        (bytes memory signature, uint8 v, bytes32 r, bytes32 s) = _anySignature();

        vm.assume(_tried(abi.encodeCall(_registry.setRouteBySig, (route, signature))));

        assert(ecrecover(_registry.routeDigest(route), v, r, s) == route.wallet);
        assert(keccak256(abi.encode(_registry.routeOf(route.wallet))) == keccak256(abi.encode(route)));
    }

    /// @notice A route out of a batch is signed too, and its batch was announced.
    function check_anAppliedRouteIsSignedAndAnnounced(bytes32 root, bytes32 known) public {
        IRouteRegistry.Route memory route = _anyRoute();
        (bytes memory signature, uint8 v, bytes32 r, bytes32 s) = _anySignature();
        bytes32[] memory proof = new bytes32[](0);
        vm.store(address(_registry), keccak256(abi.encode(known, ROOTS_SLOT)), bytes32(uint256(1)));

        vm.assume(_tried(abi.encodeCall(_registry.applyFromBatch, (root, route, signature, proof))));

        assert(root == known && root == _registry.batchLeaf(route));
        assert(ecrecover(_registry.routeDigest(route), v, r, s) == route.wallet);
    }

    /// @notice Only an active node announces, and only the root of what it announces.
    function check_onlyActiveNodesAnnounceHonestRoots(bytes32 root, uint32 count) public {
        IRouteRegistry.SignedRoute[] memory batch = _anyBatch();

        bool done = _tried(abi.encodeCall(_registry.submitBatch, (root, count, abi.encode(batch))));

        assert(!done || (_nodes.isActive(CALLER) && count == 1 && root == _registry.batchLeaf(batch[0].route)));
        assert(_registry.isBatchRoot(root) == done);
    }

    /// @notice These must fail, or the checks above looked at nothing: each kind of call can succeed.
    function reach_setRoute() public {
        _reach(abi.encodeCall(_registry.setRoute, (_anyRoute())));
    }

    function reach_setRouteBySig() public {
        (bytes memory signature,,,) = _anySignature();
        _reach(abi.encodeCall(_registry.setRouteBySig, (_anyRoute(), signature)));
    }

    function reach_clearRoute(uint64 sequence) public {
        _reach(abi.encodeCall(_registry.clearRoute, (sequence)));
    }

    function reach_clearRouteBySig(address wallet, uint64 sequence, uint64 deadline) public {
        (bytes memory signature,,,) = _anySignature();
        _reach(abi.encodeCall(_registry.clearRouteBySig, (wallet, sequence, deadline, signature)));
    }

    function reach_applyFromBatch() public {
        IRouteRegistry.Route memory route = _anyRoute();
        (bytes memory signature,,,) = _anySignature();
        bytes32 root = _registry.batchLeaf(route);
        vm.store(address(_registry), keccak256(abi.encode(root, ROOTS_SLOT)), bytes32(uint256(1)));
        _reach(abi.encodeCall(_registry.applyFromBatch, (root, route, signature, new bytes32[](0))));
    }

    function reach_submitBatch() public {
        IRouteRegistry.SignedRoute[] memory batch = _anyBatch();
        _reach(abi.encodeCall(_registry.submitBatch, (_registry.batchLeaf(batch[0].route), 1, abi.encode(batch))));
    }

    function _reach(bytes memory data) private {
        vm.assume(_tried(data));
        assert(false);
    }

    function _tried(bytes memory data) private returns (bool done) {
        vm.prank(CALLER);
        (done,) = address(_registry).call(data);
    }

    /// @dev Any call that may change this route's wallet.
    function _anyCall(IRouteRegistry.Route memory route) private view returns (bytes memory) {
        (bytes memory signature,,,) = _anySignature();
        uint256 choice = svm.createUint256("choice");
        if (choice == 0) return abi.encodeCall(_registry.setRoute, (route));
        if (choice == 1) return abi.encodeCall(_registry.setRouteBySig, (route, signature));
        if (choice == 2) {
            vm.assume(route.wallet == CALLER);
            return abi.encodeCall(_registry.clearRoute, (route.sequence));
        }
        return abi.encodeCall(_registry.clearRouteBySig, (route.wallet, route.sequence, route.expiry, signature));
    }

    function _anyRoute() private pure returns (IRouteRegistry.Route memory route) {
        route.wallet = svm.createAddress("wallet");
        route.fingerprint = svm.createBytes(32, "fingerprint");
        route.keyIds = new bytes8[](1);
        route.keyIds[0] = bytes8(svm.createBytes32("keyId"));
        route.mailboxes = new address[](1);
        route.mailboxes[0] = svm.createAddress("mailbox");
        route.sequence = uint64(svm.createUint256("sequence"));
        route.expiry = uint64(svm.createUint256("expiry"));
    }

    function _anySignature() private pure returns (bytes memory signature, uint8 v, bytes32 r, bytes32 s) {
        (r, s, v) = (svm.createBytes32("r"), svm.createBytes32("s"), uint8(svm.createUint256("v")));
        signature = abi.encodePacked(r, s, v);
    }

    function _anyBatch() private pure returns (IRouteRegistry.SignedRoute[] memory batch) {
        (bytes memory signature,,,) = _anySignature();
        batch = new IRouteRegistry.SignedRoute[](1);
        batch[0] = IRouteRegistry.SignedRoute(_anyRoute(), signature);
    }

    /// @dev Has a wallet used this sequence; what is stored beside it, its expiry, stays zero.
    function _used(address wallet, uint64 sequence) private {
        uint256 slot = uint256(keccak256(abi.encode(wallet, ROUTES_SLOT))) + SEQUENCE_OFFSET;
        vm.store(address(_registry), bytes32(slot), bytes32(uint256(sequence)));
        assert(_registry.sequenceOf(wallet) == sequence);
    }
}
