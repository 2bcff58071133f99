"use strict";
// What may be sent to a RouteRegistry, rightly and wrongly.

const { NODES, ROUTES, deployment, encode, encodeBatch, leaf, signClear, signRoute, tree } = require("./registries.js");
const { DAY_S } = require("./node_actions.js");
const { spoiledSignature } = require("./world.js");

const MAX_KEY_IDS = 8;
const MAX_MAILBOXES = 3;
const MAX_BATCH_BYTES = 65_536;
const BATCH_ROUTES = 6;
/** The latest batches and signatures are remembered. */
const KEPT = 24;
/** Looks for a batch that was accepted. */
const TRIES = 4;
/** Wrong in one way, this often of a hundred. */
const WRONG = 35;

const many = (length, one) => Array.from({ length }, one);

/** What the contract must not take of a route, though the wallet has agreed. */
const WRONG_ROUTE = [
  (random) => ({ fingerprint: random.hex(random.pick([0, 19, 21, 31, 33])) }),
  () => ({ keyIds: [] }),
  (random) => ({ keyIds: many(MAX_KEY_IDS + 1, () => random.hex(8)) }),
  (random) => ({ keyIds: [random.hex(8), `0x${"00".repeat(8)}`] }),
  () => ({ mailboxes: [] }),
  (random) => ({ mailboxes: many(MAX_MAILBOXES + 1, () => random.hex(20)) }),
  (random) => ({ mailboxes: [random.hex(20), `0x${"00".repeat(20)}`] }),
  (random, { now }) => ({ expiry: now - BigInt(random.between(0, 5000)) }),
  (random, { sequence }) => ({ sequence: sequence - (random.chance(50) ? 1n : sequence) }),
];

async function route(world, random, registry, wallet, wrong = false) {
  const sequence = 1n + (await world.read(ROUTES, registry, "sequenceOf", [wallet.address]));
  const good = {
    wallet: wallet.address,
    fingerprint: random.hex(random.pick([20, 32])),
    keyIds: many(random.between(1, MAX_KEY_IDS), () => random.hex(8)),
    mailboxes: many(random.between(1, MAX_MAILBOXES), () => random.hex(20)),
    sequence: sequence + BigInt(random.chance(20) ? random.between(0, 5) : 0),
    // Some soon, so that some are read after their end.
    expiry: world.now + (random.chance(15) ? BigInt(random.between(1, 3)) : DAY_S),
  };
  if (!wrong) return good;
  return { ...good, ...random.turn("route", WRONG_ROUTE)(random, { now: world.now, sequence }) };
}

/** A signature that is not the wallet's over these values. */
async function disagreed(world, random, wallet, sign) {
  return random.chance(30) ? sign(world.stranger) : spoiledSignature(random, await sign(wallet));
}

function remember(list, entry) {
  list.push(entry);
  if (list.length > KEPT) list.shift();
}

/** Keeps a call so that it is brought again. */
function bring(world, from, to, data) {
  remember(world.brought, { to, data });
  return { from, to, data, value: 0n };
}

async function setRoute(world, random) {
  const { address } = random.pick(world.routeRegistries);
  const wallet = random.pick(world.wallets);
  const data = encode(ROUTES, "setRoute", [await route(world, random, address, wallet, random.chance(WRONG))]);
  return { from: random.chance(10) ? world.stranger : wallet, to: address, data, value: 0n };
}

async function setRouteBySig(world, random) {
  const { address } = random.pick(world.routeRegistries);
  const wallet = random.pick(world.wallets);
  const set = await route(world, random, address, wallet, random.chance(WRONG));
  const sign = (signer) => signRoute(signer, address, set);
  const signature = await (random.chance(WRONG / 2) ? disagreed(world, random, wallet, sign) : sign(wallet));
  return bring(world, random.pick(world.operators), address, encode(ROUTES, "setRouteBySig", [set, signature]));
}

/** The next sequence of a wallet, or one it has used. */
async function clearing(world, random, address, wallet) {
  const used = await world.read(ROUTES, address, "sequenceOf", [wallet.address]);
  return random.chance(WRONG / 2) ? used : used + BigInt(random.between(1, 3));
}

async function clearRoute(world, random) {
  const { address } = random.pick(world.routeRegistries);
  const wallet = random.pick(world.wallets);
  const sequence = await clearing(world, random, address, wallet);
  return { from: wallet, to: address, data: encode(ROUTES, "clearRoute", [sequence]), value: 0n };
}

async function clearRouteBySig(world, random) {
  const { address } = random.pick(world.routeRegistries);
  const wallet = random.pick(world.wallets);
  const sequence = await clearing(world, random, address, wallet);
  const deadline = random.chance(10) ? world.now - 1n : world.now + DAY_S;
  const message = { wallet: wallet.address, sequence, deadline };
  const sign = (signer) => signClear(signer, address, message);
  const signature = await (random.chance(WRONG / 2) ? disagreed(world, random, wallet, sign) : sign(wallet));
  const data = encode(ROUTES, "clearRouteBySig", [wallet.address, sequence, deadline, signature]);
  return bring(world, random.pick(world.operators), address, data);
}

/** A node that may announce, where there is one. */
async function announcer(world, registry) {
  for (const node of world.nodes) {
    if (await world.read(NODES, registry, "isActive", [node.address])) return node;
  }
  return world.nodes[0];
}

/** How a batch may be wrong. */
const WRONG_BATCH = [
  (random) => ({ root: random.hex(32) }),
  (_, { count }) => ({ count: count + 1 }),
  (_, { bytes }) => ({ bytes: `${bytes}${"00".repeat(32)}` }),
  (_, { bytes }) => ({ bytes: bytes.slice(0, -64) }),
  () => ({ bytes: `0x${"00".repeat(MAX_BATCH_BYTES + 32)}` }),
  () => ({ bytes: encodeBatch([]), count: 0 }),
  () => ({ bytes: `0x${"ff".repeat(MAX_BATCH_BYTES + 1)}` }),
  (random, _, world) => ({ from: random.pick([world.stranger, ...world.nodes]) }),
];

async function signedRoute(world, random, address, bad) {
  const wallet = random.pick(world.wallets);
  const one = await route(world, random, address, wallet, bad && random.chance(50));
  // Far enough ahead that it is still news when it is applied.
  if (!bad) one.sequence += BigInt(random.between(0, 30));
  const sign = (signer) => signRoute(signer, address, one);
  if (!random.chance(WRONG / 2)) return { route: one, signature: await sign(wallet) };
  const signature = await disagreed(world, random, wallet, sign);
  // Of another length it spoils the whole batch.
  return { route: one, signature: bad || signature.length === 132 ? signature : random.hex(65) };
}

async function submitBatch(world, random) {
  const { address, nodes } = random.pick(world.routeRegistries);
  const bad = random.chance(WRONG / 3);
  const batch = [];
  for (let i = random.between(1, BATCH_ROUTES); i > 0; i -= 1) batch.push(await signedRoute(world, random, address, bad));
  const leaves = batch.map((signed) => leaf(signed.route));
  const good = { from: await announcer(world, nodes), root: tree(leaves, 0).root, count: batch.length, bytes: encodeBatch(batch) };
  const wrong = random.chance(WRONG) ? random.turn("batch", WRONG_BATCH)(random, good, world) : {};
  const { from, root, count, bytes } = { ...good, ...wrong };
  remember(world.batches, { address, root, batch, leaves });
  return { from, to: address, data: encode(ROUTES, "submitBatch", [root, count, bytes]), value: 0n };
}

async function applyFromBatch(world, random) {
  if (world.batches.length === 0) return submitBatch(world, random);
  let chosen = random.pick(world.batches);
  for (let tries = 0; tries < TRIES && random.chance(90); tries += 1) {
    if (await world.read(ROUTES, chosen.address, "isBatchRoot", [chosen.root])) break;
    chosen = random.pick(world.batches);
  }
  const { address, root, batch, leaves } = chosen;
  const index = random.between(0, batch.length - 1);
  const { route: one, signature } = batch[index];
  const { proof } = tree(leaves, random.chance(10) ? random.between(0, batch.length - 1) : index);
  const args = [random.chance(8) ? random.hex(32) : root, one, signature, random.chance(8) ? [random.hex(32)] : proof];
  return bring(world, random.pick(world.operators), address, encode(ROUTES, "applyFromBatch", args));
}

/** Brings something once more. */
async function replay(world, random) {
  if (world.brought.length === 0) return setRouteBySig(world, random);
  return { from: random.pick(world.operators), ...random.pick(world.brought), value: 0n };
}

async function deployRoutes(world, random) {
  const registry = random.turn("registry", [...world.nodeRegistries, world.stranger.address]);
  return { from: world.stranger, data: deployment(ROUTES, [registry]), value: 0n };
}

/** What anybody may read. */
async function views(world, random) {
  const { address } = random.pick(world.routeRegistries);
  const wallet = random.pick([...world.wallets, world.stranger]);
  const some = async () => route(world, random, address, wallet, random.chance(10));
  const signed = async () => ({ route: await some(), signature: random.hex(65) });
  const batch = world.batches.length > 0 ? random.pick(world.batches) : { root: random.hex(32), leaves: [random.hex(32)] };
  const [name, args] = await random.pick([
    async () => ["routeOf", [wallet.address]],
    async () => ["routeOf", [wallet.address]],
    async () => ["sequenceOf", [wallet.address]],
    async () => ["routeDigest", [await some()]],
    async () => ["batchLeaf", [await some()]],
    async () => ["batchRoot", [[await signed(), await signed(), await signed()]]],
    async () => ["isBatchRoot", [batch.root]],
    async () => ["isInBatch", [batch.root, batch.leaves[0], tree(batch.leaves, 0).proof]],
    async () => ["nodeRegistry", []],
    async () => ["eip712Domain", []],
  ])();
  return { to: address, data: encode(ROUTES, name, args) };
}

const ACTIONS = {
  setRoute,
  setRouteBySig,
  clearRoute,
  clearRouteBySig,
  submitBatch,
  applyFromBatch,
  replay,
  deployRouteRegistry: deployRoutes,
};

module.exports = { ROUTE_ACTIONS: ACTIONS, routeViews: views };
