"use strict";
// What may be sent to the contracts of names, rightly and wrongly. The clock is real, so no name expires here: what
// follows from that is left to the tests that move the clock.

const viem = require("viem");
const { CHAIN_ID } = require("./other_vm.js");
const { NAMES, NAME_REGISTRAR, NAME_RESOLVER, REVERSE } = require("./registries.js");
const { below, deployment, encode, nameHash } = require("./registries.js");

const NAME_PRICE = 10n ** 15n;
const MOST = 10n ** 18n;
const YEAR_S = 31_536_000n;
const MONTH_S = 2_592_000n;
const LABELS = ["abc", "abcd", "shop", "shopping", "中文字", "a-b", "z_1", "notes", "mail", "zoo", "x$x", "service", "bücher", "0123"];
const WRONG_LABELS = ["ab", "", "Shop", "a.b", "sh op", "x".repeat(64), "中文"];
const ZERO = `0x${"00".repeat(20)}`;
/** Wrong in one way, this often of a hundred. */
const WRONG = 30;
/** The latest claims that are remembered. */
const KEPT = 24;

const text = (random, length) => random.bytes(length).toString("hex").slice(0, length);
const person = (world, random) => random.pick([...world.operators, ...world.wallets]);
const pick = (world, random) => random.pick(world.names);

function commitmentOf(registrar, { label, owner, duration, target, secret }) {
  const types = ["uint256", "address", "bytes32", "address", "uint64", "address", "bytes32"];
  const values = [BigInt(CHAIN_ID), registrar, viem.keccak256(viem.toHex(label)), owner, duration, target, secret];
  return viem.keccak256(viem.encodeAbiParameters(types.map((type) => ({ type })), values));
}

/** A claim, one that can't be registered if it is to be `wrong`. */
function claim(world, random, bad = random.chance(WRONG)) {
  const wrong = bad ? random.turn("claim", ["label", "label", "owner", "duration"]) : null;
  return {
    label: wrong === "label" ? random.turn("wrong label", WRONG_LABELS) : random.pick(LABELS),
    owner: wrong === "owner" ? ZERO : person(world, random).address,
    duration: wrong === "duration" ? random.pick([0n, MONTH_S - 172_801n, 11n * YEAR_S]) : MONTH_S + BigInt(random.between(0, 10 ** 8)),
    target: random.chance(20) ? ZERO : person(world, random).address,
    secret: random.hex(32),
  };
}

async function commitToName(world, random) {
  const { registrar } = random.chance(50) ? world.names[0] : pick(world, random);
  const from = person(world, random);
  const again = world.claims.length > 0 && random.chance(25) ? random.pick(world.claims) : null;
  const bad = random.chance(WRONG);
  const made = again ?? { registrar, claim: claim(world, random, bad), good: !bad, at: world.now };
  if (!again) {
    world.claims.push(made);
    if (world.claims.length > KEPT) world.claims.shift();
  }
  const data = encode(NAME_REGISTRAR, "commit", [commitmentOf(made.registrar, made.claim)]);
  return { from, to: made.registrar, data, value: 0n };
}

/** What something costs, or what could be enough where it can't be had. */
async function priceOf(world, registrar, label, duration) {
  try {
    const [base, premium] = await world.read(NAME_REGISTRAR, registrar, "rentPrice", [label, duration]);
    // No account has more than that to spare.
    return base + premium < MOST ? base + premium : MOST;
  } catch {
    return 100n * NAME_PRICE;
  }
}

/** A call that pays: enough, too little, too much, or too much by one who can't be paid back. */
function paid(world, random, to, data, price) {
  const from = person(world, random);
  const way = random.turn("payment", ["enough", "enough", "too much", "enough", "too little", "refused"]);
  if (way === "enough") return { from, to, data, value: price };
  if (way === "too little") return { from, to, data, value: price > 0n ? price - 1n : 0n };
  const value = price + BigInt(random.between(1, 10 ** 6));
  if (way === "too much") return { from, to, data, value };
  return { from, to: random.pick(world.refusers), data: viem.concat([viem.pad(to, { size: 32 }), data]), value };
}

async function registerName(world, random) {
  if (world.claims.length === 0) return commitToName(world, random);
  // Mostly the oldest that can be used, of the registry that gives it the time.
  const isUsable = ({ good, registrar, at }) => good && registrar === world.names[0].registrar && world.now > at + 1n;
  const usable = world.claims.find(isUsable);
  // Or the newest, which is too new; or any.
  const other = random.chance(30) ? world.claims.at(-1) : random.pick(world.claims);
  const chosen = usable && random.chance(75) ? usable : other;
  const { registrar, claim: committed } = chosen;
  const changes = chosen !== usable && random.chance(25) ? random.pick([{ owner: world.stranger.address }, { owner: ZERO }, { secret: random.hex(32) }, { label: "other" }]) : {};
  const shown = { ...committed, ...changes };
  const price = await priceOf(world, registrar, shown.label, shown.duration);
  const made = paid(world, random, registrar, encode(NAME_REGISTRAR, "register", [shown]), price);
  if (chosen === usable && made.to === registrar && made.value >= price) {
    usable.good = false;
    world.had.push(shown.label);
  }
  return made;
}

async function renewName(world, random) {
  const { registrar } = pick(world, random);
  const label = random.pick(LABELS);
  const duration = random.chance(WRONG) ? random.pick([0n, 10n * YEAR_S, 2n ** 64n - 1n]) : BigInt(random.between(1, 10 ** 7));
  const price = await priceOf(world, registrar, label, duration);
  return paid(world, random, registrar, encode(NAME_REGISTRAR, "renew", [label, duration]), price);
}

/** A name's node, or one below it, and its owner, or another. */
async function owned(world, random) {
  const known = world.had.length > 0 && random.chance(80);
  const names = known ? world.names[0] : pick(world, random);
  let node = nameHash(`${random.pick(known ? world.had : LABELS)}.conet`);
  if (random.chance(30)) node = below(node, random.pick(["pay", "*"]));
  if (random.chance(8)) node = random.pick([nameHash("conet"), `0x${"00".repeat(32)}`]);
  const owner = await world.read(NAMES, names.registry, "owner", [node]);
  const theirs = [...world.operators, ...world.wallets].find(({ address }) => address === owner);
  return { names, node, from: random.chance(15) ? world.stranger : (theirs ?? person(world, random)) };
}

/** A name below the deepest that there may be. */
function goTooDeep(world, random) {
  const label = random.hex(32);
  const [name, args] = random.pick([
    ["setSubnodeOwner", [world.deepest, label, world.stranger.address]],
    ["setSubnodeRecord", [world.deepest, label, world.stranger.address, world.names[0].resolver, 0n]],
  ]);
  return { from: world.operators[0], to: world.names[0].registry, data: encode(NAMES, name, args), value: 0n };
}

async function changeNode(world, random) {
  if (random.chance(8)) return goTooDeep(world, random);
  const { names, node, from } = await owned(world, random);
  const label = viem.keccak256(viem.toHex(random.pick(["pay", "*"])));
  const to = random.pick([person(world, random).address, from.address]);
  const resolver = random.chance(70) ? names.resolver : random.hex(20);
  const [name, args] = random.turn("change of a node", [
    ["setSubnodeRecord", [node, label, to, resolver, 5n]],
    ["setSubnodeOwner", [node, label, to]],
    ["setSubnodeExpiry", [node, label, world.now + BigInt(random.between(0, 20))]],
    ["setResolver", [node, resolver]],
    ["setOwner", [node, to]],
    ["setTTL", [node, BigInt(random.between(0, 9))]],
    ["setRecord", [node, to, names.resolver, 7n]],
    ["setSubnodeExpiry", [node, viem.keccak256(random.hex(4)), 0n]],
    ["setApprovalForAll", [to, random.chance(50)]],
  ]);
  return { from, to: names.registry, data: encode(NAMES, name, args), value: 0n };
}

async function setRecords(world, random) {
  const { names, node, from } = await owned(world, random);
  const long = random.chance(WRONG);
  const [name, args] = random.turn("records", [
    ["setAddr(bytes32,address)", [node, person(world, random).address]],
    ["setAddr(bytes32,uint256,bytes)", [node, 60n, random.hex(long ? 19 : 20)]],
    ["setAddr(bytes32,uint256,bytes)", [node, 0n, random.hex(long ? 65 : random.between(0, 64))]],
    ["setText", [node, text(random, long ? 65 : 5), text(random, random.between(0, 80))]],
    ["setText", [node, "url", text(random, long ? 1025 : random.between(0, 1024))]],
    ["setContenthash", [node, random.hex(long ? 129 : random.between(0, 128))]],
    ["setName", [node, text(random, long ? 256 : random.between(0, 255))]],
  ]);
  return { from, to: names.resolver, data: encodeOf(NAME_RESOLVER, name, args), value: 0n };
}

/** As `encode`, for one of several functions of the same name. */
function encodeOf(contract, signature, args) {
  const [name, types] = signature.split(/[()]/);
  const inputsOf = ({ inputs }) => inputs.map(({ type }) => type).join(",");
  const abi = contract.abi.filter((item) => item.name === name && (types === undefined || inputsOf(item) === types));
  return viem.encodeFunctionData({ abi, functionName: name, args });
}

async function nameAccount(world, random) {
  const names = pick(world, random);
  const from = person(world, random);
  const account = random.chance(50) ? from.address : person(world, random).address;
  const [name, args] = random.turn("reverse name", [
    ["setName", [`${random.pick(LABELS)}.conet`]],
    ["claim", [account]],
    ["claimWithResolver", [account, names.resolver]],
    ["claimForAddr", [account, from.address, names.resolver]],
    ["setNameForAddr", [account, from.address, random.chance(80) ? names.resolver : world.stranger.address, "shop.conet"]],
  ]);
  return { from, to: names.reverse, data: encode(REVERSE, name, args), value: 0n };
}

async function deployNames(world, random) {
  const terms = random.turn("terms", [
    [NAME_PRICE, 1n, 604_800n],
    [0n, 1n, 2n],
    [NAME_PRICE, 2n, 2n],
    [NAME_PRICE, 1n, 604_801n],
    [2n ** 128n + 1n, 1n, 2n],
  ]);
  return { from: world.stranger, data: deployment(NAMES, terms), value: 0n };
}

const dns = (name) => `0x${name.split(".").map((label) => {
  const bytes = Buffer.from(label);
  return Buffer.concat([Buffer.from([bytes.length]), bytes]).toString("hex");
}).join("")}00`;

/** What anybody may read. */
async function views(world, random) {
  const names = pick(world, random);
  const label = random.pick([...LABELS, ...WRONG_LABELS]);
  const name = random.pick([`${random.pick(LABELS)}.conet`, `pay.${random.pick(LABELS)}.conet`, `x.y.${random.pick(LABELS)}.conet`]);
  const node = nameHash(name);
  const asked = random.pick([
    encodeOf(NAME_RESOLVER, "addr(bytes32)", [node]),
    encodeOf(NAME_RESOLVER, "addr(bytes32,uint256)", [node, 60n]),
    encode(NAME_RESOLVER, "text", [node, "url"]),
    encode(NAME_RESOLVER, "name", [node]),
    random.hex(random.between(0, 40)),
  ]);
  const encoded = random.chance(20) ? random.hex(random.between(0, 300)) : dns(name);
  const [to, data] = random.pick([
    [names.registry, encode(NAMES, random.pick(["owner", "resolver", "ttl", "recordExists", "holder", "expiry", "generation"]), [node])],
    [names.registrar, encode(NAME_REGISTRAR, "rentPrice", [label, BigInt(random.between(0, 10 ** 9))])],
    [names.registrar, encode(NAME_REGISTRAR, random.pick(["available", "nameExpires"]), [label])],
    [names.registrar, encode(NAME_REGISTRAR, "makeCommitment", [claim(world, random)])],
    [names.resolver, encode(NAME_RESOLVER, "resolve", [encoded, asked])],
    [names.resolver, encode(NAME_RESOLVER, "resolve", [encoded, asked])],
    [names.resolver, asked.length >= 10 ? asked : "0x00000000"],
    [names.reverse, encode(REVERSE, "node", [person(world, random).address])],
  ]);
  return { to, data };
}

const ACTIONS = {
  commitToName,
  registerName,
  renewName,
  changeNode,
  setRecords,
  nameAccount,
  deployNameRegistry: deployNames,
};

module.exports = { LABELS, MONTH_S, NAME_ACTIONS: ACTIONS, NAME_PRICE, commitmentOf, nameViews: views };
