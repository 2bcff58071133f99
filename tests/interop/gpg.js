"use strict";
// A gpg with a home of its own.

const { execFileSync } = require("node:child_process");
const { folder, run, succeed } = require("./devnet.js");

class Gpg {
  /** `atS` is the time that gpg shall believe in, Unix seconds; nothing for the true one. */
  constructor(atS) {
    this.home = folder("g");
    this.time = atS === undefined ? [] : ["--faked-system-time", `${atS}!`];
  }

  arguments(args) {
    const quiet = ["--homedir", this.home, "--batch", "--no-tty", "--yes", "--trust-model", "always"];
    return [...quiet, "--pinentry-mode", "loopback", "--passphrase", "", ...this.time, ...args];
  }

  /** Runs gpg, which must succeed, and returns its stdout. */
  ok(args, input) {
    return succeed("gpg", this.arguments(args), { input });
  }

  /** Runs gpg and returns `{ code, stdout, stderr }`. */
  run(args, input) {
    return run("gpg", this.arguments(args), { input });
  }

  /** Fingerprints of the primary keys that it has. */
  async fingerprints() {
    const lines = (await this.ok(["--list-keys", "--with-colons"])).toString().split("\n");
    const primaries = lines.filter((_, at) => lines[at - 1]?.startsWith("pub:"));
    return primaries.map((line) => line.split(":")[9]);
  }

  /** Stops its agent. */
  close() {
    execFileSync("gpgconf", ["--homedir", this.home, "--kill", "all"]);
  }
}

module.exports = { Gpg };
