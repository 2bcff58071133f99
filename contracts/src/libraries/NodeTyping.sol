// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

/// @title EIP-712 struct hash of the statement that a node's wallet signs
library NodeTyping {
    /// @notice EIP-712 type hash of `Node`.
    bytes32 internal constant NODE_TYPEHASH = keccak256(
        "Node(address operator,bytes32 transportKey,bytes certificate,string endpoint,string profile,uint256 nonce,uint256 deadline)"
    );

    /// @notice Returns `hashStruct(Node)`; the dynamic members come in as their keccak256.
    function hash(
        address operator,
        bytes32 transportKey,
        bytes32 certificateHash,
        bytes32 endpointHash,
        bytes32 profileHash,
        uint256 nonce,
        uint256 deadline
    ) internal pure returns (bytes32) {
        return keccak256(
            abi.encode(
                NODE_TYPEHASH, operator, transportKey, certificateHash, endpointHash, profileHash, nonce, deadline
            )
        );
    }
}
