"use strict";
// A client of CONET's wire made from nothing but docs/wire-format.md and strangers' libraries: OpenPGP.js seals the
// layers, `cbor` writes the commands, Node's crypto signs and unseals, curl carries it to a node's plain intake.

const assert = require("node:assert/strict");
const crypto = require("node:crypto");
const fs = require("node:fs");
const path = require("node:path");
const openpgp = require("openpgp");
const viem = require("viem");
const { artifact, folder, status, succeed } = require("./devnet.js");
const { decode, encode } = require("./envelope.js");

/** Sections 3.2 and 4: a layer with nothing inside is this long in class 0, in class 1. */
const LAYER_BYTES = [4_096 - 1_536, 16_384 - 1_536];
/** What a layer is longer than its inner packet. */
const LAYER_ROOM_BYTES = 512;
/** Status of an answer (4.2). */
const STATUS = { acknowledged: 0, sealed: 1, record: 2, done: 3, challenge: 4, stale: 19, replayed: 20, denied: 26 };
/** Kind of an item (4.5). */
const ITEM = { packet: 0, caughtUp: 1, beat: 2, closed: 3 };

const ED25519_PKCS8 = Buffer.from("302e020100300506032b657004220420", "hex");
const ED25519_SPKI = Buffer.from("302a300506032b6570032100", "hex");

const unhex = (text) => Buffer.from(text.replace(/^0x/, ""), "hex");
const sha256 = (bytes) => crypto.createHash("sha256").update(bytes).digest();
const u64 = (value) => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(value));
  return bytes;
};

/** The nodes of the ledger: `{ id, certificate, url }` by address in lower case; `url` is the plain intake. */
async function nodes() {
  const reader = viem.createPublicClient({ transport: viem.http(status.chain.rpc) });
  const logs = await reader.getContractEvents({
    address: status.chain.contracts.NodeRegistry,
    abi: artifact("NodeRegistry").abi,
    eventName: "NodeRegistered",
    fromBlock: 0n,
  });
  const found = new Map();
  for (const { args } of logs) {
    const certificate = await openpgp.readKey({ binaryKey: unhex(args.certificate) });
    const { url } = status.nodes.find(({ id }) => id.toLowerCase() === args.node.toLowerCase());
    found.set(args.node.toLowerCase(), { id: unhex(args.node), certificate, url });
  }
  return found;
}

/** Whose raw signatures (section 2) a certificate's primary key makes or verifies. */
const rawSigner = (secret) =>
  crypto.createPrivateKey({
    key: Buffer.concat([ED25519_PKCS8, secret.keyPacket.privateParams.seed]),
    format: "der",
    type: "pkcs8",
  });
const rawVerifier = (certificate) =>
  crypto.createPublicKey({
    key: Buffer.concat([ED25519_SPKI, certificate.keyPacket.publicParams.A]),
    format: "der",
    type: "spki",
  });

/** A header of RFC 9580, 4.2.1 with a length of five bytes, and the body. */
function openpgpPacket(tag, body) {
  const head = Buffer.alloc(6);
  head[0] = 0xc0 | tag;
  head[1] = 0xff;
  head.writeUInt32BE(body.length, 2);
  return Buffer.concat([head, body]);
}

/** Seals a command to a node; the layer is exactly `length` bytes long. */
async function sealLayer(node, command, length) {
  const literal = openpgpPacket(11, Buffer.concat([Buffer.from("b"), Buffer.alloc(5), command]));
  const seal = (padding) => {
    const cleartext = Buffer.concat([literal, openpgpPacket(21, crypto.randomBytes(padding))]);
    return openpgp.encrypt({
      message: new openpgp.Message({ write: () => new Uint8Array(cleartext) }),
      encryptionKeys: node.certificate,
      format: "binary",
    });
  };
  // The lengths of the outer packets take more bytes as they grow.
  let [padding, layer] = [0, await seal(0)];
  for (let round = 0; layer.length !== length && round < 4; round += 1) {
    padding += length - layer.length;
    assert.ok(padding >= 0, `the command is ${-padding} bytes too long`);
    layer = await seal(padding);
  }
  assert.equal(layer.length, length);
  return Buffer.from(layer);
}

/** Opens AES-256-GCM with a counter for a nonce. */
function decrypted(key, counter, sealed) {
  const nonce = Buffer.alloc(12);
  nonce.writeBigUInt64BE(BigInt(counter), 4);
  const cipher = crypto.createDecipheriv("aes-256-gcm", key, nonce);
  cipher.setAuthTag(sealed.subarray(-16));
  return Buffer.concat([cipher.update(sealed.subarray(0, -16)), cipher.final()]);
}

/** Takes the text out of length, text and zeros. */
function unpadded(clear) {
  const end = 4 + clear.readUInt32BE(0);
  assert.ok(clear.subarray(end).every((byte) => byte === 0), "the filling is not zeros");
  return clear.subarray(4, end);
}

/** What an answer of kind Sealed holds, which is as long as a size class less its room. */
function sealedOf(bytes) {
  const [kind, sealed] = decode(bytes);
  assert.equal(kind, STATUS.sealed, `status ${kind}`);
  const lengths = [4_096, 16_384, 65_536].flatMap((frame) => [frame - 512, frame - 1_024]);
  assert.ok(lengths.includes(sealed.length), `${sealed.length} bytes`);
  return sealed;
}

/** A command's common part (4.1), and what its answer needs. */
class Ties {
  constructor(node, timeMs = Date.now()) {
    this.node = node.id;
    this.timeMs = timeMs;
    this.nonce = crypto.randomBytes(16);
    this.answerKey = crypto.randomBytes(32);
  }

  command(kind, fields) {
    return encode([1, this.node, this.timeMs, this.nonce, this.answerKey, kind, fields]);
  }

  forward(next, inner) {
    return this.command(0, [next, null, inner]);
  }

  lookUp(wallet) {
    return this.command(1, [unhex(wallet)]);
  }

  owner(secret, request) {
    const bytes = encode(request);
    const parts = [Buffer.from("conet/owner/1\0"), this.node, u64(this.timeMs), this.nonce, sha256(this.answerKey), sha256(bytes)];
    const message = Buffer.concat(parts);
    assert.equal(message.length, 122);
    const signature = crypto.sign(null, message, rawSigner(secret));
    return this.command(2, [unhex(secret.getFingerprint()), bytes, signature]);
  }

  /** A key that derives from the answer key (4.4). */
  derive(...info) {
    return Buffer.from(crypto.hkdfSync("sha256", this.answerKey, "conet/1", Buffer.concat(info.map((part) => Buffer.from(part))), 32));
  }

  /** Opens what was sealed to the answer key; `counter` numbers the items of a stream. */
  unseal(sealed, counter = 0) {
    return unpadded(decrypted(this.derive("answer"), counter, sealed));
  }

  /** Opens what refuses a command that was not accepted: its key is named by the salt at its end. */
  unsealRefusal(sealed) {
    const [within, salt] = [sealed.subarray(0, -16), sealed.subarray(-16)];
    const clear = decrypted(this.derive("refusal/key", salt), 0, within);
    const expected = crypto.createHmac("sha256", this.derive("refusal/salt")).update(clear).digest();
    assert.deepEqual(salt, expected.subarray(0, 16));
    return unpadded(clear);
  }

  /** Opens an answer of kind Sealed and reads what is inside. */
  answer(bytes) {
    return decode(this.unseal(sealedOf(bytes)));
  }

  /** The same of a command that was not accepted. */
  refusal(bytes) {
    return decode(this.unsealRefusal(sealedOf(bytes)));
  }
}

/** Posts a layer with curl and returns the bytes of the answer. */
async function exchange(url, layer) {
  const place = folder("layer");
  const [body, answer] = [path.join(place, "body"), path.join(place, "answer")];
  fs.writeFileSync(body, layer);
  const printed = await succeed("curl", [
    ...["-sS", "--max-time", "30", "-o", answer, "-w", "%{http_code} %{content_type}"],
    ...["--data-binary", `@${body}`, url],
  ]);
  const bytes = fs.readFileSync(answer);
  assert.equal(printed.toString(), "200 application/octet-stream", bytes.toString());
  return bytes;
}

module.exports = { ITEM, LAYER_BYTES, LAYER_ROOM_BYTES, STATUS, Ties, exchange, nodes, rawVerifier, sealLayer, sha256, u64, unhex };
