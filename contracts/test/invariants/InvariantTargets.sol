// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

/// @notice Tells the test runner to call one handler and nothing else.
abstract contract InvariantTargets {
    address private _handler;

    function _target(address handler) internal {
        _handler = handler;
    }

    /// @notice Asked for by the test runner, by this name.
    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = _handler;
    }
}
