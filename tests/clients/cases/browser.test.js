"use strict";
// Chromium with the PAC file opens a web site through the bridges.

const assert = require("node:assert/strict");
const { before, test } = require("node:test");
const { Person } = require("../../interop/person.js");
const { newPage, screenshot, startBrowser } = require("../browser.js");
const { startProxy } = require("../programs.js");
const { serve } = require("../site.js");

const PICTURES = 24;
const STYLE = `body { font: 18px sans-serif; margin: 2em; background: #f4f7fa }
  h1 { color: #1b4965 } img { width: 90px; height: 60px; margin: 4px }`;
const SCRIPT = `import { words } from "/words.js";
  document.querySelector("#words").textContent = words;
  const answer = await fetch("/answer", { method: "POST", body: "a question" });
  document.querySelector("#answer").textContent = await answer.text();
  document.title = "all is there";`;

function picture(n) {
  const hue = Math.round((360 * n) / PICTURES);
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 90 60"><rect width="90" height="60" rx="8"
    fill="hsl(${hue} 60% 55%)"/><text x="45" y="38" fill="white" font-size="24" text-anchor="middle">${n}</text></svg>`;
}

const asked = [];

async function site(request, response) {
  asked.push(request);
  // Each object comes over a connection of its own, and those are striped.
  response.shouldKeepAlive = false;
  const say = (type, text) => response.writeHead(200, { "content-type": type, "cache-control": "no-store" }).end(text);
  const { pathname, searchParams } = new URL(request.url, "http://web.example");
  if (pathname === "/style.css") return say("text/css", STYLE);
  if (pathname === "/main.js") return say("text/javascript", SCRIPT);
  if (pathname === "/words.js") return say("text/javascript", `export const words = "a module said this";`);
  if (pathname === "/picture.svg") return say("image/svg+xml", picture(Number(searchParams.get("n"))));
  if (pathname === "/answer") {
    const question = Buffer.concat(await request.toArray()).toString();
    return say("text/plain", `you asked “${question}”`);
  }
  if (pathname !== "/") return response.writeHead(404).end();
  const pictures = Array.from({ length: PICTURES }, (_, n) => `<img src="/picture.svg?n=${n}">`).join("");
  return say("text/html; charset=utf-8", `<!doctype html><title>not yet</title><link rel="stylesheet" href="/style.css">
    <link rel="icon" href="/picture.svg?n=0"><h1>A site on the ordinary web</h1><p id="words"><p id="answer">
    <p>${pictures}<script type="module" src="/main.js"></script>`);
}

let proxy;

before(async () => {
  await serve(site, 80);
  proxy = await startProxy(new Person("surfer"));
});

test("chromium_with_the_pac_file_shows_a_site_with_all_its_objects_through_both_bridges", async () => {
  const browser = await startBrowser(`http://${proxy.http}/proxy.pac`);
  const page = await newPage(browser);
  const broken = [];
  page.on("requestfailed", (request) => broken.push(request.url()));
  page.on("pageerror", (error) => broken.push(error.message));
  await page.goto("http://web.example/", { waitUntil: "networkidle0" });
  await page.waitForFunction(() => document.title === "all is there");
  await screenshot(page, "web");
  assert.deepEqual(broken, []);
  const text = await page.evaluate(() => document.body.innerText);
  assert.match(text, /a module said this/);
  assert.match(text, /you asked “a question”/);
  const loaded = await page.evaluate(() => [...document.images].filter((image) => image.naturalWidth > 0).length);
  assert.equal(loaded, PICTURES);
  // The style came, too.
  assert.equal(await page.$eval("h1", (title) => getComputedStyle(title).color), "rgb(27, 73, 101)");

  for (const { headers } of asked) {
    const told = Object.keys(headers).filter((name) => /^(via|forwarded|x-forwarded|proxy-)/.test(name));
    assert.deepEqual(told, []);
  }
  const { traffic } = await (await fetch(`http://${proxy.http}/status.json`)).json();
  assert.equal(Object.keys(traffic.bridges).length, 2, JSON.stringify(traffic));
});

test("chromium_without_the_pac_file_finds_no_such_site", async () => {
  const page = await newPage(await startBrowser());
  await assert.rejects(page.goto("http://web.example/"), /ERR_NAME_NOT_RESOLVED|ERR_INTERNET_DISCONNECTED/);
});

test("chromium_shows_in_the_proxys_words_why_a_site_can_not_be_had", async () => {
  const page = await newPage(await startBrowser(`http://${proxy.http}/proxy.pac`));
  for (const [url, status, words] of [
    ["http://nobody.example.com/", 502, /there is no host of this name/],
    ["http://10.0.0.1/", 403, /does not let connections to this address/],
  ]) {
    const answer = await page.goto(url);
    assert.equal(answer.status(), status);
    assert.match(await page.evaluate(() => document.body.innerText), words);
  }
  await screenshot(page, "refused");
});
