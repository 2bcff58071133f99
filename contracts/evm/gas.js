"use strict";
// Gas of each operation, as a transaction of its own, on typical and on greatest input; compared with contracts/gas.md.

const fs = require("node:fs");
const path = require("node:path");
const viem = require("viem");
const { ACCOUNTS, CHAIN_ID, OtherVm } = require("./other_vm.js");
const { Random } = require("./random.js");
const registries = require("./registries.js");

const { NODES, OFFERS, ROUTES, deployment, encode, encodeBatch, leaf, signClear, signNode, signRoute, tree } = registries;
const { NAMES, NAME_REGISTRAR, NAME_RESOLVER, REVERSE, creationsOf, nameHash } = registries;

const FILE = path.join(__dirname, "..", "gas.md");
const START_S = 1_800_000_000;
const YEAR_S = 31_536_000;
const BLOCK_S = 12;
const STAKE = 10n ** 18n;
const NAME_PRICE = 10n ** 16n;
const GAS_LIMIT = 16_000_000n;
const FEE = 10n ** 9n;
/** A v6 certificate with a post-quantum subkey. */
const CERTIFICATE_BYTES = 2048;
/** The most routes of one key ID and one mailbox that a batch can hold. */
const FULL_BATCH = 107;

/** A chain whose clock and contents never differ. */
class Scenario {
  rows = [];
  #vm;
  #random = new Random("gas");
  #blocks = 0;
  #nonces = new Map();

  static async start() {
    const made = new Scenario();
    made.#vm = await OtherVm.start();
    return made;
  }

  get now() {
    return START_S + this.#blocks * BLOCK_S;
  }

  later(seconds) {
    this.#blocks += Math.ceil(seconds / BLOCK_S);
  }

  /** Runs a transaction that must succeed, notes its gas and returns what it created. */
  async operation(name, account, to, data, value = 0n) {
    const nonce = this.#nonces.get(account.address) ?? 0;
    this.#nonces.set(account.address, nonce + 1);
    const fees = { gas: GAS_LIMIT, maxFeePerGas: FEE, maxPriorityFeePerGas: 0n };
    const raw = await account.signTransaction({ type: "eip1559", chainId: CHAIN_ID, nonce, to, data, value, ...fees });
    this.#blocks += 1;
    const header = {
      number: BigInt(this.#blocks),
      timestamp: BigInt(this.now),
      baseFee: FEE,
      mixHash: `0x${"00".repeat(32)}`,
    };
    const { status, gasUsed, created, data: answer } = await this.#vm.run(raw, header);
    if (status !== 1) throw new Error(`${name}: refused with ${answer}`);
    if (name) this.rows.push([name, gasUsed]);
    return created;
  }

  node() {
    const certificate = this.#random.hex(CERTIFICATE_BYTES);
    return {
      transportKey: this.#random.hex(32),
      certificate,
      endpoint: "http://node.example:8080",
      profile: "plain",
      deadline: BigInt(this.now + YEAR_S),
    };
  }

  route(account, sequence, keyIds = 1, mailboxes = 1) {
    return {
      wallet: account.address,
      fingerprint: this.#random.hex(32),
      keyIds: Array.from({ length: keyIds }, () => this.#random.hex(8)),
      mailboxes: Array.from({ length: mailboxes }, () => this.#random.hex(20)),
      sequence: BigInt(sequence),
      expiry: BigInt(this.now + YEAR_S),
    };
  }
}

/** Arguments of register and update, signed by the node. */
async function enrolment(registry, account, operator, nonce, content) {
  const signature = await signNode(account, registry, { operator: operator.address, nonce, ...content });
  const { transportKey, certificate, endpoint, profile, deadline } = content;
  return [account.address, transportKey, certificate, endpoint, profile, deadline, signature];
}

async function nodeOperations(scenario, registry) {
  const [, operator, node] = ACCOUNTS;
  const act = (name, label, args, value) =>
    scenario.operation(label ?? name, operator, registry, encode(NODES, name, args), value);
  await act("register", "register", await enrolment(registry, node, operator, 0n, scenario.node()), STAKE);
  await act("update", "update", await enrolment(registry, node, operator, 1n, scenario.node()));
  await act("addStake", "addStake", [node.address], STAKE);
  await act("unbond", "unbond", [node.address]);
  scenario.later(YEAR_S);
  await act("withdraw", "withdraw", [node.address]);
  // Announces the batches.
  await act("register", "register again", await enrolment(registry, node, operator, 2n, scenario.node()), STAKE);
}

async function routeOperations(scenario, registry) {
  const [, , , bringer, alice, bob, carol] = ACCOUNTS;
  const act = (label, account, name, args) =>
    scenario.operation(label, account, registry, encode(ROUTES, name, args));
  await act("setRoute, first, 1 key ID, 1 mailbox", alice, "setRoute", [scenario.route(alice, 1)]);
  await act("setRoute, renewed", alice, "setRoute", [scenario.route(alice, 2)]);
  await act("setRoute, first, 2 key IDs, 2 mailboxes", bob, "setRoute", [scenario.route(bob, 1, 2, 2)]);
  await act("setRoute, first, 8 key IDs, 3 mailboxes", carol, "setRoute", [scenario.route(carol, 1, 8, 3)]);
  const signed = scenario.route(alice, 3);
  await act("setRouteBySig, renewed", bringer, "setRouteBySig", [signed, await signRoute(alice, registry, signed)]);
  await act("clearRoute", bob, "clearRoute", [2n]);
  const deadline = BigInt(scenario.now + YEAR_S);
  const clear = { wallet: carol.address, sequence: 2n, deadline };
  const signature = await signClear(carol, registry, clear);
  await act("clearRouteBySig", bringer, "clearRouteBySig", [carol.address, 2n, deadline, signature]);
}

async function batchOperations(scenario, registry) {
  const [, , node, bringer] = ACCOUNTS;
  const wallet = ACCOUNTS[7];
  for (const count of [1, 10, FULL_BATCH]) {
    const batch = [];
    for (let i = 0; i < count; i += 1) {
      const route = scenario.route(wallet, i + 1);
      batch.push({ route, signature: await signRoute(wallet, registry, route) });
    }
    const leaves = batch.map(({ route }) => leaf(route));
    const { root, proof } = tree(leaves, count - 1);
    const data = encode(ROUTES, "submitBatch", [root, count, encodeBatch(batch)]);
    await scenario.operation(`submitBatch, ${count} route${count > 1 ? "s" : ""}`, node, registry, data);
    if (count < FULL_BATCH) continue;
    const { route, signature } = batch[count - 1];
    const apply = encode(ROUTES, "applyFromBatch", [root, route, signature, proof]);
    await scenario.operation(`applyFromBatch, first, of ${count} routes`, bringer, registry, apply);
  }
}

async function nameOperations(scenario, { registry, registrar, resolver, reverse }) {
  const [, , , , owner, other] = ACCOUNTS;
  const act = (label, contract, to, name, args, value) =>
    scenario.operation(label, owner, to, encode(contract, name, args), value);
  const claim = {
    label: "shopping",
    owner: owner.address,
    duration: BigInt(YEAR_S),
    target: owner.address,
    secret: scenario.route(owner, 1).fingerprint,
  };
  const commitment = viem.keccak256(
    viem.encodeAbiParameters(
      ["uint256", "address", "bytes32", "address", "uint64", "address", "bytes32"].map((type) => ({ type })),
      [
        BigInt(CHAIN_ID),
        registrar,
        viem.keccak256(viem.toHex(claim.label)),
        claim.owner,
        claim.duration,
        claim.target,
        claim.secret,
      ],
    ),
  );
  await act("commit", NAME_REGISTRAR, registrar, "commit", [commitment]);
  scenario.later(60);
  await act("register a name, 8 characters, saying a wallet", NAME_REGISTRAR, registrar, "register", [claim], NAME_PRICE);
  await act("renew", NAME_REGISTRAR, registrar, "renew", [claim.label, BigInt(YEAR_S)], NAME_PRICE);
  const node = nameHash("shopping.conet");
  await act("setText, 3 and 19 bytes", NAME_RESOLVER, resolver, "setText", [node, "url", "http://shop.conet/a"]);
  await act("setAddr, changed", NAME_RESOLVER, resolver, "setAddr", [node, other.address]);
  const pay = viem.keccak256(viem.toHex("pay"));
  await act("setSubnodeRecord, first", NAMES, registry, "setSubnodeRecord", [node, pay, other.address, resolver, 0n]);
  await act("setName, first", REVERSE, reverse, "setName", ["shopping.conet"]);
  await act("setName, changed", REVERSE, reverse, "setName", ["shopping.conet"]);
  await act("setOwner of a name", NAMES, registry, "setOwner", [node, other.address]);
}

async function offerOperations(scenario, offers) {
  const [, operator, node] = ACCOUNTS;
  const act = (label, name, args) => scenario.operation(label, operator, offers, encode(OFFERS, name, args));
  await act("announce an offer, policy of 22 bytes", "announce", [node.address, 0n, "reject *:25;accept *:*"]);
  await act("announce an offer, policy of 1,024 bytes", "announce", [node.address, 10n ** 15n, "x".repeat(1024)]);
  await act("withdraw an offer", "withdraw", [node.address]);
}

async function measured() {
  const scenario = await Scenario.start();
  const [deployer] = ACCOUNTS;
  const make = (name, contract, args) =>
    scenario.operation(`deploy ${name}`, deployer, undefined, deployment(contract, args));
  const nodes = await make("NodeRegistry", NODES, [STAKE, 14n * 86_400n]);
  const routes = await make("RouteRegistry", ROUTES, [nodes]);
  await nodeOperations(scenario, nodes);
  await routeOperations(scenario, routes);
  await batchOperations(scenario, routes);
  const names = await make("NameRegistry, which deploys the three others", NAMES, [NAME_PRICE, 60n, 86_400n]);
  await nameOperations(scenario, creationsOf(names));
  await offerOperations(scenario, await make("BridgeOffers", OFFERS, [nodes]));
  return scenario.rows;
}

function page(rows) {
  const gas = (used) => used.toLocaleString("en-US");
  const table = rows.map(([name, used]) => `| ${name} | ${gas(used)} |`);
  return `# Gas per operation

Of a transaction of its own, intrinsic gas and calldata included, under the rules of Osaka. Certificates have
${CERTIFICATE_BYTES} bytes, fingerprints 32; routes have one key ID and one mailbox unless stated. Signatures and contents
are fixed; others differ by a few gas for each zero byte.

Written by \`contracts/evm/run gas --renew\`; the gate compares.

| operation | gas |
| --- | ---: |
${table.join("\n")}
`;
}

async function main(args) {
  const renew = args.length === 1 && args[0] === "--renew";
  if (args.length > 0 && !renew) throw new Error("usage: contracts/evm/run gas [--renew]");
  const rows = await measured();
  const text = page(rows);
  if (renew) {
    fs.writeFileSync(FILE, text);
    console.log(`gas: wrote ${rows.length} operations to contracts/gas.md`);
    return;
  }
  const lines = (all) => all.split("\n");
  const committed = fs.existsSync(FILE) ? fs.readFileSync(FILE, "utf8") : "";
  const changed = lines(text).filter((line) => !lines(committed).includes(line));
  const gone = lines(committed).filter((line) => !lines(text).includes(line));
  if (committed !== text) {
    for (const line of gone) console.log(`- ${line}`);
    for (const line of changed) console.log(`+ ${line}`);
    console.log("gas: contracts/gas.md says otherwise: run contracts/evm/run gas --renew and commit if it is meant");
    console.log("test result: FAILED. 0 passed; 1 failed");
    process.exitCode = 1;
    return;
  }
  console.log(`test gas_of_${rows.length}_operations_is_as_committed ... ok`);
  console.log("test result: ok. 1 passed; 0 failed");
}

main(process.argv.slice(2)).catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
