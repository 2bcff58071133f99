"use strict";
// The same random transactions, rightly and wrongly made, on the local chain (revm) and on an EVM that nobody here wrote:
// what each returns or reverts with, its status, gas, logs and bloom, the state root after it and what is read in between
// must be the same. The seed decides everything but the clock, which both take from the local chain's blocks.

const assert = require("node:assert/strict");
const { bendings, floorGas } = require("./bending.js");
const { Coverage } = require("./coverage.js");
const { LocalChain } = require("./local_chain.js");
const viem = require("viem");
const { MONTH_S, NAME_ACTIONS, NAME_PRICE, commitmentOf, nameViews } = require("./name_actions.js");
const { DAY_S, MIN_STAKE, NODE_ACTIONS, nodeViews } = require("./node_actions.js");
const { OFFER_ACTIONS, offerViews } = require("./offer_actions.js");
const { ACCOUNTS, CHAIN_ID, OtherVm } = require("./other_vm.js");
const { Random } = require("./random.js");
const { NAMES, NAME_REGISTRAR, NODES, OFFERS, ROUTES, below, creationsOf, deployment, encode, nameHash } = require("./registries.js");
const { ROUTE_ACTIONS, routeViews } = require("./route_actions.js");
const { World } = require("./world.js");

const DEFAULT_SEED = "2";
/** So many at least; then on until each error and event has occurred, to this many times as many. */
const DEFAULT_TRANSACTIONS = 300;
const PATIENCE = 6;
const VIEWS_PER_TRANSACTION = 2;
const GAS_LIMIT = 8_000_000n;
const FEE = 20n * 10n ** 9n;
/** Bent after it was made, this often of a hundred. */
const BENT = 12;

const WEIGHTS = [
  [10, "register"],
  [4, "update"],
  [3, "addStake"],
  [6, "unbond"],
  [9, "withdraw"],
  [2, "deployNodeRegistry"],
  [5, "setRoute"],
  [6, "setRouteBySig"],
  [3, "clearRoute"],
  [4, "clearRouteBySig"],
  [8, "submitBatch"],
  [8, "applyFromBatch"],
  [3, "replay"],
  [2, "deployRouteRegistry"],
  [9, "commitToName"],
  [10, "registerName"],
  [5, "renewName"],
  [9, "changeNode"],
  [6, "setRecords"],
  [4, "nameAccount"],
  [2, "deployNameRegistry"],
  [5, "announceOffer"],
  [3, "withdrawOffer"],
  [2, "deployBridgeOffers"],
];
const ACTIONS = { ...NODE_ACTIONS, ...ROUTE_ACTIONS, ...NAME_ACTIONS, ...OFFER_ACTIONS };
const VIEWS = [nodeViews, routeViews, nameViews, offerViews];
/** The most labels of a name. */
const MAX_LABELS = 16;

/**
 * Deploys a contract that passes its calldata after the first word on to the address in that word, with the value
 * and the answer, and reverts without calldata, so that it can't be paid.
 */
const REFUSER = [
  "0x6028806009", // 40 bytes from byte 9 on
  "5f395ff3", // copied and returned: the code below
  "366007575f5ffd5b", // reverts unless there is calldata
  "60203603806020", // its length without the first word, twice
  "5f37", // copied to memory
  "5f5f915f345f355af1", // CALL(gas, first word, value, memory, length)
  "3d5f5f3e", // the answer to memory
  "6024573d5ffd", // reverts with it if the call did
  "5b3d5ff3", // or returns it
].join("");

const REGISTRY_SECRET = `0x${"11".repeat(32)}`;

/** Both chains side by side; everything goes to both and must come back the same from both. */
class Pair {
  header;
  #local;
  #other;
  #nonces = new Map();

  static async start(local) {
    const pair = new Pair();
    pair.#local = local;
    pair.#other = await OtherVm.start();
    pair.header = await local.header();
    assert.equal(await pair.#other.stateRoot(), pair.header.stateRoot, "state root of the first block");
    return pair;
  }

  get other() {
    return this.#other;
  }

  async call(call) {
    const [local, other] = await Promise.all([this.#local.call(call), this.#other.call(call, this.header)]);
    assert.deepEqual(other, local, "what a call comes to");
    return local;
  }

  async send({ from, to, data, value, gas = GAS_LIMIT }) {
    const nonce = this.#nonces.get(from.address) ?? 0;
    this.#nonces.set(from.address, nonce + 1);
    const fees = { gas, maxFeePerGas: FEE, maxPriorityFeePerGas: 0n };
    const raw = await from.signTransaction({ type: "eip1559", chainId: CHAIN_ID, nonce, to, data, value, ...fees });
    const { receipt, header } = await this.#local.send(raw);
    assert.equal(header.number, this.header.number + 1n, "a block for each transaction");
    this.header = header;
    assert.equal(this.header.transactions, 1, "a transaction in each block");
    const { end, data: answer, ...same } = await this.#other.run(raw, this.header);
    assert.deepEqual(same, receipt, "what a transaction did");
    assert.deepEqual(same.gasUsed, this.header.gasUsed, "gas of the block");
    assert.deepEqual(same.bloom, this.header.bloom, "bloom of the block");
    assert.equal(await this.#other.stateRoot(), this.header.stateRoot, "state root");
    return { end, data: answer, ...same };
  }
}

/** Deploys what the actions act on: registries with short and long unbonding, and accounts that can't be paid. */
async function furnish(pair, world) {
  const [from] = ACCOUNTS;
  const make = async (data) => (await pair.send({ from, data, value: 0n })).created;
  for (const period of [0n, DAY_S]) {
    const nodes = await make(deployment(NODES, [MIN_STAKE, period]));
    world.nodeRegistries.push(nodes);
    world.routeRegistries.push({ address: await make(deployment(ROUTES, [nodes])), nodes });
    world.offers.push({ address: await make(deployment(OFFERS, [nodes])), nodes });
    world.refusers.push(await make(REFUSER));
  }
  // In one a commitment lasts for as long as the test, in the other it is soon too old.
  for (const greatest of [604_800n, 3n]) {
    world.names.push(creationsOf(await make(deployment(NAMES, [NAME_PRICE, 1n, greatest]))));
  }
  await goDeep(pair, world);
}

/** Makes names below names for as far as it goes. */
async function goDeep(pair, world) {
  const { registry, registrar } = world.names[0];
  const [from] = ACCOUNTS;
  const act = async (to, data, value = 0n) => {
    const { status } = await pair.send({ from, to, data, value });
    assert.equal(status, 1, "names below names");
  };
  const claim = { label: "deep", owner: from.address, duration: MONTH_S, target: from.address, secret: REGISTRY_SECRET };
  await act(registrar, encode(NAME_REGISTRAR, "commit", [commitmentOf(registrar, claim)]));
  await new Promise((resolve) => setTimeout(resolve, 2000));
  await act(registrar, encode(NAME_REGISTRAR, "register", [claim]), 10n * NAME_PRICE);
  let node = nameHash("deep.conet");
  for (let labels = 2; labels < MAX_LABELS; labels += 1) {
    await act(registry, encode(NAMES, "setSubnodeOwner", [node, viem.keccak256(viem.toHex("a")), from.address]));
    node = below(node, "a");
  }
  world.deepest = node;
}

/** Makes the next transaction and what is looked at after it. */
async function step(pair, world, random, coverage) {
  world.header = pair.header;
  const name = random.weighted(WEIGHTS);
  let transaction = await ACTIONS[name](world, random);
  const bending = random.chance(BENT) ? random.turn("bending", Object.keys(bendings)) : null;
  if (bending) transaction = bendings[bending](random, transaction);
  const label = bending ? `${name}, ${bending}` : name;
  try {
    // A transaction has no answer that could be read, so the same is called before. A starved one is not: the gas of
    // a call's envelope is not counted alike.
    const { from, to, gas } = transaction;
    let tried = null;
    if (to && !gas) tried = await pair.call({ ...transaction, from: from.address, gas: GAS_LIMIT - floorGas(transaction) });
    const done = await pair.send(transaction);
    coverage.note(bending ? "bent" : name, done, tried);
    world.header = pair.header;
    for (let i = 0; i < VIEWS_PER_TRANSACTION; i += 1) {
      const view = await random.pick(VIEWS)(world, random);
      const read = await pair.call({ from: world.stranger.address, value: 0n, gas: GAS_LIMIT, ...view });
      coverage.note("view", { status: read.end === "returned" ? 1 : 0, logs: [], ...read });
    }
  } catch (error) {
    throw new Error(`${label}, ${JSON.stringify({ ...transaction, from: transaction.from.address }, plain)}`, { cause: error });
  }
}

const plain = (_, value) => (typeof value === "bigint" ? String(value) : value);

function options(args) {
  const chosen = { seed: DEFAULT_SEED, transactions: DEFAULT_TRANSACTIONS };
  for (let i = 0; i < args.length; i += 2) {
    const name = args[i].slice(2);
    if (!args[i].startsWith("--") || !(name in chosen) || args[i + 1] === undefined) {
      throw new Error("usage: contracts/evm/run differential [--seed TEXT] [--transactions N]");
    }
    chosen[name] = args[i + 1];
  }
  const transactions = Number(chosen.transactions);
  if (!Number.isSafeInteger(transactions) || transactions < 0) throw new Error("--transactions takes a number");
  return { seed: chosen.seed, transactions };
}

async function main(args) {
  const { seed, transactions } = options(args);
  console.log(`differential: seed ${seed}`);
  // Fewer need not meet everything.
  const whole = transactions >= DEFAULT_TRANSACTIONS;
  const random = new Random(seed);
  const coverage = new Coverage();
  const local = await LocalChain.start(process.env.CONET_EVM_BIN);
  try {
    const pair = await Pair.start(local);
    const world = new World(pair.other);
    await furnish(pair, world);
    const goesOn = (done) =>
      done < transactions || (whole && !coverage.complete && done < PATIENCE * transactions);
    let done = 0;
    for (; goesOn(done); done += 1) {
      try {
        await step(pair, world, random, coverage);
      } catch (error) {
        throw new Error(`transaction ${done + 1} of seed ${seed}`, { cause: error });
      }
    }
    console.log(`differential: ${done} transactions`);
  } finally {
    await local.stop();
  }
  const missing = coverage.report(whole);
  if (missing > 0) process.exitCode = 1;
}

main(process.argv.slice(2)).catch((error) => {
  console.error(error);
  console.log("test result: FAILED. 0 passed; 1 failed");
  process.exitCode = 1;
});
