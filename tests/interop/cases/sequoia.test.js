"use strict";
// Sequoia, which knows ML-KEM, with wallets of every kind: it writes to them, and reads what conet sent to them, taken
// off the wire as the mailbox delivers it. gpg reads what v4 wallets send each other.

const assert = require("node:assert/strict");
const fs = require("node:fs");
const path = require("node:path");
const { before, test } = require("node:test");
const { takenOffTheWire } = require("../delivery.js");
const { folder, status, succeed } = require("../devnet.js");
const { envelope, signer } = require("../envelope.js");
const { Gpg } = require("../gpg.js");
const { Person, postWhenRouted } = require("../person.js");
const wire = require("../wire.js");

const place = folder("sequoia");
let alice;
let known;

before(async () => {
  alice = await Person.reachable("alice");
  known = await wire.nodes();
});

function sequoia(args, input) {
  const program = path.join(__dirname, "..", "sequoia.py");
  return succeed(process.env.CONET_INTEROP_PYTHON, ["-W", "ignore", program, ...args], { input });
}

/** A file with this text. */
function file(name, text) {
  const where = path.join(place, name);
  fs.writeFileSync(where, text);
  return where;
}

for (const kind of ["v6", "v6-classic", "v4"]) {
  let bob;
  let certificate;
  let secret;

  test(`message_of_sequoia_to_a_${kind}_wallet_is_shown_as_unsigned`, async () => {
    bob = await Person.reachable("bob", kind);
    certificate = file(`${kind}.certificate`, await bob.certificate());
    secret = file(`${kind}.secret`, await bob.openpgpSecret());
    const signers = file("alice.secret", await alice.openpgpSecret());
    for (const [text, more] of [["hello from Sequoia", []], ["signed by Sequoia", [signers]]]) {
      const message = await sequoia(["encrypt", certificate, ...more], text);
      const answer = await postWhenRouted(status.nodes[0].url, message);
      assert.equal(answer.status, 200, answer.body);
    }
    const heard = await bob.listenOnce();
    const texts = heard.filter((event) => event.text !== undefined);
    assert.deepEqual(texts.map((event) => event.text), ["hello from Sequoia", "signed by Sequoia"]);
    assert.equal(texts[0].verified, "unsigned");
    // A certificate that signs is not a wallet that does.
    assert.notEqual(texts[1].verified, "wallet");
  });

  test(`packet_sent_to_a_${kind}_wallet_is_decrypted_and_verified_by_sequoia`, async () => {
    const packet = await takenOffTheWire(known, alice, bob, `to a ${kind} wallet`);
    const senders = file("alice.certificate", await alice.certificate());
    const { bytes, signers } = JSON.parse(await sequoia(["decrypt", secret, senders], packet));
    const { fingerprint } = await alice.json("wallet", "show");
    assert.deepEqual(signers, [fingerprint.toLowerCase()]);
    const message = envelope(Buffer.from(bytes, "hex"));
    assert.equal(message.body.toString(), `to a ${kind} wallet`);
    const { fingerprint: recipient } = await bob.json("wallet", "show");
    assert.equal(await signer(message, recipient.toLowerCase()), alice.address);
    // One session key, and a post-quantum one where the wallet can.
    const sessionKeyBytes = packet.readUInt32BE(2);
    assert.equal(sessionKeyBytes > 1_000, kind === "v6", `${sessionKeyBytes} bytes of session key`);
  });
}

test("packet_between_v4_wallets_is_decrypted_and_verified_by_gpg", async () => {
  const carol = await Person.reachable("carol", "v4");
  const dave = await Person.reachable("dave", "v4");
  const packet = await takenOffTheWire(known, carol, dave, "for gpg to read");
  const gpg = new Gpg();
  try {
    await gpg.ok(["--import"], await carol.certificate());
    await gpg.ok(["--import"], await dave.openpgpSecret());
    const { stdout, stderr } = await gpg.run(["--status-fd", "2", "--decrypt"], packet);
    for (const expected of ["DECRYPTION_OKAY", "GOODMDC", "GOODSIG", "VALIDSIG"]) {
      assert.match(stderr.toString(), new RegExp(expected));
    }
    const message = envelope(stdout);
    assert.equal(message.body.toString(), "for gpg to read");
    const { fingerprint } = await dave.json("wallet", "show");
    assert.equal(await signer(message, fingerprint.toLowerCase()), carol.address);
  } finally {
    gpg.close();
  }
});
