"use strict";
// What may be sent to BridgeOffers, rightly and wrongly.

const { NODES, OFFERS, deployment, encode } = require("./registries.js");

const MAX_POLICY_BYTES = 1024;
const MAX_PRICE = (1n << 128n) - 1n;
/** By somebody else than the operator, or for a node that may not be active, this often of a hundred. */
const STRAY = 25;

/** Any bytes at all: the contract reads none of a policy. */
const POLICY_BYTES = [
  () => 0,
  () => 1,
  (random) => random.between(2, 200),
  (random) => random.between(2, 200),
  () => MAX_POLICY_BYTES,
  () => MAX_POLICY_BYTES + 1,
];

/** Offers, a node that is active, mostly, and who operates it, mostly. */
async function speaker(world, random) {
  const { address, nodes } = random.pick(world.offers);
  const first = random.between(0, world.nodes.length - 1);
  let node = world.nodes[first];
  let operator;
  for (const one of [...world.nodes.slice(first), ...world.nodes.slice(0, first)]) {
    const record = await world.read(NODES, nodes, "nodeOf", [one.address]);
    const found = world.operators.find((account) => account.address === record.operator);
    if (!found || record.releaseTime !== 0n) continue;
    [node, operator] = [one, found];
    break;
  }
  if (!operator || random.chance(STRAY)) operator = random.pick(world.operators);
  if (random.chance(STRAY)) node = random.pick(world.nodes);
  return { to: address, from: operator, node };
}

async function announce(world, random) {
  const { to, from, node } = await speaker(world, random);
  const policy = random.bytes(random.turn("policy", POLICY_BYTES)(random)).toString("hex");
  const text = policy.slice(0, policy.length / 2);
  const price = random.turn("price", [0n, 1n, MAX_PRICE]);
  return { from, to, data: encode(OFFERS, "announce", [node.address, price, text]), value: 0n };
}

async function withdraw(world, random) {
  const { to, from, node } = await speaker(world, random);
  return { from, to, data: encode(OFFERS, "withdraw", [node.address]), value: 0n };
}

async function deployOffers(world, random) {
  const registry = random.turn("registry of offers", [...world.nodeRegistries, world.stranger.address]);
  return { from: world.stranger, data: deployment(OFFERS, [registry]), value: 0n };
}

/** What anybody may read. */
async function views(world, random) {
  return { to: random.pick(world.offers).address, data: encode(OFFERS, "nodeRegistry", []) };
}

const ACTIONS = { announceOffer: announce, withdrawOffer: withdraw, deployBridgeOffers: deployOffers };

module.exports = { OFFER_ACTIONS: ACTIONS, offerViews: views };
