"use strict";
// What the random transactions met: a comparison that never came to a branch says nothing about it.

const viem = require("viem");
const { NAMES, NAME_REGISTRAR, NAME_RESOLVER, NODES, OFFERS, REVERSE, ROUTES } = require("./registries.js");

/** Declared by what the contracts inherit; nothing of what they use throws or emits these. */
const UNREACHABLE = ["InvalidAccountNonce", "InvalidShortString", "StringTooLong", "EIP712DomainChanged"];

/** Takes a name that has expired, which none does here. */
const TOO_SLOW = ["NotHolder"];

/** Nothing that is read is refused of necessity, and what comes again is mostly old. */
const ONE_SIDED = ["view", "replay", "bent"];

const ALL = [NODES, ROUTES, NAMES, NAME_REGISTRAR, NAME_RESOLVER, REVERSE, OFFERS];
const SELECTORS = new Map();
const TOPICS = new Map();
for (const { type, name, inputs } of ALL.flatMap(({ abi }) => abi)) {
  const hash = () => viem.keccak256(viem.toHex(`${name}(${inputs.map((input) => input.type)})`));
  if (type === "error") SELECTORS.set(hash().slice(0, 10), name);
  if (type === "event") TOPICS.set(hash(), name);
}

const WANTED = [...new Set([...SELECTORS.values(), ...TOPICS.values()])].filter((name) => ![...UNREACHABLE, ...TOO_SLOW].includes(name));

class Coverage {
  #actions = new Map();
  #met = new Map();

  #count(name) {
    this.#met.set(name, (this.#met.get(name) ?? 0) + 1);
  }

  /** Notes what an action came to; `tried` is what the same call came to before. */
  note(action, done, tried = done) {
    const counts = this.#actions.get(action) ?? { accepted: 0, refused: 0 };
    counts[done.status === 1 ? "accepted" : "refused"] += 1;
    this.#actions.set(action, counts);
    for (const { topics } of done.logs) this.#count(TOPICS.get(topics[0]) ?? "unknown event");
    if (done.status === 1) return;
    if (done.end === "halted") this.#count("out of gas or worse");
    else if (done.data === "0x") this.#count("revert without data");
    else this.#count(SELECTORS.get(done.data.slice(0, 10)) ?? "Error or Panic");
  }

  get #unmet() {
    return WANTED.filter((name) => !this.#met.has(name));
  }

  get #oneSided() {
    const both = ({ accepted, refused }) => accepted > 0 && refused > 0;
    return [...this.#actions].filter(([action, counts]) => !ONE_SIDED.includes(action) && !both(counts)).map(([action]) => action);
  }

  /** Whether each error and event occurred and each action was accepted and refused. */
  get complete() {
    return this.#unmet.length === 0 && this.#oneSided.length === 0;
  }

  /** Prints all that was met; returns how much of what should have been was not, if `whole` asks for it. */
  report(whole) {
    for (const [name, times] of [...this.#met].sort()) console.log(`  ${name}: ${times}`);
    let failed = 0;
    const say = (test, good, words) => {
      if (!good) failed += 1;
      console.log(`test ${test} ... ${good ? "ok" : "FAILED"} (${words})`);
    };
    for (const [action, { accepted, refused }] of this.#actions) {
      const good = !whole || !this.#oneSided.includes(action);
      say(`${action}_is_the_same_on_both_machines`, good, `${accepted} accepted, ${refused} refused`);
    }
    const unmet = this.#unmet;
    const words = unmet.length > 0 ? `never: ${unmet.join(", ")}` : `${WANTED.length}`;
    if (whole) say("each_error_and_event_of_the_contracts_occurs", unmet.length === 0, words);
    else console.log(`  ${words}`);
    const passed = this.#actions.size + (whole ? 1 : 0) - failed;
    console.log(`test result: ${failed === 0 ? "ok" : "FAILED"}. ${passed} passed; ${failed} failed`);
    return failed;
  }
}

module.exports = { Coverage };
