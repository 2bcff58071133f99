"""eth-account verifies what our wallets sign, and signs what our contracts take."""

import json
import os
import pathlib
import secrets
import time
import unittest
import urllib.request

from eth_abi import decode, encode
from eth_account import Account
from eth_account.messages import _hash_eip191_message, encode_defunct, encode_typed_data
from eth_utils import keccak, to_checksum_address

TOP = pathlib.Path(os.environ["CONET_INTEROP_TOP"])
WORK = pathlib.Path(os.environ["CONET_INTEROP_WORK"])
STATUS = json.loads((WORK / "status.json").read_text())

DEV_MNEMONIC = "test test test test test test test test test test test junk"
# No other case pays with it.
PAYER = "m/44'/60'/0'/0/7"
RPC_TIMEOUT_S = 20
RECEIPT_TIMEOUT_S = 30

ROUTE_FIELDS = [
    {"name": "wallet", "type": "address"},
    {"name": "fingerprint", "type": "bytes"},
    {"name": "keyIds", "type": "bytes8[]"},
    {"name": "mailboxes", "type": "address[]"},
    {"name": "sequence", "type": "uint64"},
    {"name": "expiry", "type": "uint64"},
]
ROUTE_TUPLE = "(address,bytes,bytes8[],address[],uint64,uint64)"


def vectors(*path):
    return json.loads(TOP.joinpath(*path).read_text())


def unhex(text):
    return bytes.fromhex(text.removeprefix("0x"))


def route_message(chain_id, registry, route):
    """The EIP-712 message of a route, given as JSON of the vectors or as values."""
    binary = lambda value: unhex(value) if isinstance(value, str) else value
    domain = {"name": "CONET RouteRegistry", "version": "1", "chainId": chain_id, "verifyingContract": registry}
    message = {
        "wallet": route["wallet"],
        "fingerprint": binary(route["fingerprint"]),
        "keyIds": [binary(key) for key in route["keyIds"]],
        "mailboxes": list(route["mailboxes"]),
        "sequence": int(route["sequence"]),
        "expiry": int(route["expiry"]),
    }
    return encode_typed_data(domain_data=domain, message_types={"Route": ROUTE_FIELDS}, message_data=message)


def rpc(method, *params):
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
    request = urllib.request.Request(STATUS["chain"]["rpc"], body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=RPC_TIMEOUT_S) as response:
        answer = json.load(response)
    if "error" in answer:
        raise RuntimeError(f"{method}: {answer['error']}")
    return answer["result"]


class EthAccount(unittest.TestCase):
    def test_binding_of_a_certificate_recovers_to_its_wallet(self):
        bindings = vectors("crates", "wallet", "tests", "vectors", "bindings.json")
        self.assertGreaterEqual(len(bindings), 3)
        for vector in bindings:
            message = encode_defunct(text=vector["text"])
            signed = Account.recover_message(message, signature=vector["signature"])
            self.assertEqual(signed, vector["wallet"])
            # Both sign deterministically (RFC 6979), so that even the bytes agree.
            again = Account.sign_message(message, vector["secret"])
            self.assertEqual(again.signature, unhex(vector["signature"]))

    def test_digest_of_a_route_is_that_of_the_vectors(self):
        registry = vectors("contracts", "test", "vectors", "registry.json")
        for route in registry["routes"]:
            message = route_message(registry["chainId"], registry["routeRegistry"], route)
            self.assertEqual(_hash_eip191_message(message), unhex(route["digest"]))

    def test_route_that_conet_registered_was_signed_by_its_wallet(self):
        registry = STATUS["chain"]["contracts"]["RouteRegistry"]
        topic = keccak(text="RouteSet(address,bytes,bytes8[],address[],uint64,uint64)")
        # alice and bob have had routes since the devnet came up.
        logs = rpc("eth_getLogs", {"address": registry, "fromBlock": "0x0", "topics": ["0x" + topic.hex()]})
        selector = keccak(text=f"setRouteBySig({ROUTE_TUPLE},bytes)")[:4]
        verified = 0
        for log in logs:
            data = unhex(rpc("eth_getTransactionByHash", log["transactionHash"])["input"])
            if data[:4] != selector:
                continue
            values, signature = decode([ROUTE_TUPLE, "bytes"], data[4:])
            route = dict(zip([field["name"] for field in ROUTE_FIELDS], values))
            message = route_message(STATUS["chain"]["chainId"], registry, route)
            wallet = to_checksum_address("0x" + log["topics"][1][-40:])
            if to_checksum_address(route["wallet"]) == wallet:
                self.assertEqual(Account.recover_message(message, signature=signature), wallet)
                verified += 1
        self.assertGreaterEqual(verified, 2, f"{len(logs)} routes, none by signature")

    def test_route_that_eth_account_signed_is_taken_by_the_registry(self):
        chain_id, registry = STATUS["chain"]["chainId"], STATUS["chain"]["contracts"]["RouteRegistry"]
        wallet = Account.create()
        route = {
            "wallet": wallet.address,
            "fingerprint": secrets.token_bytes(32),
            "keyIds": [secrets.token_bytes(8), secrets.token_bytes(8)],
            "mailboxes": [Account.create().address],
            "sequence": 1,
            "expiry": 4_000_000_000,
        }
        signature = wallet.sign_message(route_message(chain_id, registry, route)).signature
        selector = keccak(text=f"setRouteBySig({ROUTE_TUPLE},bytes)")[:4]
        data = selector + encode([ROUTE_TUPLE, "bytes"], [tuple(route.values()), signature])

        Account.enable_unaudited_hdwallet_features()
        payer = Account.from_mnemonic(DEV_MNEMONIC, account_path=PAYER)
        price = int(rpc("eth_gasPrice"), 16)
        signed = payer.sign_transaction(
            {
                "chainId": chain_id,
                "nonce": int(rpc("eth_getTransactionCount", payer.address, "pending"), 16),
                "to": registry,
                "data": data,
                "gas": int(rpc("eth_estimateGas", {"from": payer.address, "to": registry, "data": "0x" + data.hex()}), 16),
                "maxFeePerGas": price * 2,
                "maxPriorityFeePerGas": int(rpc("eth_maxPriorityFeePerGas"), 16),
            }
        )
        sent = rpc("eth_sendRawTransaction", "0x" + signed.raw_transaction.hex())
        self.assertEqual(unhex(sent), bytes(signed.hash))
        deadline = time.monotonic() + RECEIPT_TIMEOUT_S
        while (receipt := rpc("eth_getTransactionReceipt", sent)) is None:
            self.assertLess(time.monotonic(), deadline, "no receipt")
            time.sleep(0.1)
        self.assertEqual(receipt["status"], "0x1")
        asked = keccak(text="routeOf(address)")[:4] + encode(["address"], [wallet.address])
        (stored,) = decode([ROUTE_TUPLE], unhex(rpc("eth_call", {"to": registry, "data": "0x" + asked.hex()}, "latest")))
        self.assertEqual(stored[1], route["fingerprint"])
        self.assertEqual(list(stored[2]), route["keyIds"])

    def test_keystores_of_the_demo_wallets_open(self):
        for label in ["alice", "bob"]:
            wallet = json.loads((WORK / "home" / "wallets" / f"{label}.json").read_text())
            secret = Account.decrypt(wallet["keystore"], "")
            self.assertEqual(Account.from_key(secret).address, wallet["address"])
            with self.assertRaises(ValueError):
                Account.decrypt(wallet["keystore"], "wrong")
