"use strict";
// ethers against the chain that the devnet runs, and with the keystores of its wallets.

const assert = require("node:assert/strict");
const fs = require("node:fs");
const path = require("node:path");
const { after, test } = require("node:test");
const { ethers } = require("ethers");
const { DEV_MNEMONIC, artifact, eventually, folder, status } = require("../devnet.js");
const { Person } = require("../person.js");

const PASSWORD = "correct horse";

const provider = new ethers.JsonRpcProvider(status.chain.rpc, undefined, { pollingInterval: 100, cacheTimeout: -1 });
after(() => provider.destroy());
// Not viem's account: their nonces must not meet.
const payer = ethers.HDNodeWallet.fromPhrase(DEV_MNEMONIC, "", "m/44'/60'/0'/0/8").connect(provider);
const registry = artifact("RouteRegistry");

test("ethers_sends_a_transaction_and_waits_for_it", async () => {
  const network = await provider.getNetwork();
  assert.equal(network.chainId, BigInt(status.chain.chainId));
  const to = ethers.Wallet.createRandom().address;
  const sent = await payer.sendTransaction({ to, value: 7n });
  const receipt = await sent.wait(1, 30_000);
  assert.equal(receipt.status, 1);
  assert.equal(await provider.getBalance(to), 7n);
  const block = await provider.getBlock(receipt.blockNumber);
  assert.ok(block.transactions.includes(sent.hash));
  // As before EIP-1559.
  const legacy = await payer.sendTransaction({ to, value: 1n, type: 0 });
  assert.equal((await legacy.wait(1, 30_000)).status, 1);
  assert.equal(await provider.getBalance(to), 8n);
});

test("ethers_waits_for_a_second_confirmation", async () => {
  const to = ethers.Wallet.createRandom().address;
  const first = await payer.sendTransaction({ to, value: 1n });
  const confirmed = first.wait(2, 30_000);
  await (await payer.sendTransaction({ to, value: 1n })).wait(1, 30_000);
  assert.ok((await (await confirmed).confirmations()) >= 2);
});

test("ethers_deploys_a_contract_and_filters_its_events", async () => {
  const factory = new ethers.ContractFactory(registry.abi, registry.bytecode, payer);
  const contract = await factory.deploy(status.chain.contracts.NodeRegistry);
  await contract.waitForDeployment();
  const wallet = ethers.Wallet.createRandom().connect(provider);
  await (await payer.sendTransaction({ to: wallet.address, value: ethers.parseEther("1") })).wait(1, 30_000);

  const heard = [];
  const filter = contract.filters.RouteSet(wallet.address);
  await contract.on(filter, (event) => heard.push(event.log));
  const route = {
    wallet: wallet.address,
    fingerprint: ethers.randomBytes(32),
    keyIds: [ethers.randomBytes(8)],
    mailboxes: [ethers.Wallet.createRandom().address],
    sequence: 5,
    expiry: 4_000_000_000,
  };
  const own = contract.connect(wallet);
  const gas = await own.setRoute.estimateGas(route);
  const receipt = await (await own.setRoute(route)).wait(1, 30_000);
  assert.ok(receipt.gasUsed <= gas, `${receipt.gasUsed} of ${gas}`);
  const [log] = await contract.queryFilter(filter, 0);
  assert.equal(log.transactionHash, receipt.hash);
  assert.equal(log.args.sequence, 5n);
  await eventually("the listener hears it", () => heard.length === 1);
  await contract.off(filter);
  assert.equal(await contract.sequenceOf(wallet.address), 5n);
  const read = await contract.routeOf(wallet.address);
  assert.equal(read.fingerprint, ethers.hexlify(route.fingerprint));

  // The same sequence again is refused, by name.
  await assert.rejects(own.setRoute.staticCall(route), (error) => {
    assert.equal(error.revert.name, "StaleSequence");
    return true;
  });
});

test("ethers_signature_over_a_route_is_taken_by_the_registry", async () => {
  const contract = new ethers.Contract(status.chain.contracts.RouteRegistry, registry.abi, payer);
  const wallet = ethers.Wallet.createRandom();
  const route = {
    wallet: wallet.address,
    fingerprint: ethers.hexlify(ethers.randomBytes(20)),
    keyIds: [ethers.hexlify(ethers.randomBytes(8)), ethers.hexlify(ethers.randomBytes(8))],
    mailboxes: [ethers.Wallet.createRandom().address],
    sequence: 1n,
    expiry: 4_000_000_000n,
  };
  const domain = {
    name: "CONET RouteRegistry",
    version: "1",
    chainId: status.chain.chainId,
    verifyingContract: status.chain.contracts.RouteRegistry,
  };
  const components = registry.abi.find((entry) => entry.name === "setRoute").inputs[0].components;
  const types = { Route: components.map(({ name, type }) => ({ name, type })) };
  assert.equal(await contract.routeDigest(route), ethers.TypedDataEncoder.hash(domain, types, route));
  const signature = await wallet.signTypedData(domain, types, route);
  await assert.rejects(contract.setRouteBySig.staticCall({ ...route, expiry: 4_000_000_001n }, signature));
  const receipt = await (await contract.setRouteBySig(route, signature)).wait(1, 30_000);
  assert.equal(receipt.status, 1);
  assert.equal((await contract.routeOf(wallet.address)).sequence, 1n);
});

test("ethers_opens_the_keystore_of_a_conet_wallet", async () => {
  const alice = await Person.stranger("alice", "v6", PASSWORD);
  const exported = await alice.text("wallet", "export", "--keystore");
  for (const keystore of [JSON.stringify(alice.keystore()), exported]) {
    assert.ok(ethers.isKeystoreJson(keystore));
    const wallet = await ethers.Wallet.fromEncryptedJson(keystore, PASSWORD);
    assert.equal(wallet.address, alice.address);
    await assert.rejects(ethers.Wallet.fromEncryptedJson(keystore, "wrong horse"));
  }
  // And it is the wallet that the words give.
  const words = (await alice.text("wallet", "export", "--mnemonic")).trim();
  assert.equal(ethers.HDNodeWallet.fromPhrase(words).address, alice.address);
});

test("conet_imports_the_keystore_and_the_words_of_an_ethers_wallet", async () => {
  const made = ethers.HDNodeWallet.createRandom();
  const keystore = await made.encrypt(PASSWORD);
  const file = path.join(folder("keystore"), "ethers.json");
  fs.writeFileSync(file, keystore);

  const carol = new Person("carol", PASSWORD);
  const imported = await carol.json("wallet", "import", file, "--label", "carol");
  assert.equal(imported.address, made.address);
  const again = await ethers.Wallet.fromEncryptedJson(JSON.stringify(carol.keystore()), PASSWORD);
  assert.equal(again.privateKey, made.privateKey);

  const wrong = await new Person("mallory", "wrong horse").run(["wallet", "import", file]);
  assert.notEqual(wrong.code, 0);
  assert.equal(wrong.stderr.toString().trim().split("\n").length, 1, `more than one line: ${wrong.stderr}`);

  const dave = new Person("dave");
  const { code, stdout } = await dave.run(["wallet", "import", "-", "--label", "dave", "--index", "3", "--json"], {
    input: made.mnemonic.phrase,
  });
  assert.equal(code, 0);
  const third = ethers.HDNodeWallet.fromPhrase(made.mnemonic.phrase, "", "m/44'/60'/0'/0/3");
  assert.equal(JSON.parse(stdout.toString().trim().split("\n").at(-1)).address, third.address);
});
