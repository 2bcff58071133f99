"use strict";
// The EVM that nobody here wrote, with the accounts and the rules of the local chain.

const { createBlock } = require("@ethereumjs/block");
const { Hardfork, Mainnet, createCustomCommon } = require("@ethereumjs/common");
const { MerkleStateManager } = require("@ethereumjs/statemanager");
const { createTxFromRLP } = require("@ethereumjs/tx");
const { bytesToHex, createAccount, createAddressFromString, hexToBytes } = require("@ethereumjs/util");
const { createVM, runTx } = require("@ethereumjs/vm");
const { mnemonicToAccount } = require("viem/accounts");

/** What crates/chain and the devnet fix. */
const CHAIN_ID = 31_337;
const RULES = Hardfork.Osaka;
const BLOCK_GAS_LIMIT = 30_000_000n;
const MNEMONIC = "test test test test test test test test test test test junk";
const FUNDS = 10_000n * 10n ** 18n;

/** The accounts that have all the money. */
const ACCOUNTS = Array.from({ length: 10 }, (_, addressIndex) => mnemonicToAccount(MNEMONIC, { addressIndex }));

/** What became of a call or a transaction; how it halted is put in words of each EVM's own. */
function ending({ exceptionError, returnValue }) {
  if (!exceptionError) return { end: "returned", data: bytesToHex(returnValue) };
  if (exceptionError.error === "revert") return { end: "reverted", data: bytesToHex(returnValue) };
  return { end: "halted", data: "0x" };
}

class OtherVm {
  #vm;
  #common;

  /** Starts where the local chain starts: nothing but the funded accounts. */
  static async start() {
    const made = new OtherVm();
    made.#common = createCustomCommon({ chainId: CHAIN_ID }, Mainnet, { hardfork: RULES });
    const stateManager = new MerkleStateManager({ common: made.#common });
    made.#vm = await createVM({ common: made.#common, stateManager });
    for (const { address } of ACCOUNTS) {
      await stateManager.putAccount(createAddressFromString(address), createAccount({ balance: FUNDS }));
    }
    await stateManager.flush();
    return made;
  }

  #block({ number, timestamp, baseFee, mixHash }) {
    const header = {
      number,
      timestamp,
      baseFeePerGas: baseFee,
      gasLimit: BLOCK_GAS_LIMIT,
      mixHash: hexToBytes(mixHash),
    };
    return createBlock({ header }, { common: this.#common, skipConsensusFormatValidation: true });
  }

  /** Runs a signed transaction in the block of `header` and keeps what it did. */
  async run(raw, header) {
    const tx = createTxFromRLP(hexToBytes(raw), { common: this.#common });
    const ran = await runTx(this.#vm, { tx, block: this.#block(header) });
    return {
      ...ending(ran.execResult),
      status: ran.receipt.status,
      gasUsed: ran.totalGasSpent,
      created: ran.createdAddress?.toString().toLowerCase() ?? null,
      bloom: bytesToHex(ran.receipt.bitvector),
      logs: ran.receipt.logs.map(([address, topics, data]) => ({
        address: bytesToHex(address),
        topics: topics.map(bytesToHex),
        data: bytesToHex(data),
      })),
    };
  }

  /** Runs a call in the block of `header` and forgets what it did. */
  async call({ from, to, data, value, gas }, header) {
    const evm = this.#vm.evm;
    await evm.journal.checkpoint();
    const ran = await evm.runCall({
      caller: createAddressFromString(from),
      to: createAddressFromString(to),
      data: hexToBytes(data),
      value,
      gasLimit: gas,
      block: this.#block(header),
    });
    await evm.journal.revert();
    await evm.journal.cleanup();
    return ending(ran.execResult);
  }

  async stateRoot() {
    return bytesToHex(await this.#vm.stateManager.getStateRoot());
  }
}

module.exports = { ACCOUNTS, CHAIN_ID, OtherVm };
