"use strict";
// viem against the chain that the devnet runs.

const assert = require("node:assert/strict");
const { test } = require("node:test");
const viem = require("viem");
const { mnemonicToAccount } = require("viem/accounts");
const { DEV_MNEMONIC, artifact, eventually, status } = require("../devnet.js");
const { Person } = require("../person.js");

const chain = {
  id: status.chain.chainId,
  name: "devnet",
  nativeCurrency: { name: "Coin", symbol: "COIN", decimals: 18 },
  rpcUrls: { default: { http: [status.chain.rpc] } },
};
const transport = viem.http(status.chain.rpc);
const reader = viem.createPublicClient({ chain, transport, pollingInterval: 100, cacheTime: 0 });
// The last of the funded accounts: the devnet itself pays with the others.
const account = mnemonicToAccount(DEV_MNEMONIC, { addressIndex: 9 });
const payer = viem.createWalletClient({ account, chain, transport });
const stranger = () => viem.getAddress(`0x${require("node:crypto").randomBytes(20).toString("hex")}`);

const registry = artifact("RouteRegistry");
const routes = { address: status.chain.contracts.RouteRegistry, abi: registry.abi };

test("viem_sends_a_transaction_and_gets_its_receipt", async () => {
  assert.equal(await reader.getChainId(), status.chain.chainId);
  const to = stranger();
  assert.equal(await reader.getBalance({ address: to }), 0n);
  const before = await reader.getBalance({ address: account.address });
  const nonce = await reader.getTransactionCount({ address: account.address });
  const hash = await payer.sendTransaction({ to, value: viem.parseEther("1.5") });
  const receipt = await reader.waitForTransactionReceipt({ hash, timeout: 30_000 });
  assert.equal(receipt.status, "success");
  assert.equal(receipt.gasUsed, 21_000n);
  assert.equal(receipt.type, "eip1559");
  assert.equal(await reader.getBalance({ address: to }), viem.parseEther("1.5"));
  const after = await reader.getBalance({ address: account.address });
  assert.equal(after, before - viem.parseEther("1.5") - receipt.gasUsed * receipt.effectiveGasPrice);
  assert.equal(await reader.getTransactionCount({ address: account.address }), nonce + 1);
  const sent = await reader.getTransaction({ hash });
  assert.equal(sent.from.toLowerCase(), account.address.toLowerCase());
  assert.equal(sent.blockHash, receipt.blockHash);
  const block = await reader.getBlock({ blockHash: receipt.blockHash, includeTransactions: true });
  assert.ok(block.transactions.some((transaction) => transaction.hash === hash));
  assert.equal(block.number, receipt.blockNumber);
});

test("viem_estimates_gas_and_fees", async () => {
  assert.equal(await reader.estimateGas({ account, to: stranger(), value: 1n }), 21_000n);
  const newest = await reader.getBlockNumber();
  const history = await reader.getFeeHistory({ blockCount: 3, rewardPercentiles: [10, 50, 90] });
  const counted = newest >= 2n ? 3 : Number(newest) + 1;
  assert.equal(history.baseFeePerGas.length, counted + 1);
  assert.equal(history.gasUsedRatio.length, counted);
  assert.deepEqual(history.reward.map((row) => row.length), Array(counted).fill(3));
  const fees = await reader.estimateFeesPerGas();
  assert.ok(fees.maxFeePerGas > fees.maxPriorityFeePerGas);
  assert.ok((await reader.getGasPrice()) > 0n);
});

test("viem_deploys_and_calls_a_contract", async () => {
  const args = [status.chain.contracts.NodeRegistry];
  const hash = await payer.deployContract({ abi: registry.abi, bytecode: registry.bytecode, args });
  const receipt = await reader.waitForTransactionReceipt({ hash, timeout: 30_000 });
  assert.equal(receipt.status, "success");
  const address = receipt.contractAddress;
  const code = await reader.getCode({ address });
  assert.ok(code.length > 1_000);
  const node = await reader.readContract({ address, abi: registry.abi, functionName: "nodeRegistry" });
  assert.equal(viem.getAddress(node), viem.getAddress(args[0]));
  // The domain binds signatures to this deployment.
  const [, name, version, chainId, contract] = await reader.readContract({
    address,
    abi: registry.abi,
    functionName: "eip712Domain",
  });
  assert.deepEqual([name, version, chainId], ["CONET RouteRegistry", "1", BigInt(chain.id)]);
  assert.equal(viem.getAddress(contract), viem.getAddress(address));
});

test("viem_decodes_the_error_of_a_reverted_call", async () => {
  const route = {
    wallet: stranger(),
    fingerprint: `0x${"11".repeat(32)}`,
    keyIds: [`0x${"22".repeat(8)}`],
    mailboxes: [stranger()],
    sequence: 1n,
    expiry: 4_000_000_000n,
  };
  const simulated = reader.simulateContract({ ...routes, functionName: "setRoute", args: [route], account });
  await assert.rejects(simulated, (error) => {
    const reverted = error.walk((cause) => cause instanceof viem.ContractFunctionRevertedError);
    assert.equal(reverted.data.errorName, "NotRouteWallet");
    assert.equal(viem.getAddress(reverted.data.args[0]), route.wallet);
    return true;
  });
});

test("viem_reads_the_route_that_conet_set", async () => {
  const fromBlock = await reader.getBlockNumber();
  const seen = [];
  const unwatch = reader.watchContractEvent({
    ...routes,
    eventName: "RouteSet",
    fromBlock,
    onLogs: (logs) => seen.push(...logs),
  });
  try {
    const bob = await Person.reachable("bob");
    const isBobs = (log) => viem.isAddressEqual(log.args.wallet, bob.address);
    const watched = await eventually("the event is seen", () => seen.find(isBobs));
    const set = await bob.json("route", "show");
    const shown = await bob.json("wallet", "show");
    const route = await reader.readContract({ ...routes, functionName: "routeOf", args: [bob.address] });
    assert.ok(viem.isAddressEqual(route.wallet, bob.address));
    assert.deepEqual(route.mailboxes.map(viem.getAddress), set.mailboxes.map(viem.getAddress));
    assert.equal(route.fingerprint, `0x${shown.fingerprint.toLowerCase()}`);
    assert.equal(route.keyIds.length, 2);
    assert.ok(route.expiry > BigInt(Math.floor(Date.now() / 1000)));

    const logs = await reader.getContractEvents({
      ...routes,
      eventName: "RouteSet",
      args: { wallet: bob.address },
      fromBlock: 0n,
    });
    assert.equal(logs.length, 1);
    assert.equal(logs[0].transactionHash, watched.transactionHash);
    for (const log of [watched, logs[0]]) {
      const { wallet, ...rest } = log.args;
      const { wallet: same, ...expected } = route;
      assert.ok(viem.isAddressEqual(wallet, same));
      assert.deepEqual(rest, expected);
    }

    // A mailbox brought it; the signature is the wallet's, by viem's own hashing.
    const transaction = await reader.getTransaction({ hash: watched.transactionHash });
    assert.ok(!viem.isAddressEqual(transaction.from, bob.address));
    const call = viem.decodeFunctionData({ abi: registry.abi, data: transaction.input });
    assert.equal(call.functionName, "setRouteBySig");
    const valid = await viem.verifyTypedData({
      address: bob.address,
      domain: { name: "CONET RouteRegistry", version: "1", chainId: chain.id, verifyingContract: routes.address },
      types: {
        Route: registry.abi
          .find((entry) => entry.name === "setRoute")
          .inputs[0].components.map(({ name, type }) => ({ name, type })),
      },
      primaryType: "Route",
      message: call.args[0],
      signature: call.args[1],
    });
    assert.ok(valid);
  } finally {
    unwatch();
  }
});
