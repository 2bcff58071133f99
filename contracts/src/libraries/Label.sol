// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

/// @title What of a label a contract can check cheaply
library Label {
    /// @dev RFC 1035, section 2.3.4: what browsers and proxies take for a host's label.
    uint256 private constant MAX_BYTES = 63;
    uint256 private constant MIN_CHARACTERS = 3;

    /// @notice Returns a label's length in characters, zero if it is too short or too long.
    function length(string calldata label) internal pure returns (uint256 characters) {
        bytes calldata text = bytes(label);
        if (text.length > MAX_BYTES) return 0;
        for (uint256 i = 0; i < text.length; ++i) {
            // Bytes that go on with a character of UTF-8 begin with the bits 10.
            if (text[i] & 0xc0 != 0x80) ++characters;
        }
        if (characters < MIN_CHARACTERS) return 0;
    }

    /// @notice Returns where the first byte stands that no normalised label has, or the label's length in bytes.
    function firstForeignByte(string calldata label) internal pure returns (uint256 position) {
        bytes calldata text = bytes(label);
        while (position < text.length && _isNormal(text[position])) ++position;
    }

    function _isNormal(bytes1 byte_) private pure returns (bool) {
        return byte_ >= 0x80 || (byte_ >= "a" && byte_ <= "z") || (byte_ >= "0" && byte_ <= "9") || byte_ == "-"
            || byte_ == "_" || byte_ == "$";
    }
}
