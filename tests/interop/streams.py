"""Streams as docs/wire-format.md 11 describes them, written from that page: keys, commands, frames.

    python3 streams.py > crates/protocol/tests/vectors/stream.json      makes the vectors anew
"""

import hashlib
import hmac
import json

from Crypto.Cipher import AES, ChaCha20_Poly1305
from Crypto.Protocol.DH import import_x25519_private_key, import_x25519_public_key, key_agreement

AES_256_GCM, CHACHA20_POLY1305 = 0, 1
LAST, RESET, ASKS, OPENED = 1, 2, 8, 16
MIXED = 1 << 63
REKEY_FRAMES = 1 << 16
WINDOW = 1 << 20

# What ties the commands of the vectors to a node, a time and an answer.
NODE, TIME, NONCE, ANSWER_KEY = b"\x11" * 20, 1_800_000_000_000, b"\x22" * 16, b"\x33" * 32


def derive(secret, info):
    """HKDF-SHA-256 with the salt of the protocol, one block."""
    extracted = hmac.digest(b"conet/1", secret, "sha256")
    return hmac.digest(extracted, info + b"\x01", "sha256")


def public(private):
    return import_x25519_private_key(private).public_key().export_key(format="raw")


def agree(private, share):
    kdf = lambda shared: shared
    return key_agreement(eph_priv=import_x25519_private_key(private), eph_pub=import_x25519_public_key(share), kdf=kdf)


def cbor(value):
    """The deterministic CBOR of unsigned integers, byte strings, texts and arrays."""
    kind, count, rest = {
        int: lambda: (0, value, b""),
        bytes: lambda: (2, len(value), value),
        str: lambda: (3, len(value.encode()), value.encode()),
        list: lambda: (4, len(value), b"".join(map(cbor, value))),
    }[type(value)]()
    for size, mark in ((1, 24), (2, 25), (4, 26), (8, 27)):
        if count < 24:
            return bytes([kind << 5 | count]) + rest
        if count < 1 << 8 * size:
            return bytes([kind << 5 | mark]) + count.to_bytes(size, "big") + rest
    raise ValueError("the number is too large")


def seal(cipher, key, counter, associated, clear):
    nonce = bytes(4) + counter.to_bytes(8, "big")
    if cipher == AES_256_GCM:
        sealer = AES.new(key, AES.MODE_GCM, nonce=nonce)
    else:
        sealer = ChaCha20_Poly1305.new(key=key, nonce=nonce)
    sealer.update(associated)
    sealed, tag = sealer.encrypt_and_digest(clear)
    return sealed + tag


class Circuit:
    """The keys of one circuit."""

    def __init__(self, secret, opener_private, accepter_private, ciphers, former=b""):
        self.secret, self.opener_private, self.accepter_private = secret, opener_private, accepter_private
        self.shares = public(opener_private), public(accepter_private)
        self.early = derive(secret, b"stream/secret" + former)
        self.shared = agree(opener_private, self.shares[1])
        self.mixed = derive(self.early + self.shared, b"stream/mixed")
        self.resume_secret = derive(self.mixed, b"stream/resume")
        self.first_cipher = ciphers[0]
        self.cipher = AES_256_GCM if ciphers == (AES_256_GCM, AES_256_GCM) else CHACHA20_POLY1305

    def key(self, sender, mixed, generation=0):
        info = f"stream/{sender}" if mixed else "stream/early/opener"
        key = derive(self.mixed if mixed else self.early, info.encode())
        for _ in range(generation):
            key = derive(key, b"stream/rekey")
        return key

    def frame(self, sender, mixed, counter, flags=0, reset=0, padding=b"", unused=bytes(4), offset=0, received=0, data=b""):
        """One frame, with all that it is made of."""
        note = bytes([flags, reset]) + len(padding).to_bytes(2, "big") + unused
        note += b"".join(number.to_bytes(8, "big") for number in (offset, received, WINDOW))
        is_first_word = sender == "accepter" and counter == 0
        hello = self.shares[1] + bytes([self.cipher]) + bytes(7) if is_first_word else b""
        clear = note + data + padding
        head = (counter | (MIXED if mixed else 0)).to_bytes(8, "big") + hello
        key = self.key(sender, mixed, counter // REKEY_FRAMES)
        sealed = head + seal(self.cipher if mixed else self.first_cipher, key, counter, head, clear)
        return {
            "from": sender, "mixed": mixed, "counter": counter, "flags": flags, "offset": offset, "received": received,
            "data": data.hex(), "clear": clear.hex(), "sealed": sealed.hex(),
        }

    def vector(self, open_cipher, purpose, frames):
        fields = [open_cipher, self.secret, self.shares[0], purpose]
        command = cbor([1, NODE, TIME, NONCE, ANSWER_KEY, 3, fields])
        keys = {
            f"{'mixed' if mixed else 'early'} {sender}": [self.key(sender, mixed, n).hex() for n in range(3)]
            for mixed, sender in ((False, "opener"), (True, "opener"), (True, "accepter"))
        }
        return {
            "secret": self.secret.hex(),
            "openerPrivate": self.opener_private.hex(), "openerShare": self.shares[0].hex(),
            "accepterPrivate": self.accepter_private.hex(), "accepterShare": self.shares[1].hex(),
            "command": command.hex(), "early": self.early.hex(), "shared": self.shared.hex(),
            "mixed": self.mixed.hex(), "resumeSecret": self.resume_secret.hex(), "keys": keys, "frames": frames,
        }


def stream_id(secret):
    return derive(secret, b"stream/id")[:16]


def proof(former, secret, stream, received):
    """By what right a stream is resumed."""
    text = b"stream/resume" + secret + stream + received.to_bytes(8, "big")
    return hmac.digest(former, text, "sha256")[:16]


def fixed(label):
    return hashlib.sha256(f"stream vectors: {label}".encode()).digest()


def connection():
    """A connection that loses its circuit, and what was acknowledged on it, and is resumed."""
    ciphers = (AES_256_GCM, AES_256_GCM)
    secret = fixed("secret 1")
    stream = stream_id(secret)
    request, answer, rest = b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n", b"rest"
    asked, answered = len(request), len(answer)
    one = Circuit(secret, fixed("opener 1"), fixed("accepter 1"), ciphers)
    first = one.vector(ciphers[0], [0, "example.org:443"], [
        one.frame("opener", False, 0, data=request),
        one.frame("accepter", True, 0, OPENED, received=asked, data=answer),
        one.frame("opener", True, 1, LAST, offset=asked, received=answered),
        one.frame("accepter", True, 1, OPENED, received=asked + 1),
    ])
    secret = fixed("secret 2")
    two = Circuit(secret, fixed("opener 2"), fixed("accepter 2"), ciphers, one.resume_secret)
    right = proof(one.resume_secret, secret, stream, answered)
    all_of_it = answered + len(rest) + 1
    second = two.vector(ciphers[0], [2, stream, answered, right], [
        two.frame("opener", False, 0, LAST, offset=asked, received=answered),
        two.frame("accepter", True, 0, OPENED | LAST, offset=answered, received=asked + 1, data=rest),
        two.frame("opener", True, 1, received=all_of_it),
    ])
    return {"name": "a connection, resumed", "ciphers": ciphers, "id": stream.hex(), "circuits": [first, second]}


def datagrams():
    """The accepter has no AES in hardware, speaks first, and gives up."""
    ciphers = (AES_256_GCM, CHACHA20_POLY1305)
    secret = fixed("secret 3")
    circuit = Circuit(secret, fixed("opener 3"), fixed("accepter 3"), ciphers)
    vector = circuit.vector(ciphers[0], [1], [
        circuit.frame("accepter", True, 0),
        circuit.frame("opener", True, 0, data=b"ping"),
        circuit.frame("accepter", True, 1, RESET, reset=5, received=4),
    ])
    return {"name": "two ciphers, and a reset", "ciphers": ciphers, "id": stream_id(secret).hex(), "circuits": [vector]}


def idle():
    """Signs of life, padding, and what a later version may add."""
    ciphers = (CHACHA20_POLY1305, CHACHA20_POLY1305)
    secret = fixed("secret 4")
    circuit = Circuit(secret, fixed("opener 4"), fixed("accepter 4"), ciphers)
    vector = circuit.vector(ciphers[0], [0, "[2001:db8::1]:80"], [
        circuit.frame("opener", False, 0, data=b"x"),
        circuit.frame("accepter", True, 0, received=1),
        circuit.frame("opener", True, 1, ASKS),
        circuit.frame("accepter", True, 1, received=1),
        circuit.frame("accepter", True, 2, 32, padding=bytes(5), unused=b"next", received=1, data=b"padded"),
    ])
    return {"name": "signs of life", "ciphers": ciphers, "id": stream_id(secret).hex(), "circuits": [vector]}


def vectors():
    ties = {"node": NODE.hex(), "time": TIME, "nonce": NONCE.hex(), "answerKey": ANSWER_KEY.hex()}
    return {"ties": ties, "streams": [connection(), datagrams(), idle()]}


if __name__ == "__main__":
    print(json.dumps(vectors(), indent=1))
