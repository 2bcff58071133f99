// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Hashes} from "@openzeppelin/contracts/utils/cryptography/Hashes.sol";

/// @title Name hashes of EIP-137
library NameHash {
    bytes32 internal constant ROOT = bytes32(0);
    /// @dev namehash("conet").
    bytes32 internal constant CONET = keccak256(abi.encodePacked(ROOT, CONET_LABEL));
    bytes32 internal constant CONET_LABEL = keccak256("conet");
    /// @dev namehash("reverse").
    bytes32 internal constant REVERSE = keccak256(abi.encodePacked(ROOT, keccak256("reverse")));
    bytes32 internal constant ADDR_LABEL = keccak256("addr");
    /// @dev namehash("addr.reverse").
    bytes32 internal constant ADDR_REVERSE = keccak256(abi.encodePacked(REVERSE, ADDR_LABEL));
    bytes32 internal constant WILDCARD_LABEL = keccak256("*");

    /// @dev The most labels of a name; bounds every walk up from a node.
    uint256 internal constant MAX_LABELS = 16;
    /// @dev RFC 1035, section 2.3.4.
    uint256 private constant MAX_DNS_BYTES = 255;
    uint256 private constant MAX_LABEL_BYTES = 63;

    /// @notice Returns the node of `label` below `parent`.
    function below(bytes32 parent, bytes32 label) internal pure returns (bytes32) {
        return Hashes.efficientKeccak256(parent, label);
    }

    /// @notice Returns the label hashes of a DNS-encoded name, the last label first; none where it is malformed. The root
    /// has no labels either.
    function labels(bytes calldata dnsName) internal pure returns (bytes32[] memory hashes, bool wellFormed) {
        if (dnsName.length > MAX_DNS_BYTES) return (hashes, false);
        bytes32[] memory found = new bytes32[](MAX_LABELS);
        uint256 count = 0;
        uint256 offset = 0;
        while (true) {
            if (offset >= dnsName.length) return (hashes, false);
            uint256 length = uint8(dnsName[offset]);
            ++offset;
            if (length == 0) break;
            if (length > MAX_LABEL_BYTES || count == MAX_LABELS) return (hashes, false);
            if (length > dnsName.length - offset) return (hashes, false);
            found[count] = keccak256(dnsName[offset:offset + length]);
            ++count;
            offset += length;
        }
        if (offset != dnsName.length) return (hashes, false);
        hashes = new bytes32[](count);
        for (uint256 i = 0; i < count; ++i) {
            hashes[i] = found[count - 1 - i];
        }
        wellFormed = true;
    }
}
