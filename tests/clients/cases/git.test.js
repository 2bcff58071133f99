"use strict";
// git over HTTP, through a bridge.

const assert = require("node:assert/strict");
const { randomBytes } = require("node:crypto");
const fs = require("node:fs");
const path = require("node:path");
const { before, test } = require("node:test");
const { folder, succeed } = require("../../interop/devnet.js");
const { Person } = require("../../interop/person.js");
const { startProxy } = require("../programs.js");
const { gitBackend, serve } = require("../site.js");

const URL = "http://git.example/project.git";
const env = {
  GIT_CONFIG_GLOBAL: "/dev/null",
  GIT_TERMINAL_PROMPT: "0",
  GIT_AUTHOR_NAME: "somebody",
  GIT_AUTHOR_EMAIL: "somebody@example.org",
  GIT_COMMITTER_NAME: "somebody",
  GIT_COMMITTER_EMAIL: "somebody@example.org",
};
let origin, proxy;

async function git(where, ...args) {
  return (await succeed("git", ["-C", where, ...args], { env })).toString().trim();
}

async function commit(where, name, bytes) {
  fs.writeFileSync(path.join(where, name), bytes);
  await git(where, "add", ".");
  await git(where, "commit", "--quiet", "-m", name);
}

before(async () => {
  const sources = folder("git");
  origin = path.join(sources, "project.git");
  await git(sources, "init", "--quiet", "--bare", "project.git");
  await git(origin, "config", "http.receivepack", "true");
  const first = path.join(sources, "first");
  await git(sources, "clone", "--quiet", origin, "first");
  for (let n = 0; n < 20; n += 1) await commit(first, `file ${n}`, randomBytes(1 << (n % 20)));
  await git(first, "push", "--quiet", "origin", "HEAD");
  await serve(gitBackend(sources), 80);
  proxy = await startProxy(new Person("gita"));
});

for (const [name, way] of [["socks", (at) => `socks5h://${at.socks}`], ["the_http_proxy", (at) => `http://${at.http}`]]) {
  test(`git_clone_through_${name}_brings_every_commit_and_push_takes_one_back`, async () => {
    const copy = path.join(folder("copy"), "project");
    await git("/", "-c", `http.proxy=${way(proxy)}`, "clone", "--quiet", URL, copy);
    assert.equal(await git(copy, "log", "--format=%H %T"), await git(origin, "log", "--format=%H %T"));
    await git(copy, "fsck", "--strict");
    await commit(copy, `by ${name}`, randomBytes(3 << 20));
    await git(copy, "-c", `http.proxy=${way(proxy)}`, "push", "--quiet", "origin", "HEAD");
    assert.equal(await git(origin, "rev-parse", "HEAD"), await git(copy, "rev-parse", "HEAD"));
  });
}

test("git_clone_without_the_proxy_finds_no_such_site", async () => {
  await assert.rejects(git("/", "clone", "--quiet", URL, folder("none")), /resolve/);
});
