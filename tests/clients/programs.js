"use strict";
// Programs that run beside a case until its file is done, and what the system says of them.

const { spawn } = require("node:child_process");
const fs = require("node:fs");
const { after } = require("node:test");
const { conet, status } = require("../interop/devnet.js");

/** How long a program may take to say that it is ready, and to end when it is asked to. */
const READY_TIMEOUT_MS = 60_000;
const END_TIMEOUT_MS = 10_000;

const running = new Set();

after(() => Promise.all([...running].map(stop)));

/**
 * Starts a program and returns `{ child, output(), line }`, where `line` is what it prints first on stdout or,
 * with `says`, the first line of either output that matches.
 */
async function start(program, args, { env, says } = {}) {
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, ...env } });
  running.add(child);
  const name = `${program} ${args.join(" ")}`;
  let printed = "";
  const line = await new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`${name} is not ready; it says: ${printed}`)), READY_TIMEOUT_MS);
    const look = (from) => {
      let own = "";
      from.setEncoding("utf8").on("data", (text) => {
        printed += text;
        own += text;
        const whole = own.split("\n").slice(0, -1);
        const found = says ? whole.find((words) => says.test(words)) : from === child.stdout ? whole[0] : undefined;
        if (found !== undefined) resolve(found);
      });
    };
    look(child.stdout);
    look(child.stderr);
    child.on("error", reject);
    child.on("exit", (code) => {
      running.delete(child);
      reject(new Error(`${name} ended with ${code}; it says: ${printed}`));
    });
    child.once("exit", () => clearTimeout(late));
    child.stdout.once("close", () => clearTimeout(late));
    setImmediate(() => late.unref());
  });
  return { child, line, output: () => printed };
}

/** Ends a program and waits until it is gone. */
function stop(child) {
  if (child.exitCode !== null || child.signalCode !== null) return undefined;
  return new Promise((resolve) => {
    const kill = setTimeout(() => child.kill("SIGKILL"), END_TIMEOUT_MS);
    child.once("exit", () => {
      clearTimeout(kill);
      resolve();
    });
    child.kill("SIGTERM");
  });
}

/** A command of conet that runs on in a person's home and says in one line of JSON that it is ready. */
async function keep(person, ...args) {
  const all = ["--home", person.home, "--network", status.network, "--json", ...args];
  const { child, line, output } = await start(conet, all, { env: { CONET_PASSWORD: person.password } });
  return { child, output, ...JSON.parse(line) };
}

/** A person's `conet proxy`: `socks` and `http` are where it listens. */
function startProxy(person, ...args) {
  return keep(person, "proxy", "--socks", "127.0.0.1:0", "--http", "127.0.0.1:0", ...args);
}

/** The most memory that a process ever had, in MiB. */
function peakMemory(pid) {
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(fs.readFileSync(`/proc/${pid}/status`, "utf8"))[1]) / 1024;
}

module.exports = { keep, peakMemory, start, startProxy, stop };
