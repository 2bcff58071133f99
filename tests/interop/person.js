"use strict";
// Someone with a home of their own and one wallet, who types commands.

const assert = require("node:assert/strict");
const fs = require("node:fs");
const path = require("node:path");
const { conet, eventually, folder, post, run, status } = require("./devnet.js");

class Person {
  /** An empty password makes every command a second faster: a keystore of its own takes that long to open. */
  constructor(name, password = "") {
    this.name = name;
    this.password = password;
    this.home = folder(name);
  }

  /** A home with a new wallet that nobody can write to yet. */
  static async stranger(name, openpgp = "v6", password = "") {
    const person = new Person(name, password);
    const made = await person.json("wallet", "new", name, "--openpgp", openpgp);
    person.address = made.address;
    return person;
  }

  /** A home with a new wallet whose mailbox is `mailbox`, or one at random. */
  static async reachable(name, openpgp = "v6", mailbox = "auto") {
    const person = await Person.stranger(name, openpgp);
    await person.json("route", "set", "--mailbox", mailbox);
    return person;
  }

  /** Runs a command; returns `{ code, stdout, stderr }`. */
  run(args, { input } = {}) {
    const all = ["--home", this.home, "--network", status.network, ...args];
    return run(conet, all, { input, env: { CONET_PASSWORD: this.password } });
  }

  /** Runs a command that must succeed and returns what it printed. */
  async text(...args) {
    const { code, stdout, stderr } = await this.run(args);
    assert.equal(code, 0, `conet ${args.join(" ")} ended with ${code}: ${stderr}${stdout}`);
    return stdout.toString();
  }

  /** Runs a command that must succeed with --json and returns the last object that it printed. */
  async json(...args) {
    const lines = (await this.text(...args, "--json")).trim().split("\n");
    return JSON.parse(lines.at(-1));
  }

  /** Everything that waits in the mailbox. */
  async listenOnce(...args) {
    const printed = await this.text("listen", "--once", "--json", ...args);
    return printed.split("\n").filter(Boolean).map((line) => JSON.parse(line));
  }

  certificate() {
    return this.text("wallet", "export", "--certificate");
  }

  openpgpSecret() {
    return this.text("wallet", "export", "--openpgp-secret");
  }

  /** The wallet's Web3 keystore, as it lies in the home. */
  keystore() {
    const file = path.join(this.home, "wallets", `${this.name}.json`);
    return JSON.parse(fs.readFileSync(file, "utf8")).keystore;
  }
}

/** Posts to a node until it knows where the packet goes: a route that was just set takes a moment to spread. */
function postWhenRouted(url, bytes) {
  return eventually("the node knows the route", async () => {
    const answer = await post(url, bytes);
    // A key that it has not heard of may be an unlisted one: for those it asks a stamp.
    return ![402, 404].includes(answer.status) && answer;
  });
}

module.exports = { Person, postWhenRouted };
