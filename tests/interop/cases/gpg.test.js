"use strict";
// Stock gpg writes to a v4 wallet and reads what is sealed to one; curl carries it to a node.

const assert = require("node:assert/strict");
const fs = require("node:fs");
const { after, before, test } = require("node:test");
const { post, status, vectors } = require("../devnet.js");
const { envelope, fingerprint, signer } = require("../envelope.js");
const { Gpg } = require("../gpg.js");
const { Person, postWhenRouted } = require("../person.js");

/** No node takes a longer message (docs/wire-format.md, 3.2). */
const MAX_MESSAGE_BYTES = 1 << 20;

const gpg = new Gpg();
let bob;
let key;
let entry;

before(async () => {
  bob = await Person.reachable("bob", "v4");
  await gpg.ok(["--import"], await bob.certificate());
  [key] = await gpg.fingerprints();
  // Not the node that keeps his mail: the packet has to be forwarded.
  const { mailboxes } = await bob.json("route", "show");
  entry = status.nodes.find((node) => node.id.toLowerCase() !== mailboxes[0].toLowerCase()).url;
});
after(() => gpg.close());

/** Posts what gpg made and returns the one thing that Bob then hears. */
async function deliver(message) {
  const answer = await postWhenRouted(entry, message);
  assert.equal(answer.status, 200, answer.body);
  const stored = JSON.parse(answer.body);
  assert.equal(stored.stored, true);
  assert.match(stored.hash, /^[0-9a-f]{64}$/);
  assert.match(stored.signature, /^[0-9a-f]{128}$/);
  assert.ok(Math.abs(stored.time - Date.now()) < 60_000);
  const heard = (await bob.listenOnce()).filter((event) => event.text !== undefined || event.file !== undefined);
  assert.equal(heard.length, 1, JSON.stringify(heard));
  return heard[0];
}

test("armored_message_of_gpg_posted_with_curl_is_shown_as_unsigned", async () => {
  const text = "hello from gpg, grüße\n";
  const message = await gpg.ok(["--armor", "--recipient", key, "--encrypt"], text);
  assert.ok(message.toString().startsWith("-----BEGIN PGP MESSAGE-----"));
  const heard = await deliver(message);
  assert.equal(heard.text, text);
  assert.equal(heard.verified, "unsigned");
  assert.equal(heard.from ?? null, null);
});

test("binary_message_of_gpg_posted_with_curl_is_shown_as_unsigned", async () => {
  const heard = await deliver(await gpg.ok(["--recipient", key, "--encrypt"], "binary hello"));
  assert.equal(heard.text, "binary hello");
  assert.equal(heard.verified, "unsigned");
});

test("long_compressed_message_of_gpg_arrives_whole", async () => {
  const text = "a line that repeats itself\n".repeat(20_000);
  const heard = await deliver(await gpg.ok(["--compress-algo", "zlib", "--recipient", key, "--encrypt"], text));
  assert.equal(heard.text, text);
});

test("file_of_gpg_that_is_no_text_is_shown_as_a_file", async () => {
  const bytes = Buffer.from([0xff, 0xfe, 0, 1, 2, 3, 0x80]);
  const answer = await postWhenRouted(entry, await gpg.ok(["--recipient", key, "--encrypt"], bytes));
  assert.equal(answer.status, 200, answer.body);
  const save = fs.mkdtempSync(`${bob.home}/save-`);
  const heard = (await bob.listenOnce("--save", save)).filter((event) => event.file !== undefined);
  assert.equal(heard.length, 1, JSON.stringify(heard));
  assert.equal(heard[0].verified, "unsigned");
  const [name] = fs.readdirSync(save);
  assert.deepEqual(fs.readFileSync(`${save}/${name}`), bytes);
});

test("message_signed_by_an_unknown_gpg_key_is_shown_as_unsigned", async () => {
  const signs = ["--quick-gen-key", "Mallory <mallory@example.org>", "ed25519", "sign", "never"];
  await gpg.ok(signs);
  const message = await gpg.ok(["--local-user", "mallory@example.org", "--recipient", key, "--sign", "--encrypt"], "signed");
  const heard = await deliver(message);
  assert.equal(heard.text, "signed");
  // Nobody vouches for that key: it is not "wallet".
  assert.equal(heard.verified, "unsigned");
});

const todo = "listen gives the opener no certificates to check such a signature with";
test("message_signed_by_the_openpgp_key_of_a_known_wallet_is_shown_as_openpgp", { todo }, async () => {
  const alice = await Person.reachable("alice", "v4");
  const { uri } = await alice.json("wallet", "share");
  await bob.text("contact", "add", "alice", uri);
  // So that he has looked up her certificate, and has heard from her.
  await bob.text("send", alice.address, "hello alice");
  await alice.text("send", bob.address, "hello bob");
  await bob.listenOnce();
  await gpg.ok(["--import"], await alice.openpgpSecret());
  const { fingerprint: alices } = await alice.json("wallet", "show");
  const heard = await deliver(await gpg.ok(["--local-user", alices, "--recipient", key, "--sign", "--encrypt"], "it is me"));
  assert.equal(heard.text, "it is me");
  assert.equal(heard.verified, "openpgp", JSON.stringify(heard));
});

test("same_message_posted_twice_is_shown_once", async () => {
  const message = await gpg.ok(["--recipient", key, "--encrypt"], "once");
  assert.equal((await deliver(message)).text, "once");
  assert.equal((await post(entry, message)).status, 200);
  const again = await bob.listenOnce();
  assert.ok(!again.some((event) => event.text !== undefined), JSON.stringify(again));
});

test("post_that_is_no_packet_gets_400", async () => {
  const message = await gpg.ok(["--recipient", key, "--encrypt"], "whole");
  const armored = await gpg.ok(["--armor", "--recipient", key, "--encrypt"], "whole");
  const hidden = await gpg.ok(["--hidden-recipient", key, "--encrypt"], "for whom?");
  const bodies = {
    nothing: Buffer.alloc(0),
    text: Buffer.from("hello, who is there?"),
    zeros: Buffer.alloc(5_000),
    "a cut key ID": message.subarray(0, 8),
    "a cut armor": armored.subarray(0, 60),
    "spoiled armor": Buffer.from(armored.toString().replace(/^[A-Za-z0-9+/]{20}/m, "?".repeat(20))),
    "an anonymous recipient": hidden,
    "a signature": await gpg.ok(["--local-user", "mallory@example.org", "--detach-sign"], "x"),
  };
  for (const [what, body] of Object.entries(bodies)) {
    const answer = await post(entry, body);
    assert.equal(answer.status, 400, `${what}: ${answer.status} ${answer.body}`);
    assert.equal(answer.type, "application/json");
    const { error, message: words } = JSON.parse(answer.body);
    assert.equal(error, "malformed", what);
    assert.ok(words.length > 0);
  }
});

test("truncated_packet_is_never_shown_and_harms_nothing", async () => {
  const message = await gpg.ok(["--recipient", key, "--encrypt"], "cut short");
  const answer = await post(entry, message.subarray(0, message.length - 10));
  // A node routes by the head alone; whether it looks at the rest is its own affair.
  assert.ok([200, 400].includes(answer.status), `${answer.status} ${answer.body}`);
  assert.equal((await deliver(await gpg.ok(["--recipient", key, "--encrypt"], "whole again"))).text, "whole again");
});

test("message_to_a_key_that_nobody_routes_gets_402_or_404", async () => {
  const stranger = await Person.stranger("stranger", "v4");
  const other = new Gpg();
  try {
    await other.ok(["--import"], await stranger.certificate());
    const [unknown] = await other.fingerprints();
    const message = await other.ok(["--recipient", unknown, "--encrypt"], "anybody?");
    const answer = await post(entry, message);
    assert.ok([402, 404].includes(answer.status), `${answer.status} ${answer.body}`);
    assert.match(JSON.parse(answer.body).error, /^(stamp_required|unknown_key)$/);
  } finally {
    other.close();
  }
});

test("long_message_is_taken_and_one_that_is_too_long_gets_413", async () => {
  const noise = require("node:crypto").randomBytes(2 * MAX_MESSAGE_BYTES);
  const encrypt = (length, armor) =>
    gpg.ok([...armor, "--compress-algo", "none", "--recipient", key, "--encrypt"], noise.subarray(0, length));
  // Armor is a third longer, and a body's length is what is bounded first.
  const fit = [await encrypt(MAX_MESSAGE_BYTES - 2_048, []), await encrypt((MAX_MESSAGE_BYTES / 3) * 2, ["--armor"])];
  for (const message of fit) assert.equal((await postWhenRouted(entry, message)).status, 200, `${message.length} bytes`);
  const bodies = [await encrypt(MAX_MESSAGE_BYTES, []), await encrypt(MAX_MESSAGE_BYTES, ["--armor"]), noise, Buffer.alloc(8 << 20, 0xc1)];
  for (const body of bodies) {
    const answer = await post(entry, body);
    assert.equal(answer.status, 413, `${body.length} bytes: ${answer.status} ${answer.body}`);
    assert.equal(JSON.parse(answer.body).error, "too_large");
  }
  const heard = (await bob.listenOnce()).filter((event) => event.text !== undefined || event.file !== undefined);
  assert.equal(heard.length, fit.length);
});

test("packets_of_the_test_vectors_are_decrypted_by_gpg", async () => {
  const all = vectors("crates", "packet", "tests", "vectors", "end-to-end.json").filter(({ about }) => about.startsWith("V4"));
  assert.equal(all.length, 2);
  for (const vector of all) {
    const reader = new Gpg(Math.floor(vector.time_ms / 1000) + 60);
    try {
      await reader.ok(["--import"], vector.recipient_openpgp);
      const { stdout, stderr } = await reader.run(["--status-fd", "2", "--decrypt"], Buffer.from(vector.packet, "hex"));
      assert.match(stderr.toString(), /DECRYPTION_OKAY/);
      assert.match(stderr.toString(), /GOODMDC/);
      const message = envelope(stdout);
      assert.equal(message.body.toString("hex"), vector.body);
      assert.equal(Buffer.from(message.id).toString("hex"), vector.message_id);
      assert.equal(message.sequence, vector.sequence);
      if (vector.sender_wallet === null) {
        assert.equal(message.sender, null);
      } else {
        assert.equal(await signer(message, vector.recipient_fingerprint), vector.sender_wallet);
        assert.equal(fingerprint(message.sender.primary), vector.sender_fingerprint);
        // gpg names the signer, though it has no key to check with.
        assert.match(stderr.toString(), new RegExp(`ERRSIG .*${vector.sender_fingerprint}`, "i"));
      }
    } finally {
      reader.close();
    }
  }
});
