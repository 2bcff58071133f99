"use strict";
// A WebSocket chat: whatever somebody says all others hear, in order.

const { HttpsProxyAgent } = require("https-proxy-agent");
const { once } = require("node:events");
const { WebSocket, WebSocketServer } = require("ws");
const { serve } = require("./site.js");

async function startRoom(port) {
  const server = await serve((_request, response) => response.writeHead(426).end(), port);
  const room = new WebSocketServer({ server });
  room.on("connection", (socket) => {
    socket.on("message", (words, isBinary) => {
      for (const other of room.clients) if (other !== socket) other.send(words, { binary: isBinary });
    });
  });
  return { at: server.at, room };
}

/** Enters the room through an HTTP proxy; `heard` is all that came. */
async function enter(url, proxy) {
  const socket = new WebSocket(url, { agent: new HttpsProxyAgent(`http://${proxy}`) });
  socket.heard = [];
  socket.on("message", (words, isBinary) => socket.heard.push(isBinary ? words : words.toString()));
  await once(socket, "open");
  return socket;
}

module.exports = { enter, startRoom };
