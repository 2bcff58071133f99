// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {INameRegistry} from "./INameRegistry.sol";
import {INameResolver} from "./INameResolver.sol";

/// @title What wallets call themselves
/// @notice ENSIP-3: each account has the node `<40 hexadecimal digits>.addr.reverse`, which it may claim, and whose
/// `name` is the account's. Anybody can call themselves anything: a reader believes a name only if it says the account.
/// @dev There is no owner, no proxy and no pause. The functions are those of ENS' ReverseRegistrar, as far as an
/// account, or its operator in the {INameRegistry}, calls them.
interface IReverseRegistrar {
    /// @notice An account's node was claimed.
    event ReverseClaimed(address indexed account, bytes32 indexed node);

    /// @notice The caller is neither the account nor its operator.
    error NotAccount(address account, address caller);

    /// @notice Gives the caller's node to `owner`, with the default resolver.
    /// @return The node.
    function claim(address owner) external returns (bytes32);

    /// @notice Gives the caller's node to `owner`, with this resolver.
    /// @return The node.
    function claimWithResolver(address owner, address resolver) external returns (bytes32);

    /// @notice Gives an account's node to `owner`, with this resolver; for the account or its operator.
    /// @return The node.
    function claimForAddr(address account, address owner, address resolver) external returns (bytes32);

    /// @notice Sets what the caller is called, by the default resolver; the caller owns the node then.
    /// @return The node.
    function setName(string calldata name) external returns (bytes32);

    /// @notice Sets what an account is called and gives its node to `owner`; for the account or its operator.
    /// @return The node.
    function setNameForAddr(address account, address owner, address resolver, string calldata name)
        external
        returns (bytes32);

    /// @notice Returns an account's node.
    function node(address account) external pure returns (bytes32);

    /// @notice Returns the registry.
    function registry() external view returns (INameRegistry);

    /// @notice Returns the resolver that nodes get if none is given.
    function defaultResolver() external view returns (INameResolver);
}
