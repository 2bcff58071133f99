"use strict";
// The cases of a program of the Stateless OpenPGP Interface: it writes to wallets of every kind, and reads and verifies
// what conet sent to them, taken off the wire as the mailbox delivers it.

const assert = require("node:assert/strict");
const { before, test } = require("node:test");
const { takenOffTheWire } = require("./delivery.js");
const { status } = require("./devnet.js");
const { envelope, signer } = require("./envelope.js");
const { Person, postWhenRouted } = require("./person.js");
const { CODE, Sop, signers } = require("./sop.js");
const wire = require("./wire.js");

/** A session key to ML-KEM-768+X25519 takes more (RFC 9980), every other one less. */
const POSTQUANTUM_BYTES = 1_000;

const fingerprintOf = async (person) => (await person.json("wallet", "show")).fingerprint.toLowerCase();

/** Posts messages and returns the texts that their recipient then hears, with how they were verified. */
async function deliver(recipient, messages) {
  for (const message of messages) {
    const answer = await postWhenRouted(status.nodes[0].url, message);
    assert.equal(answer.status, 200, answer.body);
  }
  const heard = (await recipient.listenOnce()).filter((event) => event.text !== undefined || event.file !== undefined);
  return heard.map(({ text, verified }) => ({ text, verified }));
}

/** Lengths of the session key packets at a binary message's head, for whom it is encrypted. */
function sessionKeyBytes(message) {
  const lengths = [];
  for (let rest = message; (rest[0] & 0x3f) === 1; rest = rest.subarray(lengths.at(-1))) {
    assert.equal(rest[0], 0xc1, "a header in the new format");
    if (rest[1] < 192) lengths.push(2 + rest[1]);
    else if (rest[1] < 224) lengths.push(3 + ((rest[1] - 192) << 8) + rest[2] + 192);
    else lengths.push(6 + rest.readUInt32BE(2));
  }
  return lengths;
}

/**
 * Registers the cases of `name`. `refused` says what it ends with where it can't decrypt: what was altered, a v4 packet that
 * was, what is for another key.
 */
function sopCases(name, refused) {
  const sop = new Sop(name);
  let alice;
  let known;

  before(async () => {
    alice = await Person.reachable("alice");
    known = await wire.nodes();
  });

  const stranger = () => sop.generate("Mallory <mallory@example.org>");

  for (const kind of ["v6", "v6-classic", "v4"]) {
    let bob;
    let certificate;
    let key;

    test(`messages_of_${name}_to_a_${kind}_wallet_are_shown_as_unsigned`, async () => {
      bob = await Person.reachable("bob", kind);
      certificate = sop.file(await bob.certificate());
      key = sop.file(await bob.openpgpSecret());
      const mallory = await stranger();
      const alices = sop.file(await alice.openpgpSecret());
      const profiles = (await sop.ok(["list-profiles", "encrypt"])).toString().match(/^[^:\s]+(?=:)/gm);
      assert.deepEqual(profiles, ["rfc4880", "rfc9580"]);
      const [texts, messages] = [[], []];
      for (const profile of profiles) {
        for (const [what, options] of [
          ["armored", []],
          ["binary", ["--no-armor"]],
          ["a text", ["--as=text"]],
          ["signed by a stranger", [`--sign-with=${mallory.key}`]],
          // A certificate that signs is not a wallet that does.
          ["signed by Alice's certificate", [`--sign-with=${alices}`]],
        ]) {
          const text = `${profile}, ${what}: grüße`;
          const message = await sop.ok(["encrypt", `--profile=${profile}`, ...options, certificate], text);
          if (what === "binary") {
            const some = sessionKeyBytes(message).some((bytes) => bytes > POSTQUANTUM_BYTES);
            assert.equal(some, kind === "v6", `session keys of ${sessionKeyBytes(message)} bytes`);
          }
          texts.push(text);
          messages.push(message);
        }
      }
      const heard = await deliver(bob, messages);
      assert.deepEqual(heard, texts.map((text) => ({ text, verified: "unsigned" })));
    });

    test(`altered_message_of_${name}_to_a_${kind}_wallet_is_never_shown`, async () => {
      const message = await sop.ok(["encrypt", "--no-armor", certificate], "pay 5");
      message[message.length - 30] ^= 1;
      assert.deepEqual(await deliver(bob, [message, await sop.ok(["encrypt", certificate], "and on")]), [
        { text: "and on", verified: "unsigned" },
      ]);
    });

    test(`packet_sent_to_a_${kind}_wallet_is_decrypted_and_verified_by_${name}`, async () => {
      const alices = sop.file(await alice.certificate());
      const packet = await takenOffTheWire(known, alice, bob, `to a ${kind} wallet`);
      const opened = await sop.decrypt(packet, key, alices);
      assert.equal(opened.code, 0, opened.stderr.toString());
      assert.deepEqual(opened.signers, [await fingerprintOf(alice)]);
      const message = envelope(opened.stdout);
      assert.equal(message.body.toString(), `to a ${kind} wallet`);
      assert.equal(await signer(message, await fingerprintOf(bob)), alice.address);

      // To who looks for somebody else it is not signed.
      const mallory = await stranger();
      const other = await sop.decrypt(packet, key, mallory.certificate);
      assert.deepEqual([other.code, other.signers], [0, []]);

      const foreign = await sop.decrypt(packet, mallory.key, alices);
      assert.deepEqual([foreign.code, foreign.stdout.length], [refused.foreign, 0]);
      // A v4 packet's cipher has no tag that would be noticed first.
      const altered = kind === "v4" ? refused.alteredV1 : refused.altered;
      const [head] = sessionKeyBytes(packet);
      for (const at of [head + 100, packet.length >> 1, packet.length - 1]) {
        const changed = Buffer.from(packet);
        changed[at] ^= 1;
        const { code, stdout, signers } = await sop.decrypt(changed, key, alices);
        assert.deepEqual([code, stdout.length, signers], [altered, 0, []], `byte ${at} of ${packet.length}`);
      }
      const short = await sop.decrypt(packet.subarray(0, packet.length - 100), key, alices);
      assert.notEqual(short.code, 0);
      assert.deepEqual([short.stdout.length, short.signers], [0, []]);
    });

    test(`secret_key_of_a_${kind}_wallet_signs_and_opens_in_${name}`, async () => {
      const own = await fingerprintOf(bob);
      const signature = sop.file(await sop.ok(["sign", key], "a statement"));
      const verified = await sop.ok(["verify", signature, certificate], "a statement");
      assert.deepEqual(signers(verified.toString()), [own]);
      const changed = await sop.run(["verify", signature, certificate], "another statement");
      assert.equal(changed.code, CODE.noSignature);

      const sealed = await sop.ok(["encrypt", `--sign-with=${key}`, certificate], "there and back");
      const opened = await sop.decrypt(sealed, key, certificate);
      assert.deepEqual([opened.code, opened.stdout.toString(), opened.signers], [0, "there and back", [own]]);
    });
  }
}

module.exports = { sopCases };
