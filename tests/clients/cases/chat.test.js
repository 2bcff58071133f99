"use strict";
// A WebSocket chat of two people, through the HTTP proxy of each.

const assert = require("node:assert/strict");
const { randomBytes } = require("node:crypto");
const { once } = require("node:events");
const { before, test } = require("node:test");
const { eventually, succeed } = require("../../interop/devnet.js");
const { Person } = require("../../interop/person.js");
const { enter, startRoom } = require("../chat_room.js");
const { startProxy } = require("../programs.js");
const { publish } = require("../service.js");

const LINES = 200;

let ann, ben;

before(async () => {
  ann = await startProxy(new Person("ann"));
  ben = await startProxy(new Person("ben"));
});

async function talk(url, room) {
  const one = await enter(url, ann.http);
  const two = await enter(url, ben.http);
  const lines = (name) => Array.from({ length: LINES }, (_, n) => `${name} says ${n}`);
  for (const line of lines("ann")) one.send(line);
  for (const line of lines("ben")) two.send(line);
  await eventually("both heard each other", () => one.heard.length >= LINES && two.heard.length >= LINES);
  assert.deepEqual(two.heard, lines("ann"));
  assert.deepEqual(one.heard, lines("ben"));

  const picture = randomBytes(5 << 20);
  one.send(picture);
  await eventually("the picture is there", () => two.heard.length > LINES);
  assert.ok(picture.equals(two.heard.at(-1)));

  one.close(4001, "good night");
  assert.deepEqual((await once(one, "close"))[0], 4001);
  await eventually("the room sees that one left", () => room.clients.size === 1);
  for (const client of room.clients) client.close(4002, "the room closes");
  const [code, why] = await once(two, "close");
  assert.deepEqual([code, why.toString()], [4002, "the room closes"]);
}

test("two_people_chat_through_their_proxies_and_hear_everything_in_order", async () => {
  const { room } = await startRoom(80);
  await talk("ws://chat.example/", room);
});

test("two_people_chat_in_a_room_that_is_published_at_a_name", async () => {
  const { at, room } = await startRoom();
  await publish("chat", "--to", `http://${at}`);
  // Proxies that run already hear of a new name in a moment; the room refuses who speaks no WebSocket.
  for (const { http } of [ann, ben]) {
    const ask = ["-sS", "-w", "\n%{http_code}", "-x", `http://${http}`, "http://chat.conet/"];
    await eventually("the proxy knows the room", async () => {
      const answer = (await succeed("curl", ask)).toString();
      const isKnown = answer.endsWith("\n426");
      if (!isKnown) assert.match(answer, /registered just now is known in a moment/);
      return isKnown;
    });
  }
  await talk("ws://chat.conet/", room);
});
