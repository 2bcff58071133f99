"""Sequoia at the command line, for cases that are not in Python.

    sequoia.py encrypt CERTIFICATE [SIGNER]    stdin to stdout; SIGNER is a file with a secret key
    sequoia.py decrypt SECRET SIGNERS          stdin to JSON: {"bytes": hex, "signers": [fingerprint]}

SIGNERS is a file with the certificate that signatures are checked with.
"""

import json
import sys

from pysequoia import Cert, Tsk, decrypt, encrypt
from pysequoia.packet import PacketPile, Tag


def keys(path):
    """The secret key once for each of its subkeys, with that one alone: Sequoia's binding tries the first only."""
    head, subkeys = [], []
    for packet in PacketPile.from_file(path):
        if packet.tag == Tag.SecretSubkey:
            subkeys.append([])
        (subkeys[-1] if subkeys else head).append(packet)
    return [Tsk.from_packets(head + subkey) for subkey in subkeys]


def decrypt_with_any(message, path, store):
    failure = None
    for key in keys(path):
        try:
            return decrypt(message, decryptor=key.decryptor(), store=store)
        except RuntimeError as error:
            failure = error
    raise failure


def main(verb, key, other=None):
    message = sys.stdin.buffer.read()
    if verb == "encrypt":
        signer = Tsk.from_file(other).signer() if other else None
        sys.stdout.buffer.write(encrypt(message, recipients=[Cert.from_file(key)], signer=signer, armor=False))
    else:
        opened = decrypt_with_any(message, key, lambda _: [Cert.from_file(other)])
        signers = [signature.certificate for signature in opened.valid_sigs]
        print(json.dumps({"bytes": bytes(opened.bytes).hex(), "signers": signers}))


if __name__ == "__main__":
    main(*sys.argv[1:])
