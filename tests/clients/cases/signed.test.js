"use strict";
// What the gateway signs is verified by @slicekit/erc8128 behind a raw service, and by our publisher before an HTTP one.

const assert = require("node:assert/strict");
const { before, test } = require("node:test");
const { pathToFileURL } = require("node:url");
const { verifyMessage } = require("viem");
const { eventually, status, succeed } = require("../../interop/devnet.js");
const { Person } = require("../../interop/person.js");
const { newPage, startBrowser } = require("../browser.js");
const { startProxy } = require("../programs.js");
const { publish } = require("../service.js");
const { serve } = require("../site.js");

/** A place that remembers which nonces it has seen. */
const nonces = new Set();
const nonceStore = {
  async consume(nonce) {
    return !nonces.has(nonce) && Boolean(nonces.add(nonce));
  },
};

/** All requests that came, in their order. */
const seen = [];
let verifyRequest;

/** Says of each request who signed it. */
async function guestbook(request, response) {
  const body = Buffer.concat(await request.toArray());
  const { method, headers } = request;
  const fields = Object.entries(headers).filter(([name]) => !/^(connection|host|content-length|transfer-encoding)$/.test(name));
  const asFetched = new Request(`http://${headers.host}${request.url}`, {
    method,
    headers: fields,
    ...(body.length > 0 ? { body } : {}),
  });
  const verified = await verifyRequest({
    request: asFetched,
    verifyMessage: ({ address, message, signature }) => verifyMessage({ address, message, signature }),
    nonceStore,
    policy: { clockSkewSec: 30 },
  });
  const visit = { method, path: request.url, headers, body: body.toString(), verified, wallet: headers["conet-wallet"] };
  seen.push(visit);
  response.setHeader("content-type", "text/html");
  response.end(`<!doctype html><title>guests</title><form method="post" action="/wrote"><input name="line"></form>`);
}

/** The last request for a path, once it came. */
function visit(path) {
  return eventually(`somebody asks for ${path}`, () => seen.findLast((one) => one.path === path));
}

let ada, bob;

before(async () => {
  const module = require.resolve("@slicekit/erc8128");
  ({ verifyRequest } = await import(pathToFileURL(module)));
  const { at } = await serve(guestbook);
  await Promise.all([
    publish("guests", "--tcp", `80=${at}`),
    publish("visitors", "--to", `http://${at}`),
  ]);
  ada = await Person.stranger("ada");
  bob = await Person.stranger("bob");
  ada.proxy = await startProxy(ada);
  bob.proxy = await startProxy(bob);
});

async function browse(person, url) {
  const page = await newPage(await startBrowser(`http://${person.proxy.http}/proxy.pac`));
  await page.goto(url);
  return page;
}

test("erc8128_verifies_what_a_browser_asks_a_raw_service_through_the_gateway", async () => {
  const page = await browse(ada, "http://guests.conet/first?a=1&b=%20");
  const { verified } = await visit("/first?a=1&b=%20");
  assert.ok(verified.ok, JSON.stringify(verified));
  assert.equal(verified.chainId, status.chain.chainId);
  assert.equal(verified.binding, "request-bound");

  await page.evaluate(() => fetch("/posted", { method: "POST", body: "with a body" }).then((answer) => answer.text()));
  const posted = await visit("/posted");
  assert.ok(posted.verified.ok, JSON.stringify(posted));
  assert.equal(posted.body, "with a body");
  assert.ok(posted.verified.components.includes("content-digest"));
  assert.equal(posted.verified.address, verified.address);

  await page.type("input", "a line");
  await Promise.all([page.waitForNavigation(), page.keyboard.press("Enter")]);
  const wrote = await visit("/wrote");
  assert.ok(wrote.verified.ok, JSON.stringify(wrote));
  assert.equal(wrote.body, "line=a+line");
});

test("erc8128_and_our_publisher_see_one_wallet_for_each_person_and_site", async () => {
  const wallets = new Set();
  for (const person of [ada, bob]) {
    await browse(person, "http://guests.conet/who");
    wallets.add((await visit("/who")).verified.address.toLowerCase());
    await browse(person, "http://visitors.conet/whoelse");
    wallets.add((await visit("/whoelse")).wallet.toLowerCase());
    seen.length = 0;
  }
  assert.equal(wallets.size, 4, [...wallets].join(" "));
  for (const person of [ada, bob]) assert.ok(!wallets.has(person.address.toLowerCase()));
});

test("signature_that_is_sent_again_by_somebody_else_is_refused", async () => {
  await browse(ada, "http://visitors.conet/once");
  const { headers, wallet } = await visit("/once");
  assert.ok(wallet);
  const again = ["signature", "signature-input", "content-digest"].filter((name) => headers[name]);
  assert.ok(again.includes("signature"), "the publisher keeps signatures to itself");
  const eve = await startProxy(new Person("eve"), "--no-sign", "visitors.conet");
  const args = ["-sS", "-o", "/dev/null", "-w", "%{http_code}", "-x", `http://${eve.http}`];
  const fields = again.flatMap((name) => ["-H", `${name}: ${headers[name]}`]);
  const code = (await succeed("curl", [...args, ...fields, "http://visitors.conet/once"])).toString();
  assert.equal(code, "401");
});

test("wallet_that_somebody_claims_by_a_field_is_not_passed_on", async () => {
  const eve = await startProxy(new Person("eva"), "--no-sign", "visitors.conet");
  const forged = ["-H", `Conet-Wallet: ${ada.address}`, "-H", `conet_wallet: ${ada.address}`];
  await succeed("curl", ["-sS", "-x", `http://${eve.http}`, ...forged, "http://visitors.conet/forged"]);
  const { headers } = await visit("/forged");
  assert.ok(!Object.values(headers).includes(ada.address), JSON.stringify(headers));
});

/** What a page of another site can make a browser do. */
const EVIL = `<!doctype html><title>evil</title>
  <img src="http://visitors.conet/image"><iframe name="hidden"></iframe>
  <script>
    fetch("http://visitors.conet/nocors", { method: "POST", mode: "no-cors", body: "transfer everything" }).catch(() => {});
    fetch("http://visitors.conet/cors", { method: "POST", mode: "cors", body: "transfer everything" }).catch(() => {});
    navigator.sendBeacon("http://visitors.conet/beacon", "transfer everything");
    const form = document.createElement("form");
    Object.assign(form, { method: "post", action: "http://visitors.conet/form", target: "hidden" });
    document.body.append(form);
    form.submit();
  </script>`;

test("page_of_another_site_makes_the_gateway_sign_nothing", async () => {
  await serve((_request, response) => response.setHeader("content-type", "text/html").end(EVIL), 80);
  await browse(ada, "http://evil.example/");
  for (const path of ["/image", "/nocors", "/cors", "/beacon", "/form"]) {
    const { wallet, headers } = await visit(path);
    assert.equal(wallet, undefined, path);
    assert.equal(headers.signature, undefined, path);
  }
});
