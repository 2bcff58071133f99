"use strict";
// The devnet that `run` started, as its cases see it.

const assert = require("node:assert/strict");
const { execFile } = require("node:child_process");
const fs = require("node:fs");
const path = require("node:path");

const conet = process.env.CONET_INTEROP_BIN;
const work = process.env.CONET_INTEROP_WORK;
const top = process.env.CONET_INTEROP_TOP;

/** What `devnet up --json` printed when everything ran. */
const status = JSON.parse(fs.readFileSync(path.join(work, "status.json"), "utf8"));

/** The mnemonic of the accounts that have all the money, as anvil's. */
const DEV_MNEMONIC = "test test test test test test test test test test test junk";

/** Longest run of one program, and the most that it may print. */
const PROGRAM_TIMEOUT_MS = 90_000;
const MAX_OUTPUT_BYTES = 8 << 20;

/**
 * Runs a program to its end and returns `{ code, stdout, stderr }`, with stdout and stderr as buffers.
 * Does not mind how it ended, unless it could not start or took too long.
 */
function run(program, args, { input, env } = {}) {
  return new Promise((resolve, reject) => {
    const options = {
      encoding: "buffer",
      timeout: PROGRAM_TIMEOUT_MS,
      killSignal: "SIGKILL",
      maxBuffer: MAX_OUTPUT_BYTES,
      env: { ...process.env, ...env },
    };
    const child = execFile(program, args, options, (error, stdout, stderr) => {
      if (error && typeof error.code !== "number") {
        const words = `${program} ${args.join(" ")}: ${error.message}\n${stderr}`;
        reject(new Error(words, { cause: error }));
      } else {
        resolve({ code: error ? error.code : 0, stdout, stderr });
      }
    });
    // A program that reads no input may be gone before it is written.
    child.stdin.on("error", () => {});
    child.stdin.end(input ?? "");
  });
}

/** Runs a program that must succeed and returns its stdout. */
async function succeed(program, args, options) {
  const { code, stdout, stderr } = await run(program, args, options);
  assert.equal(code, 0, `${program} ${args.join(" ")} ended with ${code}: ${stderr}${stdout}`);
  return stdout;
}

/** Waits until `attempt` returns something true; bounded. */
async function eventually(what, attempt, timeoutMs = 30_000) {
  const deadline = Date.now() + timeoutMs;
  let last;
  while (Date.now() < deadline) {
    last = await attempt();
    if (last) return last;
    await new Promise((resolve) => setTimeout(resolve, 150));
  }
  throw new Error(`waited in vain until ${what}`);
}

/** A new empty folder, gone with the devnet. */
function folder(prefix) {
  return fs.mkdtempSync(path.join(work, `${prefix}-`));
}

/** A contract's ABI and bytecode, as committed. */
function artifact(name) {
  return JSON.parse(fs.readFileSync(path.join(top, "contracts", "artifacts", `${name}.json`), "utf8"));
}

/** A file of test vectors, as committed. */
function vectors(...names) {
  return JSON.parse(fs.readFileSync(path.join(top, ...names), "utf8"));
}

/** Posts a file with curl; returns `{ status, type, body }`. */
async function post(url, bytes, headers = []) {
  const file = path.join(folder("post"), "body");
  fs.writeFileSync(file, bytes);
  const extra = headers.flatMap((header) => ["-H", header]);
  const args = ["-sS", "--max-time", "60", "-w", "\n%{http_code} %{content_type}", ...extra, "--data-binary", `@${file}`, url];
  const answer = (await succeed("curl", args)).toString();
  const at = answer.lastIndexOf("\n");
  const [code, ...type] = answer.slice(at + 1).split(" ");
  return { status: Number(code), type: type.join(" "), body: answer.slice(0, at) };
}

module.exports = { DEV_MNEMONIC, artifact, conet, eventually, folder, post, run, status, succeed, vectors, work };
