"use strict";
// What a whole client needs, from the written wire format, curl and strangers' libraries alone: look up a certificate,
// send through a relay and check the mailbox's acknowledgement, read a delivery as Server-Sent Events, acknowledge it.

const assert = require("node:assert/strict");
const crypto = require("node:crypto");
const { before, test } = require("node:test");
const openpgp = require("openpgp");
const viem = require("viem");
const { WINDOW_BYTES, collect, collectAll } = require("../delivery.js");
const { eventually, status } = require("../devnet.js");
const { binding, bindingText, decode, encode, envelope, fingerprint, signer } = require("../envelope.js");
const { Person } = require("../person.js");
const wire = require("../wire.js");

const { ITEM, LAYER_BYTES, LAYER_ROOM_BYTES, STATUS, Ties } = wire;

let known;
let alice;
let bob;
let bobSecret;
let mailbox;

before(async () => {
  known = await wire.nodes();
  assert.equal(known.size, status.nodes.length);
  alice = await Person.reachable("alice");
  bob = await Person.reachable("bob", "v6-classic");
  bobSecret = await openpgp.readPrivateKey({ armoredKey: await bob.openpgpSecret() });
  const { mailboxes } = await bob.json("route", "show");
  mailbox = known.get(mailboxes[0].toLowerCase());
});

/** Decrypts with OpenPGP.js and checks every signature there is; returns the message and its wallet. */
async function read(packet, senderCertificate) {
  const { data, signatures } = await openpgp.decrypt({
    message: await openpgp.readMessage({ binaryMessage: packet }),
    decryptionKeys: bobSecret,
    verificationKeys: senderCertificate,
    expectSigned: true,
    format: "binary",
  });
  assert.equal(await signatures[0].verified, true);
  const message = envelope(data);
  assert.equal(message.sender.binding.fingerprint, senderCertificate.getFingerprint());
  assert.equal(fingerprint(message.sender.primary), senderCertificate.getFingerprint());
  // The signature names whom it is for (Intended Recipient Fingerprint, type 35).
  const [signature] = (await signatures[0].signature).packets;
  const intended = signature.unknownSubpackets.find(({ type }) => type === 35);
  assert.equal(Buffer.from(intended.body.subarray(1)).toString("hex"), bobSecret.getFingerprint());
  return { message, wallet: await signer(message, bobSecret.getFingerprint()) };
}

test("curl_reads_a_delivery_as_server_sent_events", async () => {
  // So that the mailbox knows of his own device.
  assert.deepEqual(await bob.listenOnce(), []);
  const texts = ["first", "second, grüße", "x".repeat(10_000)];
  for (const text of texts) await alice.text("send", bob.address, text);
  const device = crypto.randomBytes(16);
  const { cursor, packets } = await collectAll(mailbox, bobSecret, device);
  assert.equal(packets.length, texts.length);
  const certificate = await openpgp.readKey({ armoredKey: await alice.certificate() });
  for (const [at, { packet, time }] of packets.entries()) {
    const { message, wallet } = await read(packet, certificate);
    assert.equal(wallet, alice.address);
    assert.equal(message.contentType, "text/plain");
    assert.equal(message.body.toString(), texts[at]);
    assert.ok(Math.abs(time - message.time) < 60_000);
    // Exactly a size class less the room for three layers.
    assert.ok([4_096, 16_384].some((frame) => packet.length === frame - 1_536), `${packet.length}`);
  }
  assert.equal(packets.at(-1).cursor, cursor);

  // From a cursor on: what came after it. Unacknowledged, all of it is there still.
  assert.equal((await collectAll(mailbox, bobSecret, device, packets[0].cursor)).packets.length, 2);
  assert.equal((await collectAll(mailbox, bobSecret, device)).packets.length, 3);

  const ties = new Ties(mailbox);
  const acknowledge = ties.owner(bobSecret, [2, device, cursor]);
  const answer = await wire.exchange(mailbox.url, await wire.sealLayer(mailbox, acknowledge, LAYER_BYTES[0]));
  assert.equal(ties.answer(answer)[0], STATUS.done);
  assert.equal((await collectAll(mailbox, bobSecret, device)).packets.length, 0);
  // Acknowledged by one device, it waits for the other.
  const heard = await bob.listenOnce();
  assert.deepEqual(heard.filter((event) => event.text !== undefined).map((event) => event.text), texts);
});

test("curl_that_stays_hears_a_message_as_it_comes", async () => {
  const device = crypto.randomBytes(16);
  const { cursor } = await collectAll(mailbox, bobSecret, device);
  const { stream, items } = await collect(mailbox, bobSecret, device, { after: cursor, stay: true });
  try {
    await eventually("it has caught up", () => items().some((item) => item[0] === ITEM.caughtUp));
    await alice.text("send", bob.address, "while you listen");
    const [, , , packet] = await eventually("the packet comes", () => items().find((item) => item[0] === ITEM.packet));
    const certificate = await openpgp.readKey({ armoredKey: await alice.certificate() });
    assert.equal((await read(packet, certificate)).message.body.toString(), "while you listen");
  } finally {
    await stream.stop();
  }
});

test("collect_with_a_wrong_signature_is_refused", async () => {
  const ties = new Ties(mailbox);
  const [version, node, time, nonce, answerKey, kind, [account, request, signature]] = decode(
    ties.owner(bobSecret, [1, crypto.randomBytes(16), null, WINDOW_BYTES, false]),
  );
  signature[5] ^= 1;
  const forged = encode([version, node, time, nonce, answerKey, kind, [account, request, signature]]);
  const answer = await wire.exchange(mailbox.url, await wire.sealLayer(mailbox, forged, LAYER_BYTES[0]));
  assert.equal(ties.answer(answer)[0], STATUS.denied);
});

test("command_that_comes_twice_is_obeyed_once", async () => {
  const ties = new Ties(mailbox);
  const command = ties.lookUp(bob.address);
  // The same command in a layer of its own each time.
  const ask = async () => wire.exchange(mailbox.url, await wire.sealLayer(mailbox, command, LAYER_BYTES[0]));
  assert.equal(ties.answer(await ask())[0], STATUS.record);
  assert.equal(ties.refusal(await ask())[0], STATUS.replayed);
  assert.equal(ties.refusal(await ask())[0], STATUS.replayed);
});

test("command_for_another_node_or_another_time_is_refused", async () => {
  const other = [...known.values()].find((node) => node !== mailbox);
  const stray = new Ties(other);
  const misled = await wire.sealLayer(mailbox, stray.lookUp(bob.address), LAYER_BYTES[0]);
  assert.equal(stray.refusal(await wire.exchange(mailbox.url, misled))[0], STATUS.denied);

  const late = new Ties(mailbox, Date.now() - 86_400_000);
  const stale = await wire.sealLayer(mailbox, late.lookUp(bob.address), LAYER_BYTES[0]);
  const [kind, payload] = late.refusal(await wire.exchange(mailbox.url, stale));
  assert.equal(kind, STATUS.stale);
  // It says by its signature what time to use.
  const [node, timeMs, signature] = decode(payload);
  assert.deepEqual(node, mailbox.id);
  assert.ok(Math.abs(timeMs - Date.now()) < 180_000);
  const message = Buffer.concat([Buffer.from("conet/time/1\0"), node, wire.u64(timeMs), late.nonce]);
  assert.equal(message.length, 57);
  assert.ok(crypto.verify(null, message, wire.rawVerifier(mailbox.certificate), signature));
  const again = new Ties(mailbox, timeMs);
  const fresh = await wire.sealLayer(mailbox, again.lookUp(bob.address), LAYER_BYTES[0]);
  assert.equal(again.answer(await wire.exchange(mailbox.url, fresh))[0], STATUS.record);
});

test("certificate_is_looked_up_and_checked_through_a_relay", async () => {
  const relay = [...known.values()].find((node) => node !== mailbox);
  const [outer, inner] = [new Ties(relay), new Ties(mailbox)];
  const layer = await wire.sealLayer(mailbox, inner.lookUp(bob.address), LAYER_BYTES[0]);
  const command = outer.forward(mailbox.id, layer);
  const sealed = await wire.sealLayer(relay, command, layer.length + LAYER_ROOM_BYTES);
  const answer = await wire.exchange(relay.url, sealed);
  // The relay's seal around the mailbox's.
  const [kind, within] = outer.answer(answer);
  assert.equal(kind, STATUS.sealed);
  const [found, record] = decode(inner.unseal(within));
  assert.equal(found, STATUS.record);
  const [certificateBytes, bindingItem] = decode(record);
  const certificate = await openpgp.readKey({ binaryKey: certificateBytes });
  const bound = binding(bindingItem);
  assert.equal(bound.wallet, bob.address);
  assert.equal(bound.fingerprint, certificate.getFingerprint());
  assert.deepEqual(bound.subkeys, certificate.subkeys.map((subkey) => subkey.getFingerprint()));
  assert.equal(await viem.recoverMessageAddress({ message: bindingText(bound), signature: bound.signature }), bob.address);
});

test("message_sent_through_a_relay_is_acknowledged_by_the_mailbox", async () => {
  const relay = [...known.values()].find((node) => node !== mailbox);
  const packet = Buffer.from(
    await openpgp.encrypt({
      message: await openpgp.createMessage({ text: "relayed by hand" }),
      encryptionKeys: bobSecret.toPublic(),
      format: "binary",
    }),
  );
  const ties = new Ties(relay);
  const sentMs = Date.now();
  const layer = await wire.sealLayer(relay, ties.forward(mailbox.id, packet), LAYER_BYTES[0]);
  const [kind, payload] = ties.answer(await wire.exchange(relay.url, layer));
  assert.equal(kind, STATUS.acknowledged);
  const [hash, timeMs, node, signature] = decode(payload);
  assert.deepEqual(hash, wire.sha256(packet));
  assert.deepEqual(node, mailbox.id);
  assert.ok(timeMs >= sentMs - 60_000 && timeMs <= Date.now() + 60_000);
  const message = Buffer.concat([Buffer.from("conet/ack/1\0"), node, hash, wire.u64(timeMs)]);
  assert.equal(message.length, 72);
  assert.ok(crypto.verify(null, message, wire.rawVerifier(mailbox.certificate), signature));
  const heard = await bob.listenOnce();
  assert.ok(heard.some((event) => event.text === "relayed by hand" && event.verified === "unsigned"), JSON.stringify(heard));
});
