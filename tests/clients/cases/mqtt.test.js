"use strict";
// Things that report to a broker, which is known by a name: mosquitto and its clients.

const assert = require("node:assert/strict");
const { once } = require("node:events");
const fs = require("node:fs");
const path = require("node:path");
const { before, test } = require("node:test");
const { folder, succeed } = require("../../interop/devnet.js");
const { start } = require("../programs.js");
const { forward, publish } = require("../service.js");

const BROKER_PORT = 1883;
const [SENSOR, WATCHER] = [18831, 18832];
const MESSAGES = 1000;
/** Nothing takes that long; a program that waits for messages in vain ends then. */
const PATIENCE = ["-W", "60"];

/** Has a program print each line at once, though nobody looks at a terminal. */
const LINE_BY_LINE = ["-oL"];

const at = (port) => ["-h", "127.0.0.1", "-p", `${port}`, "-q", "1"];

/** Listens from the watcher's home until `count` messages came; `heard` is all of them, when they did. */
async function watch(topic, count) {
  const args = [...LINE_BY_LINE, "mosquitto_sub", ...at(WATCHER), ...PATIENCE, "-d", "-F", "heard %t %p", "-t", topic, "-C", `${count}`];
  const child = await start("stdbuf", args, { says: /received SUBACK/ });
  const heard = once(child.child, "close").then(([code]) => {
    assert.equal(code, 0, child.output());
    const lines = child.output().split("\n").filter((line) => line.startsWith("heard "));
    return lines.map((line) => line.slice(`heard ${topic} `.length));
  });
  return { heard };
}

before(async () => {
  const config = path.join(folder("broker"), "mosquitto.conf");
  const lines = [
    `listener ${BROKER_PORT} 127.0.0.1`,
    ...["allow_anonymous true", "user root", "persistence false", "max_queued_messages 10000"],
  ];
  fs.writeFileSync(config, `${lines.join("\n")}\n`);
  await start("mosquitto", ["-c", config], { says: /mosquitto version .* running/ });
  await publish("broker", "--tcp", `127.0.0.1:${BROKER_PORT}`);
  await forward("sensor", `127.0.0.1:${SENSOR}`, `broker.conet:${BROKER_PORT}`);
  await forward("watcher", `127.0.0.1:${WATCHER}`, `broker.conet:${BROKER_PORT}`);
});

test("broker_at_a_name_passes_on_a_thousand_messages_in_their_order", async () => {
  const { heard } = await watch("room/temperature", MESSAGES);
  const readings = Array.from({ length: MESSAGES }, (_, n) => `reading ${n}`);
  await succeed("mosquitto_pub", [...at(SENSOR), "-t", "room/temperature", "-l"], { input: readings.join("\n") });
  assert.deepEqual(await heard, readings);
});

test("broker_at_a_name_keeps_a_retained_message_for_who_comes_later", async () => {
  await succeed("mosquitto_pub", [...at(SENSOR), "-r", "-t", "room/door", "-m", "open"]);
  const { heard } = await watch("room/door", 1);
  assert.deepEqual(await heard, ["open"]);
});

test("broker_at_a_name_tells_the_last_will_of_a_thing_that_was_killed", async () => {
  const { heard } = await watch("room/alarm", 1);
  const will = ["--will-topic", "room/alarm", "--will-payload", "the sensor is gone"];
  const args = [...LINE_BY_LINE, "mosquitto_sub", ...at(SENSOR), ...PATIENCE, "-d", "-t", "room/orders", ...will];
  const thing = await start("stdbuf", args, { says: /received SUBACK/ });
  thing.child.kill("SIGKILL");
  assert.deepEqual(await heard, ["the sensor is gone"]);
});
