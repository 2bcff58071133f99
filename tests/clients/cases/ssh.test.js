"use strict";
// ssh, scp and git over ssh to a machine that is found by a name and has no address.

const assert = require("node:assert/strict");
const { randomBytes } = require("node:crypto");
const fs = require("node:fs");
const path = require("node:path");
const { before, test } = require("node:test");
const { folder, run, succeed } = require("../../interop/devnet.js");
const { start } = require("../programs.js");
const { forward, isSocketOf, publish } = require("../service.js");

const [SSHD_PORT, LOCAL_PORT] = [2200, 2222];
const FILE_BYTES = 20 << 20;
const keys = folder("keys");
const key = path.join(keys, "somebody");
const options = [
  ...["-F", "/dev/null", "-i", key, "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes"],
  ...["-o", `UserKnownHostsFile=${path.join(keys, "known_hosts")}`],
];

let box;

function ssh(args, more) {
  return run("ssh", [...options, "-p", `${LOCAL_PORT}`, "root@127.0.0.1", ...args], more);
}

before(async () => {
  for (const name of ["host", "somebody", "nobody"]) {
    await succeed("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", path.join(keys, name)]);
  }
  const [type, host] = fs.readFileSync(path.join(keys, "host.pub"), "utf8").split(" ");
  fs.writeFileSync(path.join(keys, "known_hosts"), `[127.0.0.1]:${LOCAL_PORT} ${type} ${host}\n`);
  const config = path.join(keys, "sshd_config");
  const lines = [
    `ListenAddress 127.0.0.1:${SSHD_PORT}`,
    `HostKey ${path.join(keys, "host")}`,
    `AuthorizedKeysFile ${key}.pub`,
    ...["PidFile none", "UsePAM no", "StrictModes no", "PermitRootLogin prohibit-password"],
    ...["PasswordAuthentication no", "KbdInteractiveAuthentication no"],
    "Subsystem sftp internal-sftp",
  ];
  fs.writeFileSync(config, `${lines.join("\n")}\n`);
  const sshd = (await succeed("sh", ["-c", "command -v sshd"])).toString().trim();
  await start(sshd, ["-D", "-e", "-f", config], { says: /Server listening/ });
  box = await publish("box", "--tcp", `22=127.0.0.1:${SSHD_PORT}`);
  await forward("admin", `127.0.0.1:${LOCAL_PORT}`, "box.conet:22");
});

test("ssh_runs_a_command_that_reads_and_ends_with_its_code", async () => {
  const words = "what somebody types\n".repeat(10_000);
  const { code, stdout } = await ssh(["cat; exit 7"], { input: words });
  assert.equal(code, 7);
  assert.equal(stdout.toString(), words);
});

test("ssh_server_sees_its_publisher_and_nobody_else", async () => {
  const command = [...options, "-p", `${LOCAL_PORT}`, "root@127.0.0.1", "echo $SSH_CONNECTION; sleep 60"];
  const session = await start("ssh", command);
  // The client's address and port, the server's address and port.
  const [from, port, ...own] = session.line.split(" ");
  assert.deepEqual([from, ...own], ["127.0.0.1", "127.0.0.1", `${SSHD_PORT}`]);
  assert.ok(isSocketOf(box.child.pid, Number(port)), session.line);
});

test("scp_brings_a_file_there_and_back_unchanged", async () => {
  const [here, there, back] = ["here", "there", "back"].map((name) => path.join(keys, name));
  const bytes = randomBytes(FILE_BYTES);
  fs.writeFileSync(here, bytes);
  await succeed("scp", ["-q", ...options, "-P", `${LOCAL_PORT}`, here, `root@127.0.0.1:${there}`]);
  assert.ok(bytes.equals(fs.readFileSync(there)));
  await succeed("scp", ["-q", ...options, "-P", `${LOCAL_PORT}`, `root@127.0.0.1:${there}`, back]);
  assert.ok(bytes.equals(fs.readFileSync(back)));
});

test("ssh_with_a_strange_key_is_sent_away", async () => {
  const strange = options.map((option) => (option === key ? path.join(keys, "nobody") : option));
  const { code, stderr } = await run("ssh", [...strange, "-p", `${LOCAL_PORT}`, "root@127.0.0.1", "true"]);
  assert.equal(code, 255);
  assert.match(stderr.toString(), /Permission denied \(publickey\)/);
});

test("git_clone_over_ssh_brings_every_commit", async () => {
  const origin = path.join(keys, "origin"), copy = path.join(keys, "copy");
  const env = { GIT_CONFIG_GLOBAL: "/dev/null", GIT_SSH_COMMAND: ["ssh", ...options].join(" ") };
  const git = async (...args) => (await succeed("git", args, { env })).toString().trim();
  await git("init", "--quiet", origin);
  const author = ["-c", "user.name=somebody", "-c", "user.email=somebody@example.org"];
  for (let n = 0; n < 10; n += 1) {
    fs.writeFileSync(path.join(origin, `file ${n}`), randomBytes(1 << 16));
    await git("-C", origin, "add", ".");
    await git("-C", origin, ...author, "commit", "--quiet", "-m", `file ${n}`);
  }
  await git("clone", "--quiet", `ssh://root@127.0.0.1:${LOCAL_PORT}${origin}`, copy);
  assert.equal(await git("-C", copy, "log", "--format=%H %T"), await git("-C", origin, "log", "--format=%H %T"));
  await git("-C", copy, "fsck", "--strict");
});
