// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {IERC165} from "@openzeppelin/contracts/utils/introspection/IERC165.sol";

import {INameRegistry} from "./interfaces/INameRegistry.sol";
import {INameResolver} from "./interfaces/INameResolver.sol";
import {NameHash} from "./libraries/NameHash.sol";

/// @title NameResolver
/// @notice See {INameResolver}.
contract NameResolver is INameResolver {
    struct Records {
        mapping(uint256 coinType => bytes) addresses;
        mapping(string key => string) texts;
        bytes contenthash;
        string name;
    }

    /// @dev SLIP-44's number of Ether, by which EIP-137's `addr` is also known (ENSIP-9).
    uint256 private constant COIN_TYPE_ETH = 60;
    /// @dev These bound what those who sync the events have to take.
    uint256 private constant MAX_ADDRESS_BYTES = 64;
    uint256 private constant MAX_KEY_BYTES = 64;
    uint256 private constant MAX_TEXT_BYTES = 1024;
    uint256 private constant MAX_CONTENTHASH_BYTES = 128;
    uint256 private constant MAX_NAME_BYTES = 255;
    bytes4 private constant ADDR = 0x3b3b57de;
    bytes4 private constant ADDR_OF_COIN = 0xf1cb7e06;

    INameRegistry private immutable _registry;
    // It has only mappings and what is written through them.
    // slither-disable-next-line uninitialized-state
    mapping(bytes32 node => mapping(uint32 generation => Records)) private _records;

    /// @param registry_ The registry that says who owns a node.
    constructor(INameRegistry registry_) {
        _registry = registry_;
    }

    /// @inheritdoc INameResolver
    function setAddr(bytes32 node, address a) external {
        Records storage records = _recordsOfCaller(node);
        _setAddress(records, node, COIN_TYPE_ETH, a == address(0) ? bytes("") : abi.encodePacked(a));
    }

    /// @inheritdoc INameResolver
    function setAddr(bytes32 node, uint256 coinType, bytes calldata a) external {
        bool fits = coinType == COIN_TYPE_ETH ? a.length == 0 || a.length == 20 : a.length <= MAX_ADDRESS_BYTES;
        if (!fits) revert InvalidLength(a.length);
        _setAddress(_recordsOfCaller(node), node, coinType, a);
    }

    /// @inheritdoc INameResolver
    function setText(bytes32 node, string calldata key, string calldata value) external {
        _checkLength(bytes(key).length, MAX_KEY_BYTES);
        _checkLength(bytes(value).length, MAX_TEXT_BYTES);
        _recordsOfCaller(node).texts[key] = value;
        emit TextChanged(node, key, key, value);
    }

    /// @inheritdoc INameResolver
    function setContenthash(bytes32 node, bytes calldata hash) external {
        _checkLength(hash.length, MAX_CONTENTHASH_BYTES);
        _recordsOfCaller(node).contenthash = hash;
        emit ContenthashChanged(node, hash);
    }

    /// @inheritdoc INameResolver
    function setName(bytes32 node, string calldata newName) external {
        _checkLength(bytes(newName).length, MAX_NAME_BYTES);
        _recordsOfCaller(node).name = newName;
        emit NameChanged(node, newName);
    }

    /// @inheritdoc INameResolver
    function addr(bytes32 node) external view returns (address payable) {
        return payable(address(bytes20(addr(node, COIN_TYPE_ETH))));
    }

    /// @inheritdoc INameResolver
    function addr(bytes32 node, uint256 coinType) public view returns (bytes memory) {
        return _recordsOf(node).addresses[coinType];
    }

    /// @inheritdoc INameResolver
    function text(bytes32 node, string calldata key) external view returns (string memory) {
        return _recordsOf(node).texts[key];
    }

    /// @inheritdoc INameResolver
    function contenthash(bytes32 node) external view returns (bytes memory) {
        return _recordsOf(node).contenthash;
    }

    /// @inheritdoc INameResolver
    function name(bytes32 node) external view returns (string memory) {
        return _recordsOf(node).name;
    }

    /// @inheritdoc INameResolver
    function resolve(bytes calldata dnsName, bytes calldata data) external view returns (bytes memory) {
        (bytes32[] memory labels, bool wellFormed) = NameHash.labels(dnsName);
        if (!wellFormed) revert MalformedName(dnsName);
        bytes4 selector = bytes4(data);
        if (data.length < 36 || !_answers(selector)) revert UnsupportedCall(selector);

        bytes memory question = abi.encodePacked(selector, _nodeThatAnswers(labels), data[36:]);
        // A bare call, since what is asked is known by its selector only; a static one, to this contract.
        // slither-disable-next-line low-level-calls
        (bool answered, bytes memory answer) = address(this).staticcall(question);
        // It can fail only by arguments that can't be decoded.
        if (!answered) revert UnsupportedCall(selector);
        return answer;
    }

    /// @inheritdoc IERC165
    function supportsInterface(bytes4 id) external pure returns (bool) {
        return id == type(IERC165).interfaceId || id == this.resolve.selector || _answers(id);
    }

    /// @dev The name's node if it has an owner, else that of `*` below the nearest above that has one.
    function _nodeThatAnswers(bytes32[] memory labels) private view returns (bytes32 node) {
        bytes32 nearest = NameHash.ROOT;
        for (uint256 i = 0; i < labels.length; ++i) {
            node = NameHash.below(node, labels[i]);
            // As often as a name has labels, 16 times at most.
            // slither-disable-next-line calls-loop
            if (_registry.recordExists(node)) nearest = node;
        }
        if (nearest != node) node = NameHash.below(nearest, NameHash.WILDCARD_LABEL);
    }

    function _setAddress(Records storage records, bytes32 node, uint256 coinType, bytes memory a) private {
        records.addresses[coinType] = a;
        if (coinType == COIN_TYPE_ETH) emit AddrChanged(node, address(bytes20(a)));
        emit AddressChanged(node, coinType, a);
    }

    function _recordsOf(bytes32 node) private view returns (Records storage) {
        // No node that was given has generation zero: its records stay empty.
        uint32 generation = _registry.recordExists(node) ? _registry.generation(node) : 0;
        return _records[node][generation];
    }

    function _recordsOfCaller(bytes32 node) private view returns (Records storage) {
        address owner = _registry.owner(node);
        bool allowed = owner == msg.sender || _registry.isApprovedForAll(owner, msg.sender);
        if (!allowed || owner == address(0)) revert NotNodeOwner(node, msg.sender);
        return _recordsOf(node);
    }

    function _checkLength(uint256 length, uint256 most) private pure {
        if (length > most) revert InvalidLength(length);
    }

    function _answers(bytes4 selector) private pure returns (bool) {
        return selector == ADDR || selector == ADDR_OF_COIN || selector == this.text.selector
            || selector == this.contenthash.selector || selector == this.name.selector;
    }
}
