"use strict";
// People who publish servers of their machine at a name, and people who reach them.

const fs = require("node:fs");
const { Person } = require("../interop/person.js");
const { keep } = require("./programs.js");

/** Someone with a wallet and a name of the same spelling who publishes what the arguments of `conet serve` say. */
async function publish(name, ...args) {
  const person = await Person.stranger(name);
  const serving = await keep(person, "serve", "--name", name, "--register", ...args);
  return { ...serving, person };
}

/** A port of this machine that leads to a port of a service, for someone with a home of their own. */
function forward(name, at, service, ...args) {
  return keep(new Person(name), "forward", `${at}:${service}`, ...args);
}

/** Whether a socket of this machine, which is told by its port, is of that process. */
function isSocketOf(pid, port) {
  const wanted = port.toString(16).toUpperCase().padStart(4, "0");
  const inodes = ["tcp", "tcp6"].flatMap((family) =>
    fs
      .readFileSync(`/proc/net/${family}`, "utf8")
      .split("\n")
      .slice(1)
      .map((line) => line.trim().split(/\s+/))
      .filter((fields) => fields[1]?.endsWith(`:${wanted}`))
      .map((fields) => `socket:[${fields[9]}]`),
  );
  const descriptors = fs.readdirSync(`/proc/${pid}/fd`).map((fd) => {
    try {
      return fs.readlinkSync(`/proc/${pid}/fd/${fd}`);
    } catch {
      return undefined; // Closed meanwhile.
    }
  });
  return inodes.some((inode) => descriptors.includes(inode));
}

module.exports = { forward, isSocketOf, publish };
