"use strict";
// Ways to bend a transaction after it was made, so that decoding, gas and payment go wrong too.

const INTRINSIC_GAS = 21_000n;
const CREATION_GAS = 32_000n;
const INIT_WORD_GAS = 2n;
/** EIP-7623: what a token of calldata costs at most and at least; a byte that is not zero counts four. */
const TOKEN_GAS = 4n;
const FLOOR_TOKEN_GAS = 10n;
/** What a starved transaction may have above the least that is let in. */
const SPARE_GAS = 60_000;

/** The least gas with which a transaction is let in (EIP-2028, EIP-3860, EIP-7623). */
function floorGas({ to, data }) {
  const bytes = Buffer.from(data.slice(2), "hex");
  const zeros = bytes.filter((byte) => byte === 0).length;
  const tokens = BigInt(zeros + 4 * (bytes.length - zeros));
  const creation = to ? 0n : CREATION_GAS + INIT_WORD_GAS * BigInt(Math.ceil(bytes.length / 32));
  const [usual, floor] = [TOKEN_GAS * tokens + creation, FLOOR_TOKEN_GAS * tokens];
  return INTRINSIC_GAS + (usual > floor ? usual : floor);
}

const length = (data) => (data.length - 2) / 2;

const bendings = {
  /** Ends early: inside the selector, a word or a tail. */
  "cut short": (random, made) => ({ ...made, data: made.data.slice(0, 2 + 2 * random.between(0, length(made.data) - 1)) }),
  /** A byte of an offset, a length or a value is another. */
  "a byte changed": (random, made) => {
    // Near the start stand the offsets.
    const last = Math.min(length(made.data), random.chance(60) ? 260 : Infinity) - 1;
    const at = 2 + 2 * random.between(0, last);
    return { ...made, data: `${made.data.slice(0, at)}${random.bytes(1).toString("hex")}${made.data.slice(at + 2)}` };
  },
  "a tail added": (random, made) => ({ ...made, data: `${made.data}${random.bytes(random.between(1, 64)).toString("hex")}` }),
  "other calldata": (random, made) => ({ ...made, data: random.hex(random.between(1, 100)) }),
  "paid for": (random, made) => ({ ...made, value: made.value + BigInt(random.between(1, 9)) }),
  starved: (random, made) => ({ ...made, gas: floorGas(made) + BigInt(random.between(0, SPARE_GAS)) }),
};

module.exports = { bendings, floorGas };
