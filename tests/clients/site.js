"use strict";
// Web servers of this machine, and the bytes of large files.

const { spawn } = require("node:child_process");
const { createCipheriv } = require("node:crypto");
const http = require("node:http");
const { after } = require("node:test");

const servers = [];

after(() => {
  for (const server of servers) {
    server.closeAllConnections();
    server.close();
  }
});

/** Starts a server on loopback, at a free port unless one is named; it ends with the file of the case. */
async function serve(handler, port = 0) {
  const server = http.createServer(handler);
  await new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", resolve);
  });
  servers.push(server);
  server.at = `127.0.0.1:${server.address().port}`;
  return server;
}

/** Answers as `git http-backend` does for the repositories of a folder. */
function gitBackend(folder) {
  return (request, response) => {
    const url = new URL(request.url, "http://site");
    const env = {
      ...process.env,
      GIT_PROJECT_ROOT: folder,
      GIT_HTTP_EXPORT_ALL: "1",
      PATH_INFO: decodeURIComponent(url.pathname),
      QUERY_STRING: url.search.slice(1),
      REQUEST_METHOD: request.method,
      REMOTE_USER: "somebody",
      CONTENT_TYPE: request.headers["content-type"] ?? "",
      HTTP_CONTENT_ENCODING: request.headers["content-encoding"] ?? "",
      HTTP_GIT_PROTOCOL: request.headers["git-protocol"] ?? "",
    };
    const backend = spawn("git", ["http-backend"], { env, stdio: ["pipe", "pipe", "inherit"] });
    backend.stdin.on("error", () => {});
    request.pipe(backend.stdin);
    let head = Buffer.alloc(0);
    const readHead = (piece) => {
      head = Buffer.concat([head, piece]);
      const end = head.indexOf("\r\n\r\n");
      if (end < 0) return;
      const fields = head.toString("latin1", 0, end).split("\r\n").map((line) => line.split(/: */, 2));
      const status = fields.find(([name]) => name === "Status")?.[1] ?? "200";
      response.writeHead(parseInt(status, 10), Object.fromEntries(fields.filter(([name]) => name !== "Status")));
      response.write(head.subarray(end + 4));
      backend.stdout.off("data", readHead);
      backend.stdout.pipe(response);
    };
    backend.stdout.on("data", readHead);
    backend.on("exit", (code) => code === 0 || response.destroy());
  };
}

const PIECE_BYTES = 1 << 20;

/** A file of that many bytes, no part of which is like another, piece by piece; the same seed gives the same file. */
function* bytesOf(total, seed = 1) {
  const stream = createCipheriv("aes-256-ctr", Buffer.alloc(32, seed), Buffer.alloc(16));
  const nothing = Buffer.alloc(PIECE_BYTES);
  for (let left = total; left > 0; left -= PIECE_BYTES) {
    yield stream.update(left < PIECE_BYTES ? nothing.subarray(0, left) : nothing);
  }
}

module.exports = { bytesOf, gitBackend, serve };
