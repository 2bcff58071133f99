// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {NodeRegistry} from "../src/NodeRegistry.sol";
import {Signing} from "./Signing.sol";

/// @notice What a node's wallet signs and its operator sends.
struct Enrolment {
    bytes32 transportKey;
    bytes certificate;
    string endpoint;
    string profile;
    uint256 deadline;
}

/// @notice Makes and sends enrolments.
abstract contract NodeFixture is Signing {
    uint256 internal constant MIN_STAKE = 1 ether;
    uint64 internal constant UNBONDING_PERIOD = 7 days;

    function _enrolment(uint256 seed) internal view returns (Enrolment memory) {
        return Enrolment({
            transportKey: keccak256(abi.encode("transport key", seed)),
            certificate: abi.encode("certificate", seed),
            endpoint: seed % 2 == 0 ? "http://192.0.2.1:4000" : "http://192.0.2.2:4000",
            profile: seed % 3 == 0 ? "plain" : "",
            deadline: block.timestamp + 1 hours
        });
    }

    function _nodeDigest(NodeRegistry registry, address operator, Enrolment memory enrolment, uint256 nonce)
        internal
        view
        returns (bytes32)
    {
        bytes32 structHash = keccak256(
            abi.encode(
                keccak256(
                    "Node(address operator,bytes32 transportKey,bytes certificate,string endpoint,string profile,uint256 nonce,uint256 deadline)"
                ),
                operator,
                enrolment.transportKey,
                keccak256(enrolment.certificate),
                keccak256(bytes(enrolment.endpoint)),
                keccak256(bytes(enrolment.profile)),
                nonce,
                enrolment.deadline
            )
        );
        return _digest("CONET NodeRegistry", address(registry), structHash);
    }

    function _register(
        NodeRegistry registry,
        address node,
        uint256 stake,
        Enrolment memory enrolment,
        bytes memory signature
    ) internal {
        registry.register{value: stake}(
            node,
            enrolment.transportKey,
            enrolment.certificate,
            enrolment.endpoint,
            enrolment.profile,
            enrolment.deadline,
            signature
        );
    }

    function _update(NodeRegistry registry, address node, Enrolment memory enrolment, bytes memory signature) internal {
        registry.update(
            node,
            enrolment.transportKey,
            enrolment.certificate,
            enrolment.endpoint,
            enrolment.profile,
            enrolment.deadline,
            signature
        );
    }
}
