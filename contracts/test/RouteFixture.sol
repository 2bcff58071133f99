// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {RouteRegistry} from "../src/RouteRegistry.sol";
import {IRouteRegistry} from "../src/interfaces/IRouteRegistry.sol";
import {Signing} from "./Signing.sol";

/// @notice Makes and signs routes, and draws the batch tree apart from the contracts.
abstract contract RouteFixture is Signing {
    function _route(address wallet, uint64 sequence, uint64 expiry, uint256 seed)
        internal
        pure
        returns (IRouteRegistry.Route memory route)
    {
        route.wallet = wallet;
        route.fingerprint = seed % 2 == 0
            ? abi.encodePacked(keccak256(abi.encode(seed)))
            : abi.encodePacked(bytes20(keccak256(abi.encode(seed))));
        route.keyIds = new bytes8[](1 + seed % 8);
        for (uint256 i = 0; i < route.keyIds.length; ++i) {
            route.keyIds[i] = bytes8(keccak256(abi.encode("key", seed, i)));
        }
        route.mailboxes = new address[](1 + seed % 3);
        for (uint256 i = 0; i < route.mailboxes.length; ++i) {
            route.mailboxes[i] = address(bytes20(keccak256(abi.encode("mailbox", seed, i))));
        }
        route.sequence = sequence;
        route.expiry = expiry;
    }

    function _routeStructHash(IRouteRegistry.Route memory route) internal pure returns (bytes32) {
        bytes memory keyIds;
        for (uint256 i = 0; i < route.keyIds.length; ++i) {
            keyIds = bytes.concat(keyIds, bytes32(route.keyIds[i]));
        }
        bytes memory mailboxes;
        for (uint256 i = 0; i < route.mailboxes.length; ++i) {
            mailboxes = bytes.concat(mailboxes, bytes32(uint256(uint160(route.mailboxes[i]))));
        }
        bytes32 typeHash = keccak256(
            "Route(address wallet,bytes fingerprint,bytes8[] keyIds,address[] mailboxes,uint64 sequence,uint64 expiry)"
        );
        return keccak256(
            bytes.concat(
                typeHash,
                bytes32(uint256(uint160(route.wallet))),
                keccak256(route.fingerprint),
                keccak256(keyIds),
                keccak256(mailboxes),
                bytes32(uint256(route.sequence)),
                bytes32(uint256(route.expiry))
            )
        );
    }

    function _routeDigest(RouteRegistry registry, IRouteRegistry.Route memory route) internal view returns (bytes32) {
        return _digest("CONET RouteRegistry", address(registry), _routeStructHash(route));
    }

    function _clearDigest(RouteRegistry registry, address wallet, uint64 sequence, uint64 deadline)
        internal
        view
        returns (bytes32)
    {
        bytes32 structHash = keccak256(
            abi.encode(
                keccak256("ClearRoute(address wallet,uint64 sequence,uint64 deadline)"), wallet, sequence, deadline
            )
        );
        return _digest("CONET RouteRegistry", address(registry), structHash);
    }

    function _leaf(IRouteRegistry.Route memory route) internal pure returns (bytes32) {
        return keccak256(bytes.concat(keccak256(bytes.concat(_routeStructHash(route)))));
    }

    function _leaves(IRouteRegistry.SignedRoute[] memory batch) internal pure returns (bytes32[] memory leaves) {
        leaves = new bytes32[](batch.length);
        for (uint256 i = 0; i < batch.length; ++i) {
            leaves[i] = _leaf(batch[i].route);
        }
    }

    /// @notice Root of the leaves from `low` up to, not including, `high`: the tree seen from above.
    /// @dev Moving the last of an odd number up puts a full tree of the largest power of two to the
    /// left, which is how this draws it.
    function _treeRoot(bytes32[] memory leaves, uint256 low, uint256 high) internal pure returns (bytes32) {
        if (high - low == 1) return leaves[low];
        uint256 middle = low + _leftWidth(high - low);
        return _parent(_treeRoot(leaves, low, middle), _treeRoot(leaves, middle, high));
    }

    function _treeRoot(bytes32[] memory leaves) internal pure returns (bytes32) {
        return _treeRoot(leaves, 0, leaves.length);
    }

    /// @notice Siblings of leaf `index` from the leaf upwards.
    function _treeProof(bytes32[] memory leaves, uint256 index) internal pure returns (bytes32[] memory proof) {
        return _treeProof(leaves, index, 0, leaves.length);
    }

    function _treeProof(bytes32[] memory leaves, uint256 index, uint256 low, uint256 high)
        private
        pure
        returns (bytes32[] memory)
    {
        if (high - low == 1) return new bytes32[](0);
        uint256 middle = low + _leftWidth(high - low);
        return index < middle
            ? _append(_treeProof(leaves, index, low, middle), _treeRoot(leaves, middle, high))
            : _append(_treeProof(leaves, index, middle, high), _treeRoot(leaves, low, middle));
    }

    function _leftWidth(uint256 width) private pure returns (uint256 left) {
        left = 1;
        while (left * 2 < width) left *= 2;
    }

    function _parent(bytes32 one, bytes32 two) private pure returns (bytes32) {
        return uint256(one) < uint256(two) ? keccak256(bytes.concat(one, two)) : keccak256(bytes.concat(two, one));
    }

    function _append(bytes32[] memory list, bytes32 last) private pure returns (bytes32[] memory longer) {
        longer = new bytes32[](list.length + 1);
        for (uint256 i = 0; i < list.length; ++i) {
            longer[i] = list[i];
        }
        longer[list.length] = last;
    }
}
