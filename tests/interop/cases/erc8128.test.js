"use strict";
// @slicekit/erc8128, the library of the makers of ERC-8128, with viem's accounts: its signatures are verified here and ours
// there.

const assert = require("node:assert/strict");
const { spawn } = require("node:child_process");
const readline = require("node:readline");
const { after, test } = require("node:test");
const { pathToFileURL } = require("node:url");
const { verifyMessage } = require("viem");
const { generatePrivateKey, privateKeyToAccount } = require("viem/accounts");

const CHAIN = 31337;
// It is a module of the newer kind, which NODE_PATH does not lead to.
const library = import(pathToFileURL(require.resolve("@slicekit/erc8128")).href);

const ours = spawn(process.env.CONET_INTEROP_ERC8128, [], { stdio: ["pipe", "pipe", "inherit"] });
const answers = readline.createInterface({ input: ours.stdout })[Symbol.asyncIterator]();
after(() => ours.stdin.end());

const now = () => Math.floor(Date.now() / 1000);
const secret = generatePrivateKey();
const account = privateKeyToAccount(secret);
const signer = {
  chainId: CHAIN,
  address: account.address,
  signMessage: (message) => account.signMessage({ message: { raw: message } }),
};

const REQUESTS = [
  ["GET", "http://notes.conet/", undefined],
  ["GET", "http://Notes.Conet:80/list?page=2&q=a%20b", undefined],
  ["DELETE", "http://notes.conet/notes/7", undefined],
  ["POST", "http://notes.conet:8080/notes?x", "text=buy+milk"],
  ["PUT", "http://notes.conet/file", "\u0000".repeat(100_000)],
];

async function ask(line) {
  ours.stdin.write(`${JSON.stringify(line)}\n`);
  return JSON.parse((await answers.next()).value);
}

// A request as it goes over the wire.
function wire(method, url, body) {
  const { host, pathname, search } = new URL(url);
  const hex = body === undefined ? null : Buffer.from(body).toString("hex");
  return { method, target: pathname + search, fields: [["host", host]], body: hex, now: now() };
}

function nonces() {
  const seen = new Set();
  return { consume: async (key) => !seen.has(key) && Boolean(seen.add(key)) };
}

test("slicekit_verifies_what_we_sign_and_once_only", async () => {
  const { verifyRequest } = await library;
  const nonceStore = nonces();
  for (const [method, url, body] of REQUESTS) {
    const { fields } = await ask({ sign: secret.slice(2), chain: CHAIN, ...wire(method, url, body) });
    const check = (changed = {}) =>
      verifyRequest({ request: new Request(changed.url ?? url, { method, body: changed.body ?? body, headers: fields }), verifyMessage, nonceStore });
    assert.equal((await check({ url: "http://notes.conet/other" })).ok, false, "another path");
    if (body !== undefined) assert.equal((await check({ body: `${body}!` })).reason, "digest_mismatch");
    const verified = await check();
    assert.equal(verified.ok, true, JSON.stringify(verified));
    assert.equal(verified.address, account.address.toLowerCase());
    assert.equal(verified.chainId, CHAIN);
    assert.equal(verified.binding, "request-bound");
    assert.equal(verified.replayable, false);
    assert.equal((await check()).reason, "replay");
  }
});

// What slicekit makes of a request, as it goes over the wire.
async function signed(method, url, body, options = {}) {
  const { signRequest } = await library;
  const request = await signRequest(new Request(url, { method, body }), undefined, signer, options);
  const line = wire(method, url, body);
  const names = ["content-digest", "signature-input", "signature"].filter((name) => request.headers.has(name));
  line.fields.push(...names.map((name) => [name, request.headers.get(name)]));
  return line;
}

test("we_verify_what_slicekit_signs_and_once_only", async () => {
  for (const [method, url, body] of REQUESTS) {
    const line = await signed(method, url, body, { label: "other" });
    assert.match((await ask({ ...line, method: "PATCH" })).error, /request was changed/);
    assert.deepEqual(await ask(line), { wallet: account.address });
    assert.match((await ask(line)).error, /sent before/);
  }
});

test("we_refuse_what_slicekit_signs_otherwise", async () => {
  for (const [options, says] of [
    [{ replay: "replayable" }, /no nonce/],
    [{ ttlSeconds: 301 }, /end within/],
    [{ created: now() - 3600 }, /expired/],
    [{ created: now() + 3600 }, /clock skew/],
    [{ binding: "class-bound", components: ["@authority"] }, /does not cover/],
  ]) {
    assert.match((await ask(await signed("GET", "http://notes.conet/", undefined, options))).error, says);
  }
  assert.match((await ask(await signed("GET", "http://bank.conet/", undefined))).error, /another service/);
});
