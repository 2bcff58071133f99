"use strict";
// The contracts as their committed artifacts have them, and what their wallets sign.

const fs = require("node:fs");
const path = require("node:path");
const viem = require("viem");
const { CHAIN_ID } = require("./other_vm.js");

const artifact = (name) =>
  JSON.parse(fs.readFileSync(path.join(__dirname, "..", "artifacts", `${name}.json`), "utf8"));
const NODES = artifact("NodeRegistry");
const ROUTES = artifact("RouteRegistry");
const NAMES = artifact("NameRegistry");
const NAME_REGISTRAR = artifact("NameRegistrar");
const NAME_RESOLVER = artifact("NameResolver");
const REVERSE = artifact("ReverseRegistrar");
const OFFERS = artifact("BridgeOffers");

/** The signed types, as the interfaces write them down. */
const NODE_TYPE =
  "Node(address operator,bytes32 transportKey,bytes certificate,string endpoint,string profile,uint256 nonce,uint256 deadline)";
const ROUTE_TYPE =
  "Route(address wallet,bytes fingerprint,bytes8[] keyIds,address[] mailboxes,uint64 sequence,uint64 expiry)";
const CLEAR_TYPE = "ClearRoute(address wallet,uint64 sequence,uint64 deadline)";

/** Reads `Name(type member,…)`. */
function parsed(text) {
  const [, name, members] = /^(\w+)\((.*)\)$/.exec(text);
  const types = members.split(",").map((member) => {
    const [type, field] = member.split(" ");
    return { name: field, type };
  });
  return { name, types };
}

function sign(account, contractName, verifyingContract, type, message) {
  const { name, types } = parsed(type);
  return account.signTypedData({
    domain: { name: `CONET ${contractName}`, version: "1", chainId: CHAIN_ID, verifyingContract },
    types: { [name]: types },
    primaryType: name,
    message,
  });
}

const signNode = (account, registry, message) => sign(account, "NodeRegistry", registry, NODE_TYPE, message);
const signRoute = (account, registry, route) => sign(account, "RouteRegistry", registry, ROUTE_TYPE, route);
const signClear = (account, registry, message) => sign(account, "RouteRegistry", registry, CLEAR_TYPE, message);

/** EIP-712's hashStruct of a route. */
function routeHash(route) {
  const { name, types } = parsed(ROUTE_TYPE);
  return viem.hashStruct({ data: route, primaryType: name, types: { [name]: types } });
}

const leaf = (route) => viem.keccak256(viem.keccak256(routeHash(route)));
const parent = (a, b) => viem.keccak256(viem.concat(a.toLowerCase() < b.toLowerCase() ? [a, b] : [b, a]));

/** The root over leaves, and the siblings from leaf `index` up to it. */
function tree(leaves, index) {
  const proof = [];
  let [level, at] = [leaves, index];
  while (level.length > 1) {
    const sibling = at ^ 1;
    if (sibling < level.length) proof.push(level[sibling]);
    const above = [];
    for (let i = 0; i < level.length; i += 2) {
      above.push(i + 1 < level.length ? parent(level[i], level[i + 1]) : level[i]);
    }
    [level, at] = [above, at >> 1];
  }
  return { root: level[0], proof };
}

/** `abi.encode(SignedRoute[])`. */
function encodeBatch(batch) {
  const { inputs } = ROUTES.abi.find((item) => item.name === "batchRoot");
  return viem.encodeAbiParameters(inputs, [batch]);
}

const encode = (contract, functionName, args) => viem.encodeFunctionData({ abi: contract.abi, functionName, args });
const decode = (contract, functionName, data) => viem.decodeFunctionResult({ abi: contract.abi, functionName, data });
const deployment = (contract, args) =>
  viem.encodeDeployData({ abi: contract.abi, bytecode: contract.bytecode, args });

/** Where the contracts are that a NameRegistry has made. */
const creationsOf = (registry) => {
  const creation = (nonce) => viem.getContractAddress({ from: registry, nonce }).toLowerCase();
  return { registry, resolver: creation(1n), registrar: creation(2n), reverse: creation(3n) };
};

const below = (node, label) => viem.keccak256(viem.concat([node, viem.keccak256(viem.toHex(label))]));
const ROOT = `0x${"00".repeat(32)}`;
/** The name hash of EIP-137. */
const nameHash = (name) => name.split(".").reduceRight((node, label) => below(node, label), ROOT);

module.exports = {
  NAMES,
  NAME_REGISTRAR,
  NAME_RESOLVER,
  NODES,
  OFFERS,
  REVERSE,
  ROUTES,
  below,
  creationsOf,
  decode,
  deployment,
  encode,
  encodeBatch,
  leaf,
  nameHash,
  signClear,
  signNode,
  signRoute,
  tree,
};
