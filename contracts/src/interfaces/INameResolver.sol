// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {IERC165} from "@openzeppelin/contracts/utils/introspection/IERC165.sol";

/// @title What names say
/// @notice The resolver interfaces of EIP-137 (`addr`), ENSIP-9 (addresses of other coins), ENSIP-5 (`text`), ENSIP-7
/// (`contenthash`), ENSIP-3 (`name`) and ENSIP-10 (`resolve`). A node's owner, or the owner's operator, changes its
/// records. Records are of the generation in which they were made (see {INameRegistry}): a node that doesn't stand, or
/// that was given to somebody anew, says nothing.
/// @dev There is no owner, no proxy and no pause.
interface INameResolver is IERC165 {
    /// @notice The node's wallet is now this one.
    event AddrChanged(bytes32 indexed node, address a);
    /// @notice The node's address of this coin (SLIP-44, ENSIP-11) is now this one.
    event AddressChanged(bytes32 indexed node, uint256 coinType, bytes newAddress);
    /// @notice The node's text under this key is now this one.
    event TextChanged(bytes32 indexed node, string indexed indexedKey, string key, string value);
    /// @notice The node's content is now this.
    event ContenthashChanged(bytes32 indexed node, bytes hash);
    /// @notice The node's name, of a reverse node, is now this one.
    event NameChanged(bytes32 indexed node, string name);

    /// @notice The caller is neither the node's owner nor the owner's operator, or the node doesn't stand.
    error NotNodeOwner(bytes32 node, address caller);
    /// @notice A value is longer than it may be, or of a wallet not 20 bytes or none.
    error InvalidLength(uint256 length);
    /// @notice The name is no DNS-encoded name of at most 255 bytes and 16 labels.
    error MalformedName(bytes name);
    /// @notice `resolve` answers the functions of these standards that begin with the node, no others.
    error UnsupportedCall(bytes4 selector);

    /// @notice Sets the node's wallet, zero for none.
    function setAddr(bytes32 node, address a) external;

    /// @notice Sets the node's address of a coin, at most 64 bytes, empty for none; of coin type 60 20 bytes.
    function setAddr(bytes32 node, uint256 coinType, bytes calldata a) external;

    /// @notice Sets a text; the key has at most 64 bytes, the value 1,024.
    function setText(bytes32 node, string calldata key, string calldata value) external;

    /// @notice Sets the content, at most 128 bytes.
    function setContenthash(bytes32 node, bytes calldata hash) external;

    /// @notice Sets the name that a reverse node says, at most 255 bytes.
    function setName(bytes32 node, string calldata newName) external;

    /// @notice Returns the node's wallet, zero for none.
    function addr(bytes32 node) external view returns (address payable);

    /// @notice Returns the node's address of a coin, empty for none.
    function addr(bytes32 node, uint256 coinType) external view returns (bytes memory);

    /// @notice Returns the node's text under a key, empty for none.
    function text(bytes32 node, string calldata key) external view returns (string memory);

    /// @notice Returns the node's content, empty for none.
    function contenthash(bytes32 node) external view returns (bytes memory);

    /// @notice Returns the name that a reverse node says, empty for none.
    function name(bytes32 node) external view returns (string memory);

    /// @notice Answers a call of one of the five functions above about a name, ENSIP-10. A name that has no owner of its
    /// own says what `*` says below the nearest name above it that has one, as in DNS.
    /// @param dnsName The name, DNS-encoded.
    /// @param data The call; its node is not read.
    /// @return What that call returns.
    function resolve(bytes calldata dnsName, bytes calldata data) external view returns (bytes memory);
}
