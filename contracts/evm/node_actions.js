"use strict";
// What may be sent to a NodeRegistry, rightly and wrongly.

const viem = require("viem");
const { NODES, deployment, encode, signNode } = require("./registries.js");
const { spoiledSignature } = require("./world.js");

const MIN_STAKE = 10n ** 15n;
const DAY_S = 86_400n;
const MAX_CERTIFICATE_BYTES = 4096;
const MAX_ENDPOINT_BYTES = 256;
const MAX_PROFILE_BYTES = 64;
/** What is signed is wrong, this often of a hundred. */
const WRONG = 50;
/** Of another operator, or for a node in another state, this often of a hundred. */
const STRAY = 16;

const text = (random, length) => random.bytes(length).toString("hex").slice(0, length);

function content(world, random) {
  return {
    transportKey: random.hex(32),
    certificate: random.hex(random.chance(5) ? MAX_CERTIFICATE_BYTES : random.between(1, 700)),
    endpoint: text(random, random.chance(5) ? MAX_ENDPOINT_BYTES : random.between(1, 60)),
    profile: text(random, random.chance(5) ? MAX_PROFILE_BYTES : random.between(0, 12)),
    deadline: world.now + DAY_S,
  };
}

/** How a node's statement may be wrong, in one way only: what it says, or how it is signed. */
const FAULTS = [
  { content: () => ({ transportKey: `0x${"00".repeat(32)}` }) },
  { content: () => ({ certificate: "0x" }) },
  { content: (random) => ({ certificate: random.hex(MAX_CERTIFICATE_BYTES + 1) }) },
  { content: () => ({ endpoint: "" }) },
  { content: (random) => ({ endpoint: text(random, MAX_ENDPOINT_BYTES + 1) }) },
  { content: (random) => ({ profile: text(random, MAX_PROFILE_BYTES + 1) }) },
  { content: (random, world) => ({ deadline: world.now - BigInt(random.between(1, 5000)) }) },
  { signer: (world) => world.stranger },
  { operator: (world) => world.stranger.address },
  { nonce: (nonce) => nonce + 1n },
  { nonce: (nonce) => (nonce > 0n ? nonce - 1n : 7n) },
  { signature: spoiledSignature },
  { signature: spoiledSignature },
];

/** Arguments of register and update. */
async function enrolment(world, random, registry, node, operator) {
  const fault = random.chance(WRONG) ? random.turn("enrolment", FAULTS) : {};
  const filling = { ...content(world, random), ...fault.content?.(random, world) };
  const next = await world.read(NODES, registry, "nonces", [node.address]);
  const nonce = fault.nonce?.(next) ?? next;
  const signer = fault.signer?.(world) ?? node;
  const message = { operator: fault.operator?.(world) ?? operator, nonce, ...filling };
  const signed = await signNode(signer, registry, message);
  const signature = fault.signature?.(random, signed) ?? signed;
  const { transportKey, certificate, endpoint, profile, deadline } = filling;
  return [node.address, transportKey, certificate, endpoint, profile, deadline, signature];
}

/** The account that may act for a node, mostly, and by way of which contract, if it is one. */
async function actor(world, random, registry, node) {
  const { operator } = await world.read(NODES, registry, "nodeOf", [node.address]);
  if (random.chance(STRAY)) return { from: random.pick(world.operators) };
  if (world.refusers.includes(operator.toLowerCase())) return { from: world.stranger, through: operator };
  return { from: world.operators.find(({ address }) => address === operator) ?? random.pick(world.operators) };
}

/** A call as it is sent: to the registry, or to the contract that passes it on. */
function sent({ from, through }, to, data, value = 0n) {
  return through ? { from, to: through, data: viem.concat([viem.pad(to, { size: 32 }), data]), value } : { from, to, data, value };
}

/** What a node's record says of it. */
function stateOf({ operator, releaseTime }) {
  if (BigInt(operator) === 0n) return "absent";
  return releaseTime === 0n ? "active" : "unbonding";
}

/** A registry, and one of its nodes, mostly in the state named. */
async function nodeThatIs(state, world, random) {
  const registry = world.nodeRegistries[random.chance(30) ? 1 : 0];
  const first = random.between(0, world.nodes.length - 1);
  const nodes = [...world.nodes.slice(first), ...world.nodes.slice(0, first)];
  if (!random.chance(STRAY)) {
    for (const node of nodes) {
      if (stateOf(await world.read(NODES, registry, "nodeOf", [node.address])) === state) return { registry, node };
    }
  }
  return { registry, node: nodes[0] };
}

/** Who unbonds from the second registry does so for longer than the test takes, so only these may. */
async function nodeToUnbond(world, random) {
  const { registry, node } = await nodeThatIs("active", world, random);
  if (registry === world.nodeRegistries[0]) return { registry, node };
  return { registry, node: random.pick(world.nodes.slice(0, 3)) };
}

async function register(world, random) {
  const { registry, node } = await nodeThatIs("absent", world, random);
  // Such a node is never withdrawn, so that only one of them may be that.
  const refused = node === world.nodes[0];
  const by = refused
    ? { from: world.stranger, through: random.pick(world.refusers) }
    : { from: random.pick(world.operators) };
  const args = await enrolment(world, random, registry, node, by.through ?? by.from.address);
  const value = random.chance(STRAY) ? MIN_STAKE - 1n : MIN_STAKE + BigInt(random.between(0, 1000));
  return sent(by, registry, encode(NODES, "register", args), value);
}

async function update(world, random) {
  const { registry, node } = await nodeThatIs("active", world, random);
  const by = await actor(world, random, registry, node);
  const args = await enrolment(world, random, registry, node, by.through ?? by.from.address);
  return sent(by, registry, encode(NODES, "update", args));
}

/** An action of a node's operator with the node as its only argument. */
const ofOperator = (name, choose, value) => async (world, random) => {
  const { registry, node } = await choose(world, random);
  const by = await actor(world, random, registry, node);
  return sent(by, registry, encode(NODES, name, [node.address]), value(random));
};

async function deployNodes(world, random) {
  const args = random.turn("deployment", [
    [0n, DAY_S],
    [MIN_STAKE, 365n * DAY_S],
    [MIN_STAKE, 365n * DAY_S + 1n],
    [1n, 0n],
  ]);
  return { from: world.stranger, data: deployment(NODES, args), value: 0n };
}

/** What anybody may read. */
async function views(world, random) {
  const node = random.pick([...world.nodes, world.stranger]).address;
  const [name, args] = random.pick([
    ["isActive", [node]],
    ["nodeOf", [node]],
    ["nonces", [node]],
    ["MIN_STAKE", []],
    ["UNBONDING_PERIOD", []],
    ["eip712Domain", []],
  ]);
  return { to: random.pick(world.nodeRegistries), data: encode(NODES, name, args) };
}

const none = () => 0n;
const active = (world, random) => nodeThatIs("active", world, random);
const unbonding = (world, random) => nodeThatIs("unbonding", world, random);
const ACTIONS = {
  register,
  update,
  addStake: ofOperator("addStake", active, (random) => (random.chance(35) ? 0n : BigInt(random.between(1, 1000)))),
  unbond: ofOperator("unbond", nodeToUnbond, none),
  withdraw: ofOperator("withdraw", unbonding, none),
  deployNodeRegistry: deployNodes,
};

module.exports = { DAY_S, MIN_STAKE, NODE_ACTIONS: ACTIONS, nodeViews: views };
