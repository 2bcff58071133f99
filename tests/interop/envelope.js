"use strict";
// Reads what docs/wire-format.md, 3.4 and 3.5, puts into a packet, with a stranger's CBOR and a stranger's EIP-712.

const assert = require("node:assert/strict");
const { createHash } = require("node:crypto");
const cbor = require("cbor");
const viem = require("viem");

const MESSAGE = [
  ["sender", "bytes"],
  ["recipient", "bytes"],
  ["id", "bytes16"],
  ["time", "uint64"],
  ["contentType", "string"],
  ["session", "bytes8"],
  ["sequence", "uint64"],
  ["body", "bytes32"],
].map(([name, type]) => ({ name, type }));

const address = (bytes) => viem.getAddress(viem.toHex(bytes));
const lower = (bytes) => Buffer.from(bytes).toString("hex");

/** Decodes CBOR: exactly one item, in deterministic form. */
function decode(bytes) {
  const item = cbor.decodeFirstSync(bytes, { preventDuplicateKeys: true });
  assert.deepEqual(encode(item), Buffer.from(bytes));
  return item;
}

/** Writes CBOR in deterministic form. */
const encode = (item) => cbor.encodeCanonical(item);

/** Reads an envelope; checks nothing that is signed. */
function envelope(bytes) {
  const fields = decode(bytes);
  const [version, id, time, contentType, session, sequence, reply, sender, body] = fields;
  assert.equal(version, 1);
  return {
    id,
    time,
    contentType,
    session,
    sequence,
    reply: reply && { fingerprint: lower(reply[0]), mailboxes: reply[1].map(address) },
    sender: sender && { binding: binding(sender[0]), primary: sender[1], signature: viem.toHex(sender[2]) },
    body: Buffer.from(body),
  };
}

/** Reads a binding, given as CBOR or as what was decoded already. */
function binding(given) {
  const [wallet, fingerprint, sequence, subkeys, mailboxes, signature] = Array.isArray(given) ? given : decode(given);
  return {
    wallet: address(wallet),
    fingerprint: lower(fingerprint),
    sequence: BigInt(sequence),
    subkeys: subkeys.map(lower),
    mailboxes: mailboxes.map(address),
    signature: viem.toHex(signature),
  };
}

/** The text that a wallet signs to be bound to a certificate (section 2). */
function bindingText({ wallet, fingerprint, sequence, subkeys, mailboxes }) {
  return [
    "CONET certificate v1",
    `wallet: ${wallet}`,
    `fingerprint: ${fingerprint}`,
    `sequence: ${sequence}`,
    `subkeys: ${subkeys.join(",")}`,
    `mailboxes: ${mailboxes.join(",")}`,
  ].join("\n");
}

/** The wallet that signed the message for `recipient` (a fingerprint in hex), `null` if its own signatures differ. */
async function signer(message, recipient) {
  const { binding: bound, signature } = message.sender;
  const binder = await viem.recoverMessageAddress({ message: bindingText(bound), signature: bound.signature });
  const wallet = await viem.recoverTypedDataAddress({
    domain: { name: "CONET", version: "1" },
    types: { Message: MESSAGE },
    primaryType: "Message",
    message: {
      sender: `0x${bound.fingerprint}`,
      recipient: `0x${recipient}`,
      id: viem.toHex(message.id),
      time: BigInt(message.time),
      contentType: message.contentType,
      session: viem.toHex(message.session),
      sequence: BigInt(message.sequence),
      body: `0x${createHash("sha256").update(message.body).digest("hex")}`,
    },
    signature,
  });
  return binder === bound.wallet && wallet === bound.wallet ? wallet : null;
}

/** Fingerprint in lower hex of a public key packet's body (RFC 9580, 5.5.4). */
function fingerprint(body) {
  const length = Buffer.alloc(body[0] === 4 ? 2 : 4);
  length.writeUIntBE(body.length, 0, length.length);
  const [mark, hash] = body[0] === 4 ? [0x99, "sha1"] : [0x9b, "sha256"];
  return createHash(hash).update(Buffer.from([mark])).update(length).update(body).digest("hex");
}

module.exports = { binding, bindingText, decode, encode, envelope, fingerprint, signer };
