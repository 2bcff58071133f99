// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {BridgeOffers} from "../src/BridgeOffers.sol";
import {NameRegistrar} from "../src/NameRegistrar.sol";
import {NameRegistry} from "../src/NameRegistry.sol";
import {NameResolver} from "../src/NameResolver.sol";
import {NodeRegistry} from "../src/NodeRegistry.sol";
import {RouteRegistry} from "../src/RouteRegistry.sol";
import {ReverseRegistrar} from "../src/ReverseRegistrar.sol";
import {vm} from "./Vm.sol";

/// @notice What is tested is what is shipped.
contract ArtifactsTest {
    function test_nodeRegistry_isTheCommittedBytecode() public view {
        vm.assertEq(_committed("artifacts/NodeRegistry.json"), type(NodeRegistry).creationCode, "bytecode");
    }

    function test_routeRegistry_isTheCommittedBytecode() public view {
        vm.assertEq(_committed("artifacts/RouteRegistry.json"), type(RouteRegistry).creationCode, "bytecode");
    }

    function test_nameRegistry_isTheCommittedBytecode() public view {
        vm.assertEq(_committed("artifacts/NameRegistry.json"), type(NameRegistry).creationCode, "bytecode");
    }

    function test_nameRegistrar_isTheCommittedBytecode() public view {
        vm.assertEq(_committed("artifacts/NameRegistrar.json"), type(NameRegistrar).creationCode, "bytecode");
    }

    function test_nameResolver_isTheCommittedBytecode() public view {
        vm.assertEq(_committed("artifacts/NameResolver.json"), type(NameResolver).creationCode, "bytecode");
    }

    function test_reverseRegistrar_isTheCommittedBytecode() public view {
        vm.assertEq(_committed("artifacts/ReverseRegistrar.json"), type(ReverseRegistrar).creationCode, "bytecode");
    }

    function test_bridgeOffers_isTheCommittedBytecode() public view {
        vm.assertEq(_committed("artifacts/BridgeOffers.json"), type(BridgeOffers).creationCode, "bytecode");
    }

    function _committed(string memory path) private view returns (bytes memory) {
        return vm.parseJsonBytes(vm.readFile(path), ".bytecode");
    }
}
