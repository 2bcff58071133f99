"use strict";
// Chromium as somebody uses it who did nothing but enter the address of a PAC file.

const path = require("node:path");
const { after } = require("node:test");
const puppeteer = require("puppeteer-core");
const { folder } = require("../interop/devnet.js");

const STEP_TIMEOUT_MS = 30_000;
const screenshots = process.env.CONET_CLIENTS_SCREENSHOTS;

const open = [];
after(() => Promise.all(open.map((browser) => browser.close())));

/** Starts a browser with a profile of its own whose proxy is what a PAC file says, or none. */
async function startBrowser(pac) {
  const browser = await puppeteer.launch({
    executablePath: process.env.CONET_CLIENTS_CHROMIUM,
    headless: true,
    userDataDir: folder("chromium"),
    timeout: STEP_TIMEOUT_MS,
    args: [
      ...(pac ? [`--proxy-pac-url=${pac}`] : []),
      "--window-size=1000,700",
      "--disable-dev-shm-usage",
      "--disable-background-networking",
      "--disable-gpu",
      // Root has no sandbox, and the namespaces that the cases run in need root.
      "--no-sandbox",
    ],
  });
  open.push(browser);
  return browser;
}

/** A new tab. */
async function newPage(browser) {
  const page = await browser.newPage();
  page.setDefaultTimeout(STEP_TIMEOUT_MS);
  await page.setViewport({ width: 1000, height: 700 });
  return page;
}

/** Saves what a page looks like. */
function screenshot(page, name) {
  return page.screenshot({ path: path.join(screenshots, `${name}.png`) });
}

module.exports = { newPage, screenshot, startBrowser };
