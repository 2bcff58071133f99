//! `conet_reorg`: blocks that were, and are not any more.

use crate::fixture::{Fixture, READ, bob, by_hand, config, config_on};
use alloy::{
    network::TransactionBuilder, primitives::U256, providers::Provider,
    rpc::types::TransactionRequest,
};
use chain::{ChainConfig, MAX_REORG_BLOCKS};
use serde_json::{Value, json};
use tempfile::TempDir;

fn with_controls(config: ChainConfig) -> ChainConfig {
    ChainConfig {
        test_controls: true,
        ..config
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reorg_undoes_blocks_state_receipts_and_nonces() {
    let fixture = Fixture::start(with_controls(config())).await;
    let counter = fixture.deploy_counter().await;
    let count = || TransactionRequest::default().with_to(counter);
    fixture.pay(5).await;
    let kept = fixture
        .get("eth_getBlockByNumber", json!(["latest", false]))
        .await;
    let dropped = fixture.send(count()).await;
    fixture.pay(7).await;
    assert_eq!(fixture.get("conet_reorg", json!([2])).await, "0x2");

    let head = fixture
        .get("eth_getBlockByNumber", json!(["latest", false]))
        .await;
    assert_eq!(head, kept);
    let hash = dropped.transaction_hash;
    for method in ["eth_getTransactionReceipt", "eth_getTransactionByHash"] {
        assert_eq!(fixture.get(method, json!([hash])).await, Value::Null);
    }
    let by_hash = json!([dropped.block_hash, false]);
    assert_eq!(
        fixture.get("eth_getBlockByHash", by_hash).await,
        Value::Null
    );
    let balance = fixture.provider.get_balance(bob()).await.unwrap();
    assert_eq!(balance, U256::from(5));

    // The other branch: same nonce, another block, the same count.
    let again = fixture.send(count()).await;
    assert_eq!(again.block_number, Some(3));
    assert_ne!(again.block_hash, dropped.block_hash);
    let read = TransactionRequest::default()
        .with_to(counter)
        .with_input(READ.to_vec());
    let value = fixture.provider.call(read).await.unwrap();
    assert_eq!(U256::from_be_slice(&value), U256::from(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn reorg_makes_log_filters_report_removed_logs_and_then_the_new_ones() {
    let fixture = Fixture::start(with_controls(config())).await;
    let counter = fixture.deploy_counter().await;
    let id = fixture
        .get("eth_newFilter", json!([{"address": counter}]))
        .await;
    let poll = || fixture.get("eth_getFilterChanges", json!([id]));
    let count = || TransactionRequest::default().with_to(counter);
    fixture.send(count()).await;
    let first = poll().await;
    fixture.send(count()).await;
    fixture.get("conet_reorg", json!([2])).await;
    fixture.send(count()).await;
    let changes = poll().await;
    let changes = changes.as_array().unwrap();
    assert_eq!(changes.len(), 2);
    // Only what was reported is taken back.
    assert_eq!(changes[0]["removed"], true);
    assert_eq!(changes[0]["blockHash"], first[0]["blockHash"]);
    assert_eq!(changes[1]["removed"], false);
    assert_ne!(changes[1]["blockHash"], first[0]["blockHash"]);
    assert_eq!(poll().await, json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn reorg_makes_block_filters_report_the_new_branch() {
    let fixture = Fixture::start(by_hand()).await;
    let id = fixture.get("eth_newBlockFilter", json!([])).await;
    let poll = || fixture.get("eth_getFilterChanges", json!([id]));
    for _ in 0..3 {
        fixture.mine().await;
    }
    let old = poll().await;
    fixture.get("conet_reorg", json!(["0x2"])).await;
    fixture.mine().await;
    let new = poll().await;
    assert_eq!(new.as_array().unwrap().len(), 1);
    assert_ne!(new[0], old[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn reorg_never_reaches_what_was_called_finalized() {
    let fixture = Fixture::start(by_hand()).await;
    for _ in 0..MAX_REORG_BLOCKS + 6 {
        fixture.mine().await;
    }
    let finalized = fixture
        .get("eth_getBlockByNumber", json!(["finalized", false]))
        .await;
    assert_eq!(finalized["number"], "0x6");
    let error = fixture
        .call("conet_reorg", json!([MAX_REORG_BLOCKS + 1]))
        .await
        .unwrap_err();
    assert_eq!(error["message"], "can't drop 65 blocks, at most 64");
    let newest = fixture.get("conet_reorg", json!([MAX_REORG_BLOCKS])).await;
    assert_eq!(newest, finalized["number"]);
    let error = fixture.call("conet_reorg", json!([64])).await.unwrap_err();
    assert_eq!(error["message"], "can't drop 64 blocks, at most 6");
}

#[tokio::test(flavor = "multi_thread")]
async fn reorg_survives_a_restart() {
    let directory = TempDir::new().unwrap();
    let config = || with_controls(config_on(directory.path()));
    let first = Fixture::start(config()).await;
    first.pay(3).await;
    first.pay(4).await;
    first.chain.stop().await;
    let second = Fixture::start(config()).await;
    second.get("conet_reorg", json!([1])).await;
    second.chain.stop().await;
    let third = Fixture::start(config()).await;
    assert_eq!(third.number().await, 1);
    let balance = third.provider.get_balance(bob()).await.unwrap();
    assert_eq!(balance, U256::from(3));
    third.get("conet_reorg", json!([1])).await;
    third.pay(8).await;
    let balance = third.provider.get_balance(bob()).await.unwrap();
    assert_eq!(balance, U256::from(8));
}

#[tokio::test(flavor = "multi_thread")]
async fn controls_without_permission_do_not_exist_and_all_is_final() {
    let fixture = Fixture::start(config()).await;
    fixture.pay(1).await;
    for method in ["evm_mine", "conet_reorg"] {
        let error = fixture.call(method, json!([1])).await.unwrap_err();
        assert_eq!(error["code"], -32601);
    }
    let finalized = fixture
        .get("eth_getBlockByNumber", json!(["finalized", false]))
        .await;
    assert_eq!(finalized["number"], "0x1");
}

#[tokio::test(flavor = "multi_thread")]
async fn mine_at_a_later_time_moves_the_chains_clock() {
    let fixture = Fixture::start(by_hand()).await;
    let later = 4_000_000_000_u64;
    fixture.get("evm_mine", json!([later])).await;
    fixture.mine().await;
    for number in ["0x1", "0x2"] {
        let block = fixture
            .get("eth_getBlockByNumber", json!([number, false]))
            .await;
        assert_eq!(block["timestamp"], format!("{later:#x}"));
    }
}
