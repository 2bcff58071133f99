"use strict";
// The name server of the bridges: every name below `example` is this machine, and there are no others.

const dgram = require("node:dgram");

const ADDRESS = [127, 0, 0, 1];
const HEADER_BYTES = 12;
const [TYPE_A, NAME_ERROR] = [1, 3];

/** The labels of the question and where it ends. */
function question(query) {
  const labels = [];
  let at = HEADER_BYTES;
  while (query[at] !== 0) {
    labels.push(query.toString("latin1", at + 1, at + 1 + query[at]).toLowerCase());
    at += 1 + query[at];
  }
  return { labels, type: query.readUInt16BE(at + 1), end: at + 5 };
}

function answer(query) {
  const { labels, type, end } = question(query);
  const known = labels.at(-1) === "example";
  const records = known && type === TYPE_A ? 1 : 0;
  const head = Buffer.alloc(HEADER_BYTES);
  query.copy(head, 0, 0, 2);
  // A response, authoritative, to a question that may ask for recursion, which there is.
  head.writeUInt16BE(0x8580 | (known ? 0 : NAME_ERROR), 2);
  head.writeUInt16BE(1, 4);
  head.writeUInt16BE(records, 6);
  // The name of the question, A, IN, one minute, four bytes.
  const record = Buffer.from([0xc0, HEADER_BYTES, 0, TYPE_A, 0, 1, 0, 0, 0, 60, 0, 4, ...ADDRESS]);
  return Buffer.concat([head, query.subarray(HEADER_BYTES, end), ...(records ? [record] : [])]);
}

const socket = dgram.createSocket("udp4");
socket.on("message", (query, from) => socket.send(answer(query), from.port, from.address));
socket.bind(53, "127.0.0.53");
