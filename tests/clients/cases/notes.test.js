"use strict";
// Chromium at a notes service that has no login: whoever comes is known by a wallet of this site's own.

const assert = require("node:assert/strict");
const path = require("node:path");
const { before, test } = require("node:test");
const { folder } = require("../../interop/devnet.js");
const { Person } = require("../../interop/person.js");
const { newPage, screenshot, startBrowser } = require("../browser.js");
const { start, startProxy } = require("../programs.js");
const { publish } = require("../service.js");

const NOTE = "milk, bread & <b>“ümläuts”</b>";

/** Publishes a notes service of its own at a name. */
async function publishNotes(name) {
  const args = ["--listen", "127.0.0.1:0", "--db", path.join(folder(name), "notes.db")];
  const { line } = await start(process.env.CONET_CLIENTS_NOTES, args);
  await publish(name, "--to", line.split(" ").at(-1));
}

/** Someone with a wallet, a proxy and a browser that has its PAC file. */
async function surfer(name) {
  const person = await Person.stranger(name);
  const proxy = await startProxy(person);
  return { address: person.address, page: await newPage(await startBrowser(`http://${proxy.http}/proxy.pac`)) };
}

/** Opens a notes service; returns the wallet that it takes its visitor for. */
async function visit({ page }, name) {
  await page.goto(`http://${name}.conet/`);
  return page.$eval(".you code", (code) => code.textContent);
}

function notes({ page }) {
  return page.$$eval("li > p", (all) => all.map((note) => note.textContent));
}

async function write({ page }, text) {
  await page.type("textarea", text);
  await Promise.all([page.waitForNavigation(), page.click("main > form > button")]);
}

let ann, ben;

before(async () => {
  ann = await surfer("ann");
  ben = await surfer("ben");
  // A devnet that has such a service itself needs no other.
  const isThere = await new Person("looks").run(["name", "resolve", "notes.conet"]);
  if (isThere.code !== 0) await publishNotes("notes");
  await publishNotes("diary");
});

test("chromium_writes_a_note_at_a_name_and_finds_it_again_without_a_login", async () => {
  const wallet = await visit(ann, "notes");
  assert.match(wallet, /^0x[0-9a-fA-F]{40}$/);
  assert.deepEqual(await notes(ann), []);
  await write(ann, NOTE);
  assert.deepEqual(await notes(ann), [NOTE]);
  await ann.page.reload();
  assert.deepEqual(await notes(ann), [NOTE]);
  await screenshot(ann.page, "notes");
  assert.equal(await visit(ann, "notes"), wallet);
  const cookies = await ann.page.cookies();
  assert.deepEqual(cookies, []);
});

test("another_site_is_shown_another_wallet_and_other_notes", async () => {
  const here = await visit(ann, "notes");
  const there = await visit(ann, "diary");
  assert.notEqual(there, here);
  assert.deepEqual(await notes(ann), []);
  for (const shown of [here, there]) assert.notEqual(shown.toLowerCase(), ann.address.toLowerCase());
});

test("another_person_is_shown_with_another_wallet_and_sees_nobody_elses_notes", async () => {
  const mine = await visit(ann, "notes");
  assert.notEqual(await visit(ben, "notes"), mine);
  assert.deepEqual(await notes(ben), []);
  await screenshot(ben.page, "notes-of-another");
});
