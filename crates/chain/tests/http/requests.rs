//! JSON-RPC itself: envelopes, batches, parameters, and garbage.

use crate::fixture::{Fixture, bob, by_hand, config};
use alloy::{network::TransactionBuilder, primitives::hex, rpc::types::TransactionRequest};
use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::TestRunner,
};
use serde_json::{Value, json};

async fn answer(fixture: &Fixture, body: &str) -> Value {
    let (status, answer) = fixture.post(body).await;
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&answer).unwrap()
}

fn error_code(answer: &Value) -> i64 {
    assert_eq!(answer["jsonrpc"], "2.0");
    answer["error"]["code"].as_i64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn request_that_is_no_json_rpc_gets_the_code_of_its_fault() {
    let fixture = Fixture::start(config()).await;
    for (body, code) in [
        ("", -32700),
        ("{", -32700),
        ("[1,", -32700),
        ("\u{0}", -32700),
        ("1", -32600),
        ("null", -32600),
        ("{}", -32600),
        ("[]", -32600),
        (r#"{"jsonrpc":"1.0","id":1,"method":"eth_chainId"}"#, -32600),
        (r#"{"id":1,"method":"eth_chainId"}"#, -32600),
        (
            r#"{"jsonrpc":"2.0","id":{},"method":"eth_chainId"}"#,
            -32600,
        ),
        (r#"{"jsonrpc":"2.0","id":1,"method":7}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":1,"method":"eth_nothing"}"#, -32601),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":{}}"#,
            -32602,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":[1]}"#,
            -32602,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"eth_getBalance","params":[]}"#,
            -32602,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"eth_getBalance","params":["0x1"]}"#,
            -32602,
        ),
    ] {
        assert_eq!(error_code(&answer(&fixture, body).await), code, "{body}");
    }
    let nested = "[".repeat(200_000);
    assert_eq!(error_code(&answer(&fixture, &nested).await), -32700);
}

#[tokio::test(flavor = "multi_thread")]
async fn request_id_comes_back_as_it_was() {
    let fixture = Fixture::start(config()).await;
    for id in ["7", "\"seven\"", "null", "-1", "1.5", "\"\\u00e9\""] {
        let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"eth_chainId","params":null}}"#);
        let answer = answer(&fixture, &body).await;
        assert_eq!(answer["id"], serde_json::from_str::<Value>(id).unwrap());
        assert_eq!(answer["result"], "0x7a69");
    }
    let notification = r#"{"jsonrpc":"2.0","method":"eth_chainId"}"#;
    assert_eq!(fixture.post(notification).await, (204, String::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn batch_is_answered_in_order_up_to_its_bound() {
    let fixture = Fixture::start(config()).await;
    let request = |id: usize| json!({"jsonrpc": "2.0", "id": id, "method": "eth_blockNumber"});
    let mut batch: Vec<Value> = (0..99).map(request).collect();
    batch.push(json!(5));
    let answers = answer(&fixture, &json!(batch).to_string()).await;
    let answers = answers.as_array().unwrap();
    assert_eq!(answers.len(), 100);
    for (id, answer) in answers.iter().enumerate().take(99) {
        assert_eq!(answer["id"], id);
        assert_eq!(answer["result"], "0x0");
    }
    assert_eq!(error_code(&answers[99]), -32600);
    batch.push(request(100));
    let refused = answer(&fixture, &json!(batch).to_string()).await;
    assert_eq!(error_code(&refused), -32600);
}

#[tokio::test(flavor = "multi_thread")]
async fn batch_whose_answers_grow_too_large_is_cut_off_with_errors() {
    let fixture = Fixture::start(config()).await;
    // Each call returns a mebibyte of zeros, which is two in hexadecimal.
    let code = hex!("60068060095f395ff3" "621000005ff3").to_vec();
    let deploy = TransactionRequest::default().with_deploy_code(code);
    let to = fixture.send(deploy).await.contract_address.unwrap();
    let call = json!({"to": to, "gas": "0x1000000"});
    let batch: Vec<Value> = (0..20)
        .map(|id| json!({"jsonrpc": "2.0", "id": id, "method": "eth_call", "params": [call]}))
        .collect();
    let answers = answer(&fixture, &json!(batch).to_string()).await;
    let answers = answers.as_array().unwrap();
    assert!(answers[0]["result"].as_str().unwrap().len() > 2 << 20);
    assert_eq!(error_code(&answers[19]), -32003);
}

#[tokio::test(flavor = "multi_thread")]
async fn constants_are_answered_as_clients_expect() {
    let fixture = Fixture::start(config()).await;
    for (method, result) in [
        ("net_version", json!("31337")),
        ("eth_chainId", json!("0x7a69")),
        ("eth_syncing", json!(false)),
        ("eth_accounts", json!([])),
        ("eth_blockNumber", json!("0x0")),
    ] {
        assert_eq!(fixture.get(method, json!([])).await, result);
    }
    let version = fixture.get("web3_clientVersion", json!([])).await;
    assert!(version.as_str().unwrap().starts_with("conet-chain/"));
}

#[tokio::test(flavor = "multi_thread")]
async fn block_is_found_by_every_tag_and_by_hash() {
    let fixture = Fixture::start(by_hand()).await;
    fixture.mine().await;
    let number = async |tag: &str| {
        let block = fixture
            .get("eth_getBlockByNumber", json!([tag, false]))
            .await;
        block["number"].clone()
    };
    for (tag, expected) in [
        ("latest", "0x1"),
        ("earliest", "0x0"),
        ("pending", "0x2"),
        ("safe", "0x0"),
        ("finalized", "0x0"),
        ("0x1", "0x1"),
    ] {
        assert_eq!(number(tag).await, expected, "{tag}");
    }
    assert_eq!(number("0x5").await, Value::Null);
    let block = fixture
        .get("eth_getBlockByNumber", json!(["0x1", true]))
        .await;
    let by_hash = fixture
        .get("eth_getBlockByHash", json!([block["hash"], true]))
        .await;
    assert_eq!(by_hash, block);
    for field in [
        "parentHash",
        "sha3Uncles",
        "miner",
        "stateRoot",
        "transactionsRoot",
        "receiptsRoot",
        "logsBloom",
        "difficulty",
        "gasLimit",
        "gasUsed",
        "timestamp",
        "extraData",
        "mixHash",
        "nonce",
        "baseFeePerGas",
        "withdrawalsRoot",
        "size",
        "uncles",
        "transactions",
    ] {
        assert!(!block[field].is_null(), "{field}");
    }
    let count = |method, block: Value| fixture.get(method, json!([block]));
    assert_eq!(
        count("eth_getBlockTransactionCountByHash", block["hash"].clone()).await,
        "0x0"
    );
    assert_eq!(
        count("eth_getBlockTransactionCountByNumber", json!("0x9")).await,
        Value::Null
    );
    let at = json!([bob(), {"blockHash": block["hash"], "requireCanonical": true}]);
    assert_eq!(fixture.get("eth_getBalance", at).await, "0x0");
}

/// Throws random parameters at every method: no answer may be missing or internal.
#[tokio::test(flavor = "multi_thread")]
async fn every_method_with_any_parameters_answers_without_internal_error() {
    let fixture = Fixture::start(by_hand()).await;
    fixture.mine().await;
    let value = proptest::prop_oneof![
        proptest::strategy::Just(json!(null)),
        proptest::strategy::Just(json!(true)),
        proptest::strategy::Just(json!("latest")),
        proptest::strategy::Just(json!("pending")),
        proptest::strategy::Just(json!(bob())),
        proptest::strategy::Just(json!(format!("{:#066x}", 9))),
        proptest::strategy::Just(json!({"to": bob(), "from": bob(), "data": "0x1234"})),
        proptest::strategy::Just(json!({"data": "0x5b5f56", "gas": "0xffffffffffffffff"})),
        proptest::strategy::Just(
            json!({"value": format!("0x{}", "f".repeat(64)), "gasPrice": "0x1"})
        ),
        proptest::strategy::Just(
            json!({"gas": "0x1", "maxFeePerGas": "0xffffffffffffffffffffffffffffffff"})
        ),
        proptest::strategy::Just(
            json!({"fromBlock": "0xffffffffffffffff", "toBlock": "0x0", "topics": [[], null, []]})
        ),
        proptest::strategy::Just(json!({"fromBlock": "earliest", "address": [], "topics": null})),
        proptest::strategy::Just(json!([1.5, 100, 1e300])),
        proptest::arbitrary::any::<u64>().prop_map(|n| json!(format!("{n:#x}"))),
        proptest::arbitrary::any::<i64>().prop_map(|n| json!(n)),
        "\\PC{0,20}".prop_map(|text| json!(text)),
    ];
    let params = proptest::collection::vec(value, 0..4);
    let mut runner = TestRunner::deterministic();
    for method in [
        "web3_clientVersion",
        "net_version",
        "eth_chainId",
        "eth_blockNumber",
        "eth_syncing",
        "eth_accounts",
        "eth_getBalance",
        "eth_getTransactionCount",
        "eth_getCode",
        "eth_getStorageAt",
        "eth_call",
        "eth_estimateGas",
        "eth_gasPrice",
        "eth_maxPriorityFeePerGas",
        "eth_feeHistory",
        "eth_sendRawTransaction",
        "eth_getTransactionByHash",
        "eth_getTransactionReceipt",
        "eth_getBlockByNumber",
        "eth_getBlockByHash",
        "eth_getBlockReceipts",
        "eth_getBlockTransactionCountByNumber",
        "eth_getBlockTransactionCountByHash",
        "eth_getLogs",
        "eth_newFilter",
        "eth_newBlockFilter",
        "eth_getFilterChanges",
        "eth_getFilterLogs",
        "eth_uninstallFilter",
        "conet_reorg",
    ] {
        for _ in 0..12 {
            let batch: Vec<Value> = (0..8)
                .map(|id| {
                    let params = params.new_tree(&mut runner).unwrap().current();
                    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
                })
                .collect();
            let answers = answer(&fixture, &json!(batch).to_string()).await;
            for (answer, request) in answers.as_array().unwrap().iter().zip(&batch) {
                assert_ne!(answer["error"]["code"], -32603, "{request}: {answer}");
                assert_ne!(answer["error"]["code"], -32601, "{request}: {answer}");
            }
        }
    }
}
