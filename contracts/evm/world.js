"use strict";
// What the actions know: who there is, which registries, and what those hold by the other EVM's account.

const { ACCOUNTS } = require("./other_vm.js");
const { decode, encode } = require("./registries.js");

const VIEW_GAS = 25_000_000n;

class World {
  /** Overlap in part: an operator may be its own node, a node may have a route. */
  operators = ACCOUNTS.slice(0, 4);
  nodes = ACCOUNTS.slice(3, 9);
  wallets = ACCOUNTS.slice(6, 9);
  stranger = ACCOUNTS[9];

  /** NodeRegistries by address: the first releases stake at once, the second after a day. */
  nodeRegistries = [];
  /** RouteRegistries `{ address, nodes }`, each with the NodeRegistry that it asks. */
  routeRegistries = [];
  /** BridgeOffers `{ address, nodes }`, each with the NodeRegistry that it asks. */
  offers = [];
  /** Contracts that pass calls on and refuse to be paid. */
  refusers = [];
  /** The latest batches sent, accepted or not: `{ address, root, batch, leaves }`. */
  batches = [];
  /** The latest calls that brought a signature, to be made again. */
  brought = [];

  /** The contracts of names `{ registry, resolver, registrar, reverse }`. */
  names = [];
  /** The latest claims that were committed to `{ registrar, claim }`. */
  claims = [];
  /** Labels that were probably registered with the first of them. */
  had = [];
  /** A node of as many labels as there may be. */
  deepest;

  /** The newest block. */
  header;

  #vm;
  constructor(vm) {
    this.#vm = vm;
  }

  get now() {
    return this.header.timestamp;
  }

  async read(contract, to, name, args) {
    const call = { from: this.stranger.address, to, data: encode(contract, name, args), value: 0n, gas: VIEW_GAS };
    const { end, data } = await this.#vm.call(call, this.header);
    if (end !== "returned") throw new Error(`${name} ${end}: ${data}`);
    return decode(contract, name, data);
  }
}

/** Turns a good signature into one that must not work. */
function spoiledSignature(random, signature) {
  const body = signature.slice(2);
  const ORDER = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;
  return random.turn("spoiled signature", [
    () => `0x${body.slice(0, -2)}`,
    () => `0x${body}00`,
    () => "0x",
    () => `0x${"00".repeat(65)}`,
    () => random.hex(65),
    // Recovers to the same signer, but with a high s.
    () => {
      const s = (ORDER - BigInt(`0x${body.slice(64, 128)}`)).toString(16).padStart(64, "0");
      return `0x${body.slice(0, 64)}${s}${body.slice(128) === "1b" ? "1c" : "1b"}`;
    },
    // The recovery id as 0 or 1.
    () => `0x${body.slice(0, 128)}${body.slice(128) === "1b" ? "00" : "01"}`,
    () => {
      const at = 2 * random.between(0, 63);
      const byte = (parseInt(body.slice(at, at + 2), 16) ^ (1 << random.between(0, 7))).toString(16);
      return `0x${body.slice(0, at)}${byte.padStart(2, "0")}${body.slice(at + 2)}`;
    },
  ])();
}

module.exports = { World, spoiledSignature };
