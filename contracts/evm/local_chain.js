"use strict";
// The local chain (revm) as a process of its own, spoken to by JSON-RPC.

const { spawn } = require("node:child_process");
const fs = require("node:fs");
const net = require("node:net");
const os = require("node:os");
const path = require("node:path");

const START_TIMEOUT_MS = 30_000;
const STOP_TIMEOUT_MS = 10_000;
const ANSWER_TIMEOUT_MS = 20_000;
/** Where Linux keeps files in memory. */
const MEMORY = "/dev/shm";
/** Geth's code of a revert. */
const REVERTED = 3;
/** The code of a call that ran out of gas or met an invalid opcode. */
const HALTED = -32_000;

const hex = (number) => `0x${number.toString(16)}`;
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function freePort() {
  return new Promise((resolve, reject) => {
    const server = net.createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

class LocalChain {
  #process;
  #folder;
  #url;
  #last = 0;

  static async start(program) {
    const chain = new LocalChain();
    // It syncs each block to disk, which is not what is tested here.
    const place = fs.existsSync(MEMORY) ? MEMORY : os.tmpdir();
    chain.#folder = fs.mkdtempSync(path.join(place, "conet-evm-"));
    const listen = `127.0.0.1:${await freePort()}`;
    const args = ["devnet", "chain", "--dir", chain.#folder, "--listen", listen, "--block-time", "0", "--kind", "revm"];
    chain.#url = `http://${listen}`;
    // It ends when its stdin does, so it never outlives us.
    chain.#process = spawn(program, args, { stdio: ["pipe", "inherit", "inherit"] });
    chain.#process.once("error", (error) => console.error(`${program}: ${error.message}`));
    const deadline = Date.now() + START_TIMEOUT_MS;
    for (;;) {
      try {
        await chain.ask("eth_chainId");
        return chain;
      } catch (error) {
        const over = chain.#process.exitCode !== null || Date.now() > deadline;
        if (over) {
          await chain.stop();
          throw new Error("the local chain did not start", { cause: error });
        }
        await pause(50);
      }
    }
  }

  async stop() {
    const gone = new Promise((resolve) => this.#process.once("exit", resolve));
    this.#process.stdin.end();
    if (this.#process.exitCode === null) await Promise.race([gone, pause(STOP_TIMEOUT_MS)]);
    if (this.#process.exitCode === null) this.#process.kill("SIGKILL");
    fs.rmSync(this.#folder, { recursive: true, force: true });
  }

  async #exchange(method, params) {
    this.#last += 1;
    const answer = await fetch(this.#url, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ jsonrpc: "2.0", id: this.#last, method, params }),
      signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS),
    });
    return answer.json();
  }

  async ask(method, ...params) {
    const { result, error } = await this.#exchange(method, params);
    if (error) throw new Error(`${method}: ${error.message}`);
    return result;
  }

  /** The newest block's header. */
  async header() {
    const block = await this.ask("eth_getBlockByNumber", "latest", false);
    return {
      number: BigInt(block.number),
      timestamp: BigInt(block.timestamp),
      baseFee: BigInt(block.baseFeePerGas),
      gasUsed: BigInt(block.gasUsed),
      mixHash: block.mixHash,
      stateRoot: block.stateRoot,
      bloom: block.logsBloom,
      transactions: block.transactions.length,
    };
  }

  /** Sends a signed transaction, which is then in the newest block; returns its receipt and that block's header. */
  async send(raw) {
    const hash = await this.ask("eth_sendRawTransaction", raw);
    const [receipt, header] = await Promise.all([this.ask("eth_getTransactionReceipt", hash), this.header()]);
    const done = {
      status: Number(receipt.status),
      gasUsed: BigInt(receipt.gasUsed),
      created: receipt.contractAddress?.toLowerCase() ?? null,
      bloom: receipt.logsBloom,
      logs: receipt.logs.map(({ address, topics, data }) => ({ address: address.toLowerCase(), topics, data })),
    };
    return { receipt: done, header };
  }

  /** Tries a call on the newest state, in the newest block. */
  async call({ from, to, data, value, gas }) {
    const call = { from, to, data, value: hex(value), gas: hex(gas) };
    const { result, error } = await this.#exchange("eth_call", [call, "latest"]);
    if (!error) return { end: "returned", data: result };
    if (error.code === REVERTED) return { end: "reverted", data: error.data };
    if (error.code === HALTED) return { end: "halted", data: "0x" };
    throw new Error(`eth_call: ${error.message}`);
  }
}

module.exports = { LocalChain };
