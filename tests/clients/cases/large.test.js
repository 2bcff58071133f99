"use strict";
// A gigabyte each way, with curl.

const assert = require("node:assert/strict");
const { spawn } = require("node:child_process");
const { createHash } = require("node:crypto");
const { once } = require("node:events");
const { pipeline } = require("node:stream/promises");
const { Readable } = require("node:stream");
const { before, test } = require("node:test");
const { status } = require("../../interop/devnet.js");
const { Person } = require("../../interop/person.js");
const { peakMemory, startProxy } = require("../programs.js");
const { bytesOf, serve } = require("../site.js");

const GIB = 1 << 30;
/** What no process may grow by, whatever passes through it: a sixteenth of the file. */
const MOST_GROWTH_MIB = 64;

let proxy;

async function sha256(pieces) {
  const hash = createHash("sha256");
  for await (const piece of pieces) hash.update(piece);
  return hash.digest("hex");
}

/** `GET /N` gives that many bytes, `PUT` the digest of what came. */
async function site(request, response) {
  if (request.method === "PUT") {
    response.end(await sha256(request));
  } else {
    const bytes = Number(request.url.slice(1));
    response.writeHead(200, { "content-length": bytes });
    await pipeline(Readable.from(bytesOf(bytes)), response).catch(() => {});
  }
}

function curl(...args) {
  const child = spawn("curl", ["-sSf", "--max-time", "200", ...args], { stdio: ["pipe", "pipe", "inherit"] });
  return { child, done: once(child, "close") };
}

async function download(bytes, ...way) {
  const { child, done } = curl(...way, `http://web.example/${bytes}`);
  const digest = await sha256(child.stdout);
  assert.deepEqual(await done, [0, null]);
  return digest;
}

async function upload(bytes, ...way) {
  const { child, done } = curl(...way, "-T", "-", "http://web.example/");
  const [answer] = await Promise.all([child.stdout.toArray(), pipeline(Readable.from(bytesOf(bytes)), child.stdin)]);
  assert.deepEqual(await done, [0, null]);
  return Buffer.concat(answer).toString();
}

/** The most that every process of conet had, by what it is. */
function peaks() {
  const all = { proxy: peakMemory(proxy.child.pid) };
  for (const [at, node] of status.nodes.entries()) all[`node ${at + 1}`] = peakMemory(node.pid);
  return all;
}

async function inConstantMemory(work) {
  const former = peaks();
  await work();
  const grown = Object.entries(peaks()).map(([name, mib]) => [name, Math.round(mib - former[name])]);
  console.log(`grown by at most: ${grown.map(([name, mib]) => `${name} ${mib} MiB`).join(", ")}`);
  for (const [name, mib] of grown) assert.ok(mib < MOST_GROWTH_MIB, `${name} grew by ${mib} MiB`);
}

let whole;

before(async () => {
  await serve(site, 80);
  proxy = await startProxy(new Person("larg"));
  whole = await sha256(bytesOf(GIB));
  await download(1 << 20, "-x", `socks5h://${proxy.socks}`);
});

test("download_of_a_gigabyte_through_socks_has_its_digest_and_needs_no_memory", () =>
  inConstantMemory(async () => assert.equal(await download(GIB, "-x", `socks5h://${proxy.socks}`), whole)));

test("upload_of_a_gigabyte_through_the_http_proxy_has_its_digest_and_needs_no_memory", () =>
  inConstantMemory(async () => assert.equal(await upload(GIB, "-x", `http://${proxy.http}`), whole)));
