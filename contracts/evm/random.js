"use strict";
// Choices that a seed decides: the same seed makes the same choices.

const crypto = require("node:crypto");

class Random {
  #seed;
  #count = 0n;
  #turns = new Map();

  constructor(seed) {
    this.#seed = String(seed);
  }

  /** `length` bytes. */
  bytes(length) {
    const blocks = [];
    for (let have = 0; have < length; have += 32) {
      blocks.push(crypto.createHash("sha256").update(`${this.#seed}/${this.#count}`).digest());
      this.#count += 1n;
    }
    return Buffer.concat(blocks).subarray(0, length);
  }

  hex(length) {
    return `0x${this.bytes(length).toString("hex")}`;
  }

  /** A number from `least` to `most`. */
  between(least, most) {
    return least + (this.bytes(4).readUInt32BE(0) % (most - least + 1));
  }

  pick(list) {
    return list[this.between(0, list.length - 1)];
  }

  /** The next of a list by turns, so that each comes up; `name` says whose turns they are. */
  turn(name, list) {
    const at = this.#turns.get(name) ?? this.between(0, list.length - 1);
    this.#turns.set(name, at + 1);
    return list[at % list.length];
  }

  /** True `percent` times of a hundred. */
  chance(percent) {
    return this.between(0, 99) < percent;
  }

  /** One of `[weight, value]…`. */
  weighted(choices) {
    let left = this.between(
      1,
      choices.reduce((sum, [weight]) => sum + weight, 0),
    );
    for (const [weight, value] of choices) {
      left -= weight;
      if (left <= 0) return value;
    }
    throw new Error("no choice");
  }
}

module.exports = { Random };
