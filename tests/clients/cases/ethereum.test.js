"use strict";
// viem speaks JSON-RPC to a chain node that is published at a name.

const assert = require("node:assert/strict");
const net = require("node:net");
const { after, before, test } = require("node:test");
const { ProxyAgent, fetch } = require("undici");
const { createPublicClient, createWalletClient, http, parseEther } = require("viem");
const { mnemonicToAccount, privateKeyToAccount, generatePrivateKey } = require("viem/accounts");
const { DEV_MNEMONIC, status } = require("../../interop/devnet.js");
const { Person } = require("../../interop/person.js");
const { startProxy } = require("../programs.js");
const { isSocketOf, publish } = require("../service.js");

const chain = {
  id: status.chain.chainId,
  name: "devnet",
  nativeCurrency: { name: "Ether", symbol: "ETH", decimals: 18 },
  rpcUrls: { default: { http: ["http://chain.conet/"] } },
};

/** Who connected to the chain's provider, and what was said first. */
const seen = [];
let provider, publisher, proxy;

/** Stands where the provider stands: passes everything to the chain and writes down who asked. */
function startProvider() {
  const { hostname, port } = new URL(status.chain.rpc);
  const server = net.createServer((client) => {
    const visit = { address: client.remoteAddress, isPublisher: isSocketOf(publisher.child.pid, client.remotePort), text: "" };
    seen.push(visit);
    const upstream = net.connect(port, hostname);
    client.on("data", (bytes) => (visit.text += bytes.toString("latin1")));
    client.pipe(upstream).pipe(client);
    for (const socket of [client, upstream]) {
      socket.on("error", () => {
        client.destroy();
        upstream.destroy();
      });
    }
  });
  return new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(server)));
}

after(() => provider.close());

before(async () => {
  provider = await startProvider();
  const at = `127.0.0.1:${provider.address().port}`;
  // The chain answers only who calls it by its address.
  publisher = await publish("chain", "--to", `http://${at}`, "--host-header", at);
  proxy = await startProxy(new Person("trader"));
});

for (const [name, proxyTunnel] of [["by_connect", true], ["in_absolute_form", false]]) {
  test(`viem_reads_a_published_chain_and_sends_a_transaction_${name}`, async () => {
    const dispatcher = new ProxyAgent({ uri: `http://${proxy.http}`, proxyTunnel });
    const transport = http("http://chain.conet/", {
      fetchFn: (url, init) => fetch(url, { ...init, dispatcher }),
      timeout: 30_000,
    });
    const reader = createPublicClient({ chain, transport, pollingInterval: 200 });
    assert.equal(await reader.getChainId(), chain.id);
    const former = await reader.getBlockNumber({ cacheTime: 0 });
    const rich = mnemonicToAccount(DEV_MNEMONIC, { addressIndex: 7 });
    const poor = privateKeyToAccount(generatePrivateKey());
    assert.ok((await reader.getBalance({ address: rich.address })) > parseEther("1"));
    const wallet = createWalletClient({ account: rich, chain, transport });
    const hash = await wallet.sendTransaction({ to: poor.address, value: parseEther("0.25") });
    const receipt = await reader.waitForTransactionReceipt({ hash });
    assert.equal(receipt.status, "success");
    assert.equal(await reader.getBalance({ address: poor.address }), parseEther("0.25"));
    assert.ok((await reader.getBlockNumber({ cacheTime: 0 })) > former);
    await dispatcher.close();
  });
}

test("provider_of_a_published_chain_sees_its_publisher_and_nobody_else", () => {
  assert.ok(seen.length > 0);
  for (const { address, isPublisher, text } of seen) {
    assert.equal(address, "127.0.0.1");
    assert.ok(isPublisher, text.slice(0, 500));
    assert.doesNotMatch(text, /^(via|forwarded|x-forwarded-[a-z]+|x-real-ip|proxy-[a-z]+):/im);
  }
});
