// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {NameRegistrar} from "../src/NameRegistrar.sol";
import {NameRegistry} from "../src/NameRegistry.sol";
import {NameResolver} from "../src/NameResolver.sol";
import {ReverseRegistrar} from "../src/ReverseRegistrar.sol";
import {INameRegistrar} from "../src/interfaces/INameRegistrar.sol";
import {vm} from "./Vm.sol";

/// @notice The four contracts of names, found as anybody finds them, and name hashes written out once more.
abstract contract NameFixture {
    uint256 internal constant PRICE = 1 ether;
    uint64 internal constant MIN_AGE = 60;
    uint64 internal constant MAX_AGE = 1 days;
    uint64 internal constant YEAR = 365 days;
    uint64 internal constant GRACE = 90 days;

    struct Names {
        NameRegistry registry;
        NameRegistrar registrar;
        NameResolver resolver;
        ReverseRegistrar reverse;
    }

    function _names() internal returns (Names memory names) {
        names.registry = new NameRegistry(PRICE, MIN_AGE, MAX_AGE);
        names.registrar = NameRegistrar(names.registry.owner(_hash("conet")));
        names.resolver = NameResolver(address(names.registrar.resolver()));
        names.reverse = ReverseRegistrar(names.registry.owner(_hash("reverse", "addr")));
    }

    /// @dev The name hash of one label below the root.
    function _hash(string memory top) internal pure returns (bytes32) {
        return _below(bytes32(0), top);
    }

    /// @dev The name hash of `label.top`.
    function _hash(string memory top, string memory label) internal pure returns (bytes32) {
        return _below(_hash(top), label);
    }

    function _below(bytes32 node, string memory label) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(node, keccak256(bytes(label))));
    }

    function _claim(string memory label, address owner, address target)
        internal
        pure
        returns (INameRegistrar.Claim memory)
    {
        return INameRegistrar.Claim({
            label: label, owner: owner, duration: YEAR, target: target, secret: keccak256(bytes(label))
        });
    }

    /// @dev The commitment, written out once more.
    function _commitment(NameRegistrar registrar, INameRegistrar.Claim memory claim) internal view returns (bytes32) {
        return keccak256(
            bytes.concat(
                bytes32(block.chainid),
                bytes32(uint256(uint160(address(registrar)))),
                keccak256(bytes(claim.label)),
                bytes32(uint256(uint160(claim.owner))),
                bytes32(uint256(claim.duration)),
                bytes32(uint256(uint160(claim.target))),
                claim.secret
            )
        );
    }

    /// @dev Commits, waits and registers, paid by this contract.
    function _register(Names memory names, INameRegistrar.Claim memory claim) internal {
        names.registrar.commit(_commitment(names.registrar, claim));
        vm.warp(block.timestamp + MIN_AGE);
        (uint256 base, uint256 premium) = names.registrar.rentPrice(claim.label, claim.duration);
        vm.deal(address(this), address(this).balance + base + premium);
        names.registrar.register{value: base + premium}(claim);
    }
}
