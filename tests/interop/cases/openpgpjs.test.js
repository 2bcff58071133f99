"use strict";
// OpenPGP.js writes to a v6-classic wallet and reads what is sealed to one.

const assert = require("node:assert/strict");
const { test } = require("node:test");
const openpgp = require("openpgp");
const { status, vectors } = require("../devnet.js");
const { envelope, fingerprint, signer } = require("../envelope.js");
const { Person, postWhenRouted } = require("../person.js");

const allVectors = vectors("crates", "packet", "tests", "vectors", "end-to-end.json");

test("packets_of_the_test_vectors_are_decrypted_by_openpgpjs", async () => {
  let opened = 0;
  // It knows no ML-KEM: what is sealed to a v6 wallet's post-quantum subkey is not for it.
  for (const vector of allVectors.filter(({ about }) => !about.startsWith("V6,"))) {
    const key = await openpgp.readPrivateKey({ armoredKey: vector.recipient_openpgp });
    assert.equal(key.getFingerprint(), vector.recipient_fingerprint);
    const message = await openpgp.readMessage({ binaryMessage: Buffer.from(vector.packet, "hex") });
    const { data, signatures } = await openpgp.decrypt({
      message,
      decryptionKeys: key,
      date: new Date(vector.time_ms + 60_000),
      format: "binary",
    });
    const read = envelope(data);
    assert.equal(read.body.toString("hex"), vector.body);
    assert.equal(Buffer.from(read.id).toString("hex"), vector.message_id);
    assert.equal(read.time, vector.time_ms);
    assert.equal(signatures.length, vector.sender_wallet === null ? 0 : 1);
    if (vector.sender_wallet !== null) {
      assert.equal(await signer(read, vector.recipient_fingerprint), vector.sender_wallet);
      assert.equal(fingerprint(read.sender.primary), vector.sender_fingerprint);
    }
    opened += 1;
  }
  assert.equal(opened, 4);
});

test("layer_of_the_test_vectors_is_decrypted_by_openpgpjs", async () => {
  for (const vector of vectors("crates", "packet", "tests", "vectors", "layer.json")) {
    const { data } = await openpgp.decrypt({
      message: await openpgp.readMessage({ binaryMessage: Buffer.from(vector.packet, "hex") }),
      decryptionKeys: await openpgp.readPrivateKey({ armoredKey: vector.node_openpgp }),
      format: "binary",
    });
    assert.equal(Buffer.from(data).toString("hex"), vector.command);
  }
});

for (const kind of ["v6-classic", "v4"]) {
  let bob;
  let key;

  async function deliver(options, format = "binary") {
    const message = await openpgp.encrypt({ encryptionKeys: key, format, ...options });
    const answer = await postWhenRouted(status.nodes[0].url, message);
    assert.equal(answer.status, 200, answer.body);
    const heard = (await bob.listenOnce()).filter((event) => event.text !== undefined);
    assert.equal(heard.length, 1, JSON.stringify(heard));
    return heard[0];
  }

  test(`certificate_of_a_${kind}_wallet_is_read_and_verified_by_openpgpjs`, async () => {
    bob = await Person.reachable("bob", kind);
    key = await openpgp.readKey({ armoredKey: await bob.certificate() });
    const { fingerprint: own } = await bob.json("wallet", "show");
    assert.equal(key.getFingerprint(), own.toLowerCase());
    assert.deepEqual(key.getUserIDs(), [bob.address]);
    await key.verifyPrimaryKey();
    assert.equal(key.keyPacket.version, kind === "v4" ? 4 : 6);
    assert.equal(key.subkeys.length, 1);
  });

  test(`message_of_openpgpjs_to_a_${kind}_wallet_is_shown_as_unsigned`, async () => {
    const text = "hello from OpenPGP.js, grüße\n";
    for (const format of ["binary", "armored"]) {
      const heard = await deliver({ message: await openpgp.createMessage({ text }) }, format);
      // A literal of text travels with CRLF (RFC 9580, 5.9).
      assert.equal(heard.text.replaceAll("\r\n", "\n"), text);
      assert.equal(heard.verified, "unsigned");
    }
  });

  test(`message_of_openpgpjs_signed_by_a_stranger_to_a_${kind}_wallet_is_shown_as_unsigned`, async () => {
    const { privateKey } = await openpgp.generateKey({
      type: "curve25519",
      userIDs: [{ name: "Mallory" }],
      format: "object",
      config: { v6Keys: kind !== "v4" },
    });
    const heard = await deliver({ message: await openpgp.createMessage({ text: "signed" }), signingKeys: privateKey });
    assert.equal(heard.text, "signed");
    assert.equal(heard.verified, "unsigned");
  });

  test(`secret_key_of_a_${kind}_wallet_opens_and_signs_in_openpgpjs`, async () => {
    const privateKey = await openpgp.readPrivateKey({ armoredKey: await bob.openpgpSecret() });
    assert.equal(privateKey.getFingerprint(), key.getFingerprint());
    const sealed = await openpgp.encrypt({
      message: await openpgp.createMessage({ text: "there and back" }),
      encryptionKeys: key,
      signingKeys: privateKey,
      format: "binary",
    });
    const { data, signatures } = await openpgp.decrypt({
      message: await openpgp.readMessage({ binaryMessage: sealed }),
      decryptionKeys: privateKey,
      verificationKeys: key,
      expectSigned: true,
    });
    assert.equal(data, "there and back");
    assert.equal(await signatures[0].verified, true);
  });
}

test("certificate_of_a_v6_wallet_is_used_by_openpgpjs_without_its_postquantum_subkey", async () => {
  const bob = await Person.reachable("bob", "v6");
  const key = await openpgp.readKey({ armoredKey: await bob.certificate() });
  const message = await openpgp.encrypt({
    message: await openpgp.createMessage({ text: "to the X25519 subkey" }),
    encryptionKeys: key,
    format: "binary",
  });
  const answer = await postWhenRouted(status.nodes[0].url, message);
  assert.equal(answer.status, 200, answer.body);
  const heard = await bob.listenOnce();
  assert.ok(heard.some((event) => event.text === "to the X25519 subkey" && event.verified === "unsigned"), JSON.stringify(heard));
});
