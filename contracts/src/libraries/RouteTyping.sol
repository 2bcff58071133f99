// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {IRouteRegistry} from "../interfaces/IRouteRegistry.sol";

/// @title EIP-712 struct hashes of what a wallet signs about its route
library RouteTyping {
    /// @notice EIP-712 type hash of `Route`.
    bytes32 internal constant ROUTE_TYPEHASH = keccak256(
        "Route(address wallet,bytes fingerprint,bytes8[] keyIds,address[] mailboxes,uint64 sequence,uint64 expiry)"
    );
    /// @notice EIP-712 type hash of `ClearRoute`.
    bytes32 internal constant CLEAR_ROUTE_TYPEHASH =
        keccak256("ClearRoute(address wallet,uint64 sequence,uint64 deadline)");

    /// @notice Returns `hashStruct(Route)`.
    /// @dev Packed encoding pads array elements to 32 bytes, which is what EIP-712 hashes of an array.
    function hash(IRouteRegistry.Route memory route) internal pure returns (bytes32) {
        return keccak256(
            abi.encode(
                ROUTE_TYPEHASH,
                route.wallet,
                keccak256(route.fingerprint),
                keccak256(abi.encodePacked(route.keyIds)),
                keccak256(abi.encodePacked(route.mailboxes)),
                route.sequence,
                route.expiry
            )
        );
    }

    /// @notice Returns `hashStruct(ClearRoute)`.
    function hashClear(address wallet, uint64 sequence, uint64 deadline) internal pure returns (bytes32) {
        return keccak256(abi.encode(CLEAR_ROUTE_TYPEHASH, wallet, sequence, deadline));
    }
}
