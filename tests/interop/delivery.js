"use strict";
// Deliveries as Server-Sent Events, read with `curl -N` from a mailbox's plain intake (docs/wire-format.md, 4.5 and 10).

const assert = require("node:assert/strict");
const { spawn } = require("node:child_process");
const crypto = require("node:crypto");
const fs = require("node:fs");
const path = require("node:path");
const openpgp = require("openpgp");
const { folder } = require("./devnet.js");
const { decode } = require("./envelope.js");
const wire = require("./wire.js");

const { ITEM, LAYER_BYTES, STATUS, Ties } = wire;
/** Bytes that may be under way unacknowledged. */
const WINDOW_BYTES = 4 << 20;

/** `curl -N` on a node's plain intake: what it prints, as it comes. */
class Stream {
  constructor(node, layer) {
    const body = path.join(folder("collect"), "body");
    fs.writeFileSync(body, layer);
    const head = path.join(path.dirname(body), "head");
    this.head = head;
    this.text = "";
    this.errors = "";
    const accept = "Accept: text/event-stream";
    const args = ["-sS", "-N", "--max-time", "60", "-D", head, "-H", accept, "--data-binary", `@${body}`, node.url];
    this.curl = spawn("curl", args, { stdio: ["ignore", "pipe", "pipe"] });
    this.ended = new Promise((resolve) => this.curl.on("close", resolve));
    this.curl.stdout.on("data", (data) => (this.text += data));
    this.curl.stderr.on("data", (data) => (this.errors += data));
  }

  /** The data of the whole events so far. */
  events() {
    const whole = this.text.split("\n\n").slice(0, -1);
    return whole.filter((event) => event.startsWith("data: ")).map((event) => Buffer.from(event.slice(6), "base64"));
  }

  async stop() {
    this.curl.kill("SIGTERM");
    await this.ended;
  }
}

/** Asks a mailbox for what it keeps for the owner of a secret key. */
async function collect(mailbox, secret, device, { after = null, stay = false } = {}) {
  const ties = new Ties(mailbox);
  const command = ties.owner(secret, [1, device, after, WINDOW_BYTES, stay]);
  const stream = new Stream(mailbox, await wire.sealLayer(mailbox, command, LAYER_BYTES[0]));
  const items = () =>
    stream.events().map((event, counter) => {
      const [kind, sealed] = decode(event);
      assert.equal(kind, STATUS.sealed);
      return decode(ties.unseal(sealed, counter));
    });
  return { stream, items };
}

/** All that waits: packets with their cursors, and the cursor of having caught up. */
async function collectAll(mailbox, secret, device, after = null) {
  const { stream, items } = await collect(mailbox, secret, device, { after });
  const code = await stream.ended;
  assert.equal(code, 0, stream.errors);
  assert.match(fs.readFileSync(stream.head, "utf8"), /^HTTP\/1\.1 200 .*content-type: text\/event-stream/is);
  const all = items();
  const last = all.pop();
  assert.equal(last[0], ITEM.caughtUp);
  assert.ok(Math.abs(last[2] - Date.now()) < 60_000);
  assert.ok(all.every((item) => item[0] === ITEM.packet));
  return { cursor: last[1], packets: all.map(([, cursor, time, packet]) => ({ cursor, time, packet })) };
}

/** Has one wallet send a text to another, and takes the packet off the wire; `nodes` are those of the ledger. */
async function takenOffTheWire(nodes, from, to, text) {
  await from.text("send", to.address, text);
  const { mailboxes } = await to.json("route", "show");
  const key = await openpgp.readPrivateKey({ armoredKey: await to.openpgpSecret() });
  const { packets } = await collectAll(nodes.get(mailboxes[0].toLowerCase()), key, crypto.randomBytes(16));
  return packets.at(-1).packet;
}

module.exports = { WINDOW_BYTES, collect, collectAll, takenOffTheWire };
