//! Seeds of `network_file`, `store_recovery`, `rpc` and `intake`: what is written rather than made.

use packet::ContentType;
use protocol::NodeId;
use protocol::link::public_key;
use protocol::session::ClientHandshake;
use wallet::CertificateKind;

use crate::people::{Person, RECIPIENT, SIGNER, draft, rng};
use crate::{Outcome, Seeds, messages};

/// The node of the target `intake`.
const NODE: u64 = 5;
/// A frame's header and what a payload is at least; the target fills the region.
const HEAD_BYTES: usize = 64 + 14;

const SMALL_NETWORK: &str = r#"{
  "name": "small",
  "chain_id": 1,
  "rpc_urls": ["https://rpc.example.org/v1?key=0"],
  "contracts": {
    "node_registry": "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
    "route_registry": "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359"
  }
}
"#;

const WHOLE_NETWORK: &str = r#"{
  "version": 1,
  "name": "dev-net_1.0",
  "chain_id": 31337,
  "rpc_urls": ["http://127.0.0.1:8545", "http://[::1]:8546/"],
  "contracts": {
    "node_registry": "0x0101010101010101010101010101010101010101",
    "route_registry": "0x0202020202020202020202020202020202020202"
  },
  "start_block": 7,
  "confirmations": 2,
  "bootstrap": [
    {
      "address": "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
      "endpoint": "http://127.0.0.1:4001",
      "transport_key": "0x0202020202020202020202020202020202020202020202020202020202020202"
    }
  ],
  "plain_intake_path": "/intake",
  "stamp_effort": 1000,
  "dev": { "mnemonic": "test test test test test test test test test test test junk" }
}
"#;

pub(crate) fn network_file(seeds: &mut Seeds) -> Outcome {
    seeds.put("small", SMALL_NETWORK)?;
    seeds.put("whole", WHOLE_NETWORK)?;
    seeds.put(
        "unknown-field",
        SMALL_NETWORK.replacen("\"name\"", "\"later\": 1, \"name\"", 1),
    )?;
    seeds.put(
        "two-of-a-kind",
        SMALL_NETWORK.replacen("\"name\"", "\"chain_id\": 2, \"name\"", 1),
    )?;
    seeds.put(
        "number-beyond-64-bits",
        SMALL_NETWORK.replace("\"chain_id\": 1,", "\"chain_id\": 1e30,"),
    )?;
    seeds.put(
        "wrong-scheme",
        SMALL_NETWORK.replace("https://", "file:///"),
    )?;
    seeds.put(
        "user-in-the-url",
        SMALL_NETWORK.replace("https://", "https://user:word@"),
    )
}

/// Six bytes a wound: file, place (two bytes), kind, value, length.
pub(crate) fn store_recovery(seeds: &mut Seeds) -> Outcome {
    const CUT: u8 = 0;
    const FILL: u8 = 1;
    const FLIP: u8 = 2;
    const MOVE: u8 = 3;
    seeds.put("whole", [])?;
    for file in 0..4 {
        for (name, wound) in [
            ("cut-to-nothing", [file, 0, 0, CUT, 0, 0]),
            ("cut-in-the-head", [file, 0, 9, CUT, 0, 0]),
            ("cut-in-the-middle", [file, 2, 100, CUT, 0, 0]),
            ("zeros-in-the-head", [file, 0, 4, FILL, 0, 8]),
            ("zeros-in-the-middle", [file, 3, 0, FILL, 0, 255]),
            ("bit-in-the-head", [file, 0, 6, FLIP, 1, 0]),
            ("bit-in-the-middle", [file, 1, 44, FLIP, 128, 0]),
            ("piece-repeated", [file, 0, 0, MOVE, 60, 240]),
        ] {
            seeds.put(&format!("{name}-of-{file}"), wound)?;
        }
    }
    let two = [[0, 0, 200, FLIP, 4, 0], [2, 1, 0, CUT, 0, 0]];
    seeds.put("two-wounds", two.concat())
}

const DEV: &str = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266";
const HASH: &str = "0x0101010101010101010101010101010101010101010101010101010101010101";

/// Transactions of the devnet's first account, whose key everybody knows.
const TRANSACTIONS: [(&str, &str); 5] = [
    (
        "legacy",
        "0xf8658084b2d05e00827530940000000000000000000000000000000000000001018082f4f5a00eb0b52e8aca3b033e8b69aa50313e20069d054c9c53acbb59a4529341e27d1ba00729e7459beb0194c7922edb660525ea8b6dce2bf71c034ed711a5042374f3f9",
    ),
    (
        "type-1",
        "0x01f8a0827a698084b2d05e008275309400000000000000000000000000000000000000010180f838f7940000000000000000000000000000000000000001e1a0000000000000000000000000000000000000000000000000000000000000000080a045eb9e10dcc3a13b5f7132a4442d939929fb234a2a2edde0558e8234341fcff0a068687f8bdea54c4326541840a35706d5aa00d5169f3131a09999dbed5f3324b7",
    ),
    (
        "type-2",
        "0x02f868827a69800184b2d05e008275309400000000000000000000000000000000000000010180c080a0763ed6265dad916766265cd0b83c3056231a3878798798c4d78f9ca1516943bda064700467b248d986a06a5fee063128973e26426a472cfa08fd158091a80e4ffb",
    ),
    (
        "creation",
        "0x02f862827a69800184b2d05e00830186a080808d6001600c60003960016000f300c080a06b35ec5db69a700451fbca1977ec3c106e17341aa96f86bf0f62515ed2f63df3a00341f1924a89bc8ced9d96cc85bdd7192a592210ab343352b5f17998821920ba",
    ),
    (
        "type-4",
        "0x04f8c9827a69800184b2d05e00830186a09400000000000000000000000000000000000000010180c0f85ef85c827a699400000000000000000000000000000000000000010180a03338b16294ca14ded7ac56b8d97fee1d726dcac5c2ec7c94f004b28d465c727ca03b32e6984fedb15a9a5a572d3b533be0dca496baf16f385f573c60b05c1005e080a00b3d3c4b68941c15ede4fc3054a98f5894b8211e99498f50b8d6e4c0c3752255a058b3a7d59ccdbd5da845aad52bad37ba61aa7d24acf21f0bec8571c2e2175d9e",
    ),
];

fn call(method: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#)
}

pub(crate) fn rpc(seeds: &mut Seeds) -> Outcome {
    for (name, params) in [
        ("web3_clientVersion", "[]".to_owned()),
        ("net_version", "[]".to_owned()),
        ("eth_blockNumber", "[]".to_owned()),
        ("eth_getBalance", format!(r#"["{DEV}","latest"]"#)),
        ("eth_getTransactionCount", format!(r#"["{DEV}","pending"]"#)),
        (
            "eth_getCode",
            format!(r#"["{DEV}",{{"blockNumber":"0x0"}}]"#),
        ),
        (
            "eth_getStorageAt",
            format!(r#"["{DEV}","0x0",{{"blockHash":"{HASH}","requireCanonical":true}}]"#),
        ),
        (
            "eth_call",
            format!(
                r#"[{{"from":"{DEV}","to":"{DEV}","data":"0x01020304","value":"0x1","gas":"0x30000"}},"latest",{{"{DEV}":{{"code":"0x60016000f3","balance":"0x1"}}}}]"#
            ),
        ),
        (
            "eth_call-of-a-loop",
            r#"[{"input":"0x5b600056","gas":"0x10000","accessList":[]},"earliest"]"#.to_owned(),
        ),
        (
            "eth_estimateGas",
            format!(
                r#"[{{"from":"{DEV}","data":"0x6001600c60003960016000f300","maxFeePerGas":"0xb2d05e00","maxPriorityFeePerGas":"0x1"}}]"#
            ),
        ),
        ("eth_gasPrice", "[]".to_owned()),
        (
            "eth_feeHistory",
            r#"["0x4","latest",[10,50.5,90]]"#.to_owned(),
        ),
        ("eth_getTransactionByHash", format!(r#"["{HASH}"]"#)),
        ("eth_getTransactionReceipt", format!(r#"["{HASH}"]"#)),
        ("eth_getBlockByNumber", r#"["finalized",true]"#.to_owned()),
        ("eth_getBlockByHash", format!(r#"["{HASH}",false]"#)),
        ("eth_getBlockReceipts", r#"["0x0"]"#.to_owned()),
        (
            "eth_getBlockTransactionCountByNumber",
            r#"["safe"]"#.to_owned(),
        ),
        (
            "eth_getLogs",
            format!(
                r#"[{{"fromBlock":"0x0","toBlock":"latest","address":["{DEV}"],"topics":[null,["{HASH}","{HASH}"]]}}]"#
            ),
        ),
        (
            "eth_getLogs-of-a-block",
            format!(r#"[{{"blockHash":"{HASH}"}}]"#),
        ),
        ("eth_newFilter", r#"[{"fromBlock":"0x0"}]"#.to_owned()),
        ("eth_newBlockFilter", "[]".to_owned()),
        ("eth_getFilterChanges", r#"["0x1"]"#.to_owned()),
        ("eth_getFilterLogs", r#"["0x1"]"#.to_owned()),
        ("eth_uninstallFilter", r#"["0x1"]"#.to_owned()),
        ("evm_mine", "[]".to_owned()),
    ] {
        let method = name.split_once('-').map_or(name, |(method, _)| method);
        seeds.put(name, call(method, &params))?;
    }
    for (name, transaction) in TRANSACTIONS {
        let request = call("eth_sendRawTransaction", &format!(r#"["{transaction}"]"#));
        seeds.put(&format!("eth_sendRawTransaction-{name}"), request)?;
    }
    let one = call("eth_chainId", "[]");
    seeds.put("batch", format!("[{one},{one},1,{{}}]"))?;
    seeds.put(
        "notification",
        r#"{"jsonrpc":"2.0","method":"eth_chainId"}"#,
    )?;
    seeds.put("params-by-name", call("eth_chainId", "{}"))?;
    seeds.put(
        "id-of-text",
        r#" {"id":"a\u0000b","method":"net_version","jsonrpc":"2.0","params":null}"#,
    )
}

pub(crate) fn intake(seeds: &mut Seeds) -> Outcome {
    for (name, request) in [
        ("get", "GET / HTTP/1.1\r\nhost: node\r\n\r\n"),
        ("head", "HEAD /favicon.ico HTTP/1.0\r\n\r\n"),
        (
            "two-in-a-row",
            "GET / HTTP/1.1\r\nhost: node\r\n\r\nGET /a?b=c HTTP/1.1\r\nhost: node\r\nconnection: close\r\n\r\n",
        ),
        (
            "chunked",
            "POST /intake HTTP/1.1\r\nhost: node\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        ),
        (
            "continue",
            "POST /intake HTTP/1.1\r\nhost: node\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\nhello",
        ),
        (
            "too-long",
            "POST /intake HTTP/1.1\r\nhost: node\r\ncontent-length: 99999999999\r\n\r\n",
        ),
        (
            "two-lengths",
            "POST / HTTP/1.1\r\nhost: node\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!",
        ),
        (
            "stream",
            "POST /intake HTTP/1.1\r\nhost: node\r\naccept: text/event-stream\r\ncontent-length: 1\r\n\r\n\u{1}",
        ),
        (
            "upgrade",
            "GET / HTTP/1.1\r\nhost: node\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        ),
        ("http-2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        ("tls", "\u{16}\u{3}\u{1}\u{0}\u{5}hello"),
    ] {
        seeds.put(name, request)?;
    }
    let node = Person::new(NODE, CertificateKind::V6Classic)?;
    let transport = public_key(&node.wallet.derive("node/transport"));
    let id: NodeId = node.wallet.address();
    let (_, handshake) = ClientHandshake::start(&id, &transport, 0, &mut rng(30))?;
    seeds.put("handshake", &handshake)?;
    let head = format!(
        "POST /a HTTP/1.1\r\nhost: node\r\ncontent-length: {}\r\n\r\n",
        handshake.len()
    );
    seeds.put(
        "handshake-in-a-request",
        [head.as_bytes(), &handshake].concat(),
    )?;
    let stranger = Person::new(RECIPIENT, CertificateKind::V6Classic)?;
    let text = draft(ContentType::TEXT, "hello");
    let packet = packet::seal(&text, None, stranger.secret.certificate(), &mut rng(31))?;
    seeds.put("packet-to-a-stranger", packet.as_bytes())?;
    // The target seals these itself: commands in a layer, frames in a session.
    let owner = Person::new(SIGNER, CertificateKind::V6Classic)?;
    for (name, bytes) in messages::commands(id, &owner, packet.as_bytes())? {
        seeds.put(&format!("command-{name}"), bytes)?;
    }
    for (name, bytes) in messages::frames()? {
        let (head, _) = bytes.split_at(HEAD_BYTES.min(bytes.len()));
        seeds.put(&format!("frame-{name}"), head)?;
    }
    Ok(())
}

pub(crate) fn socks(seeds: &mut Seeds) -> Outcome {
    let named: &[u8] = b"\x0bexample.org\x01\xbb";
    let messages: [(&str, &[&[u8]]); 12] = [
        ("greeting", &[&[5, 1, 0]]),
        ("greeting-with-login", &[&[5, 3, 0, 1, 2]]),
        ("login", &[b"\x01\x05alice\x06secret"]),
        ("login-of-nobody", &[&[1, 0, 0]]),
        ("connect-to-name", &[&[5, 1, 0, 3], named]),
        (
            "connect-to-text",
            &[b"\x05\x01\x00\x03\x09127.0.0.1\x00\x50"],
        ),
        ("connect-to-v4", &[&[5, 1, 0, 1, 192, 0, 2, 1, 0, 80]]),
        ("connect-to-v6", &[&[5, 1, 0, 4], &[0xfe; 16], &[0, 80]]),
        ("associate", &[&[5, 3, 0, 1, 0, 0, 0, 0, 0, 0]]),
        ("datagram-to-name", &[&[0, 0, 0, 3], named, b"payload"]),
        ("datagram-to-v6", &[&[0, 0, 0, 4], &[0xfe; 16], &[0, 53]]),
        ("datagram-in-parts", &[&[0, 0, 1, 1, 192, 0, 2, 1, 0, 53]]),
    ];
    for (name, parts) in messages {
        seeds.put(name, parts.concat())?;
    }
    Ok(())
}
