// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {NodeRegistry} from "../src/NodeRegistry.sol";
import {RouteRegistry} from "../src/RouteRegistry.sol";
import {IRouteRegistry} from "../src/interfaces/IRouteRegistry.sol";
import {Enrolment, NodeFixture} from "./NodeFixture.sol";
import {RouteFixture} from "./RouteFixture.sol";
import {vm} from "./Vm.sol";

/// @notice Holds the contracts and the fixtures to vectors/registry.json, which knows neither.
contract RegistryVectorsTest is NodeFixture, RouteFixture {
    string private json;
    RouteRegistry private registry;
    NodeRegistry private nodes;
    uint256 private constant ROUTES = 7;

    function setUp() public {
        json = vm.readFile("test/vectors/registry.json");
        vm.chainId(vm.parseJsonUint(json, ".chainId"));
        nodes = NodeRegistry(vm.parseJsonAddress(json, ".nodeRegistry"));
        registry = RouteRegistry(vm.parseJsonAddress(json, ".routeRegistry"));
        vm.etch(address(nodes), address(new NodeRegistry(MIN_STAKE, UNBONDING_PERIOD)).code);
        vm.etch(address(registry), address(new RouteRegistry(nodes)).code);
    }

    function test_routes_hashAsInVectors() public view {
        for (uint256 i = 0; i < ROUTES; ++i) {
            IRouteRegistry.Route memory route = _vector(i);
            string memory key = _at(i);
            vm.assertEq(_routeStructHash(route), vm.parseJsonBytes32(json, string.concat(key, ".structHash")), "struct");
            vm.assertEq(registry.routeDigest(route), vm.parseJsonBytes32(json, string.concat(key, ".digest")), "digest");
            vm.assertEq(registry.batchLeaf(route), vm.parseJsonBytes32(json, string.concat(key, ".leaf")), "leaf");
        }
    }

    function test_batchRoot_isAsInVectors() public view {
        bytes32[] memory roots = vm.parseJsonBytes32Array(json, ".roots");
        for (uint256 count = 1; count <= ROUTES; ++count) {
            IRouteRegistry.SignedRoute[] memory batch = new IRouteRegistry.SignedRoute[](count);
            for (uint256 i = 0; i < count; ++i) {
                batch[i] = IRouteRegistry.SignedRoute(_vector(i), new bytes(65));
            }
            vm.assertEq(registry.batchRoot(batch), roots[count - 1], "root");
        }
    }

    function test_proofs_areAsInVectors() public view {
        bytes32[] memory leaves = new bytes32[](ROUTES);
        for (uint256 i = 0; i < ROUTES; ++i) {
            leaves[i] = _leaf(_vector(i));
        }
        for (uint256 i = 0; i < ROUTES; ++i) {
            bytes32[] memory proof = vm.parseJsonBytes32Array(json, string.concat(".proofs[", _digit(i), "]"));
            vm.assertEq(abi.encode(proof), abi.encode(_treeProof(leaves, i)), "proof");
        }
    }

    function test_clear_hashesAsInVectors() public view {
        bytes32 digest = _clearDigest(
            registry,
            vm.parseJsonAddress(json, ".clear.wallet"),
            uint64(vm.parseJsonUint(json, ".clear.sequence")),
            uint64(vm.parseJsonUint(json, ".clear.deadline"))
        );
        vm.assertEq(digest, vm.parseJsonBytes32(json, ".clear.digest"), "digest");
    }

    function test_node_hashesAsInVectors() public view {
        Enrolment memory enrolment = Enrolment({
            transportKey: vm.parseJsonBytes32(json, ".node.transportKey"),
            certificate: vm.parseJsonBytes(json, ".node.certificate"),
            endpoint: vm.parseJsonString(json, ".node.endpoint"),
            profile: vm.parseJsonString(json, ".node.profile"),
            deadline: vm.parseJsonUint(json, ".node.deadline")
        });
        bytes32 digest = _nodeDigest(
            nodes, vm.parseJsonAddress(json, ".node.operator"), enrolment, vm.parseJsonUint(json, ".node.nonce")
        );
        vm.assertEq(digest, vm.parseJsonBytes32(json, ".node.digest"), "digest");
    }

    function _vector(uint256 index) private view returns (IRouteRegistry.Route memory route) {
        string memory key = _at(index);
        route.wallet = vm.parseJsonAddress(json, string.concat(key, ".wallet"));
        route.fingerprint = vm.parseJsonBytes(json, string.concat(key, ".fingerprint"));
        bytes[] memory keyIds = vm.parseJsonBytesArray(json, string.concat(key, ".keyIds"));
        route.keyIds = new bytes8[](keyIds.length);
        for (uint256 i = 0; i < keyIds.length; ++i) {
            route.keyIds[i] = bytes8(keyIds[i]);
        }
        route.mailboxes = vm.parseJsonAddressArray(json, string.concat(key, ".mailboxes"));
        route.sequence = uint64(vm.parseJsonUint(json, string.concat(key, ".sequence")));
        route.expiry = uint64(vm.parseJsonUint(json, string.concat(key, ".expiry")));
    }

    function _at(uint256 index) private pure returns (string memory) {
        return string.concat(".routes[", _digit(index), "]");
    }

    function _digit(uint256 index) private pure returns (string memory) {
        return string(abi.encodePacked(bytes1(uint8(48 + index))));
    }
}
