// Whether a name lies below another.
function isBelow(name, root) {
  var end = "." + root;
  return name.length > end.length && name.substring(name.length - end.length) === end;
}

// The bytes of an IPv4 address, or null.
function bytesOf4(text) {
  var parts = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text);
  if (!parts) return null;
  var bytes = [];
  for (var i = 1; i <= 4; i++) {
    if (parts[i].length > 1 && parts[i].charAt(0) === "0") return null;
    if (Number(parts[i]) > 255) return null;
    bytes.push(Number(parts[i]));
  }
  return bytes;
}

// The bytes of one side of an IPv6 address, before or after its "::", or null.
function bytesOfGroups(text) {
  if (text === "") return [];
  var bytes = [], groups = text.split(":");
  for (var i = 0; i < groups.length; i++) {
    var last4 = i === groups.length - 1 ? bytesOf4(groups[i]) : null;
    if (last4) return bytes.concat(last4);
    if (!/^[0-9a-f]{1,4}$/.test(groups[i])) return null;
    var group = parseInt(groups[i], 16);
    bytes.push(group >> 8, group & 255);
  }
  return bytes;
}

// The bytes of an address, or null. An IPv4 address that is written in IPv6 is one of IPv4.
function bytesOf(text) {
  if (text.indexOf(":") < 0) return bytesOf4(text);
  var halves = text.split("::");
  if (halves.length > 2) return null;
  var bytes = bytesOfGroups(halves[0]);
  if (halves.length === 2) {
    var after = bytesOfGroups(halves[1]);
    if (!bytes || !after || bytes.length + after.length > 14) return null;
    while (bytes.length + after.length < 16) bytes.push(0);
    bytes = bytes.concat(after);
  }
  if (!bytes || bytes.length !== 16) return null;
  for (var i = 0; i < 12; i++) {
    if (bytes[i] !== (i < 10 ? 0 : 255)) return bytes;
  }
  return bytes.slice(12);
}

// Whether an address lies in a network.
function isWithin(address, network, bits) {
  if (address.length !== network.length) return false;
  for (var i = 0; i < address.length && bits > 0; i++, bits -= 8) {
    var mask = bits >= 8 ? 255 : 255 & (255 << (8 - bits));
    if ((address[i] & mask) !== (network[i] & mask)) return false;
  }
  return true;
}

// Whether a rule is about a host; the address is null where the host is a name.
function isAbout(rule, host, address) {
  if (rule[0] === "network") return address !== null && isWithin(address, rule[1], rule[2]);
  if (address !== null) {
    if (rule[0] !== "local") return false;
    return isWithin(address, [127, 0, 0, 0], 8) || isWithin(address, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], 128);
  }
  if (rule[0] === "local") return host.indexOf(".") < 0 || isBelow(host, "localhost");
  if (rule[0] === "below") return isBelow(host, rule[1]);
  return host === rule[1] || (rule[0] === "tree" && isBelow(host, rule[1]));
}

function FindProxyForURL(url, host) {
  host = host.toLowerCase().replace(/^\[|\]$/g, "").replace(/\.$/, "");
  // No rule lets a service of the network out. By the HTTP proxy, requests to it are signed.
  if (isBelow(host, "conet")) return url.substring(0, 5) === "http:" ? sites : usual;
  var address = bytesOf(host);
  for (var i = 0; i < rules.length; i++) {
    if (isAbout(rules[i], host, address)) return "DIRECT";
  }
  return usual;
}
