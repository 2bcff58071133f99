// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {NodeRegistry} from "../src/NodeRegistry.sol";
import {RouteRegistry} from "../src/RouteRegistry.sol";
import {vm} from "./Vm.sol";

/// @notice What is tested is what is shipped.
contract ArtifactsTest {
    function test_nodeRegistry_isTheCommittedBytecode() public view {
        vm.assertEq(_committed("artifacts/NodeRegistry.json"), type(NodeRegistry).creationCode, "bytecode");
    }

    function test_routeRegistry_isTheCommittedBytecode() public view {
        vm.assertEq(_committed("artifacts/RouteRegistry.json"), type(RouteRegistry).creationCode, "bytecode");
    }

    function _committed(string memory path) private view returns (bytes memory) {
        return vm.parseJsonBytes(vm.readFile(path), ".bytecode");
    }
}
