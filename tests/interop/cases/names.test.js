"use strict";
// ethers' own ENS code, told where our NameRegistry is, against names that the command line registered.

const assert = require("node:assert/strict");
const { after, before, test } = require("node:test");
const { ethers } = require("ethers");
const { DEV_MNEMONIC, artifact, status } = require("../devnet.js");
const { Person } = require("../person.js");

const { rpc, chainId, contracts } = status.chain;
const network = new ethers.Network("conet", chainId);
network.attachPlugin(new ethers.EnsPlugin(contracts.NameRegistry, chainId));
const provider = new ethers.JsonRpcProvider(rpc, network, { staticNetwork: network, cacheTimeout: -1 });
after(() => provider.destroy());
// Not that of the other cases: their nonces must not meet.
const payer = ethers.HDNodeWallet.fromPhrase(DEV_MNEMONIC, "", "m/44'/60'/0'/0/7").connect(provider);

const at = (name, address) => new ethers.Contract(address, artifact(name).abi, payer);
const mined = async (sent) => (await sent).wait(1, 30_000);
const registry = at("NameRegistry", contracts.NameRegistry);
let resolver;

/** Registers a name by the contracts alone, as somebody without our programs would. */
async function registerByHand(label, target) {
  const registrar = at("NameRegistrar", await registry.owner(ethers.namehash("conet")));
  const claim = { label, owner: payer.address, duration: 31_536_000, target, secret: ethers.randomBytes(32) };
  await mined(registrar.commit(await registrar.makeCommitment(claim)));
  const [base, premium] = await registrar.rentPrice(label, claim.duration);
  const age = Number(await registrar.MIN_COMMITMENT_AGE());
  await new Promise((resolve) => setTimeout(resolve, 1000 * (age + 1)));
  await mined(registrar.register(claim, { value: base + premium }));
}

let alice;
before(async () => {
  const registrar = at("NameRegistrar", await registry.owner(ethers.namehash("conet")));
  resolver = at("NameResolver", await registrar.resolver());
  alice = await Person.stranger("alice");
  await alice.json("name", "register", "ethers-shop", "--main");
});

test("ethers_resolves_a_name_that_the_command_line_registered", async () => {
  assert.equal(await provider.resolveName("ethers-shop.conet"), ethers.getAddress(alice.address));
  assert.equal(await provider.resolveName("Ethers-SHOP.conet"), ethers.getAddress(alice.address), "in any case");
  assert.equal(await provider.resolveName("nobodys-name.conet"), null);
});

test("ethers_finds_the_name_of_a_wallet", async () => {
  assert.equal(await provider.lookupAddress(ethers.getAddress(alice.address)), "ethers-shop.conet");
  assert.equal(await provider.lookupAddress(ethers.Wallet.createRandom().address), null);
});

test("command_line_resolves_a_name_that_ethers_registered", async () => {
  await registerByHand("by-hand", alice.address);
  const { wallet, owner } = await alice.json("name", "resolve", "by-hand.conet");
  assert.equal(wallet, alice.address);
  assert.equal(ethers.getAddress(owner), payer.address);
});

test("ethers_reads_texts_other_chains_and_the_content_of_a_name", async () => {
  await registerByHand("texts", payer.address);
  const node = ethers.namehash("texts.conet");
  await mined(resolver.setText(node, "url", "http://texts.conet/"));
  // ENSIP-11: the address on the chain of ID 10.
  await mined(resolver["setAddr(bytes32,uint256,bytes)"](node, 0x80000000 + 10, alice.address));
  const cid = "0xe3010170122029f2d17be6139079dc48696d1f582a8530eb9805b561eda517e22a892c7e3f1f";
  await mined(resolver.setContenthash(node, cid));
  const found = await provider.getResolver("texts.conet");
  assert.equal(await found.getText("url"), "http://texts.conet/");
  assert.equal(await found.getAddress(10), ethers.getAddress(alice.address));
  assert.match(await found.getContentHash(), /^ipfs:\/\/Qm/);
});

test("ethers_and_the_command_line_agree_on_names_below_a_name", async () => {
  await registerByHand("parent", payer.address);
  const node = ethers.namehash("parent.conet");
  for (const [label, wallet] of [["own", alice.address], ["*", payer.address]]) {
    await mined(registry.setSubnodeRecord(node, ethers.id(label), payer.address, resolver.target, 0));
    await mined(resolver["setAddr(bytes32,address)"](ethers.keccak256(ethers.concat([node, ethers.id(label)])), wallet));
  }
  for (const [name, wallet] of [
    ["own.parent.conet", alice.address],
    ["any.parent.conet", payer.address],
    ["very.other.parent.conet", payer.address],
  ]) {
    assert.equal(await provider.resolveName(name), ethers.getAddress(wallet), name);
    const said = await alice.json("name", "resolve", name);
    assert.equal(ethers.getAddress(said.wallet), ethers.getAddress(wallet), name);
  }
});

test("names_that_look_alike_are_refused_by_both", async () => {
  for (const deceit of ["ethers-ѕhop.conet", "ethers-sh\u200dop.conet", "xn--shp-ula.conet"]) {
    await assert.rejects(async () => provider.resolveName(deceit), undefined, deceit);
    const { code } = await alice.run(["name", "resolve", deceit]);
    assert.equal(code, 2, deceit);
  }
});
