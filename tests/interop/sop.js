"use strict";
// The programs of the Stateless OpenPGP Interface (draft-dkg-openpgp-stateless-cli): `sqop`, on Sequoia, and `rsop`, on
// rPGP. They keep nothing: keys and certificates are files, and everything else goes through pipes.

const assert = require("node:assert/strict");
const fs = require("node:fs");
const path = require("node:path");
const { folder, run } = require("./devnet.js");

/** What exit codes say (its section on failure modes). */
const CODE = { unspecified: 1, noSignature: 3, cannotDecrypt: 29, badData: 41 };

class Sop {
  constructor(name) {
    this.name = name;
    this.program = path.join(process.env.CONET_INTEROP_TOOLS, name);
    this.place = folder(name);
    this.files = 0;
  }

  /** A new file with this content. */
  file(content) {
    const where = path.join(this.place, String((this.files += 1)));
    fs.writeFileSync(where, content);
    return where;
  }

  /** Runs a subcommand; returns `{ code, stdout, stderr }`. */
  run(args, input) {
    return run(this.program, args, { input });
  }

  /** Runs a subcommand, which must succeed, and returns its stdout. */
  async ok(args, input) {
    const { code, stdout, stderr } = await this.run(args, input);
    assert.equal(code, 0, `${this.name} ${args.join(" ")} ended with ${code}: ${stderr}`);
    return stdout;
  }

  /** A key of its own; returns the files of key and certificate. */
  async generate(userId) {
    const key = await this.ok(["generate-key", userId]);
    return { key: this.file(key), certificate: this.file(await this.ok(["extract-cert"], key)) };
  }

  /** Decrypts and verifies; returns `{ code, stdout, signers, stderr }`: who is said to have signed, by fingerprint. */
  async decrypt(message, key, certificate) {
    const out = path.join(this.place, String((this.files += 1)));
    const verify = certificate === undefined ? [] : [`--verify-with=${certificate}`, `--verifications-out=${out}`];
    const done = await this.run(["decrypt", ...verify, key], message);
    return { ...done, signers: fs.existsSync(out) ? signers(fs.readFileSync(out, "utf8")) : [] };
  }
}

/** The primary keys in what they say of verified signatures: a line each, of time, signing key, primary key and mode. */
function signers(verifications) {
  return verifications.split("\n").filter(Boolean).map((line) => line.split(" ")[2].toLowerCase());
}

module.exports = { CODE, Sop, signers };
