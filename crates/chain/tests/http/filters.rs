//! Filters: what is new since the last poll.

use crate::fixture::{Fixture, bob, by_hand, config, counted};
use alloy::{
    network::TransactionBuilder,
    primitives::U256,
    providers::Provider,
    rpc::types::{Filter, Log, TransactionRequest},
};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn block_filter_reports_each_block_once() {
    let fixture = Fixture::start(by_hand()).await;
    fixture.mine().await;
    let id = fixture.get("eth_newBlockFilter", json!([])).await;
    let poll = || fixture.get("eth_getFilterChanges", json!([id]));
    assert_eq!(poll().await, json!([]));
    fixture.mine().await;
    fixture.mine().await;
    let mut hashes = vec![];
    for number in ["0x2", "0x3"] {
        let block = fixture
            .get("eth_getBlockByNumber", json!([number, false]))
            .await;
        hashes.push(block["hash"].clone());
    }
    assert_eq!(poll().await, json!(hashes));
    assert_eq!(poll().await, json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn log_filter_reports_matching_logs_once_and_all_on_request() {
    let fixture = Fixture::start(config()).await;
    let counter = fixture.deploy_counter().await;
    let other = fixture.deploy_counter().await;
    let count = async |to| {
        fixture
            .send(TransactionRequest::default().with_to(to))
            .await
    };
    count(counter).await;
    let provider = &fixture.provider;
    let filter = Filter::new().address(counter).from_block(0);
    let id = provider.new_filter(&filter).await.unwrap();
    let poll = async || {
        let logs: Vec<Log> = provider.get_filter_changes(id).await.unwrap();
        logs.iter()
            .map(|log| U256::from_be_slice(&log.data().data).to::<u64>())
            .collect::<Vec<_>>()
    };
    assert!(poll().await.is_empty());
    count(counter).await;
    count(other).await;
    count(counter).await;
    assert_eq!(poll().await, [2, 3]);
    assert!(poll().await.is_empty());
    assert_eq!(provider.get_filter_logs(id).await.unwrap().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn log_filter_stops_at_its_last_block() {
    let fixture = Fixture::start(config()).await;
    let counter = fixture.deploy_counter().await;
    let filter = json!({"toBlock": "0x2", "topics": [counted()]});
    let id = fixture.get("eth_newFilter", json!([filter])).await;
    for _ in 0..2 {
        let request = TransactionRequest::default().with_to(counter);
        fixture.send(request).await;
    }
    let changes = fixture.get("eth_getFilterChanges", json!([id])).await;
    assert_eq!(changes.as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn filter_uninstalled_or_never_made_is_not_found() {
    let fixture = Fixture::start(config()).await;
    let id = fixture.get("eth_newBlockFilter", json!([])).await;
    let text = fixture.refusal("eth_getFilterLogs", json!([id])).await;
    assert_eq!(text, "filter not found");
    assert_eq!(fixture.get("eth_uninstallFilter", json!([id])).await, true);
    assert_eq!(fixture.get("eth_uninstallFilter", json!([id])).await, false);
    let text = fixture.refusal("eth_getFilterChanges", json!([id])).await;
    assert_eq!(text, "filter not found");
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_beyond_the_bound_are_refused() {
    let fixture = Fixture::start(config()).await;
    for _ in 0..256 {
        fixture.get("eth_newBlockFilter", json!([])).await;
    }
    let error = fixture
        .call("eth_newFilter", json!([{"address": bob()}]))
        .await
        .unwrap_err();
    assert_eq!(error["code"], -32005);
}

#[tokio::test(flavor = "multi_thread")]
async fn alloy_watching_blocks_sees_them() {
    let fixture = Fixture::start(config()).await;
    let pending = fixture
        .provider
        .send_transaction(
            TransactionRequest::default()
                .with_to(bob())
                .with_value(U256::from(1)),
        )
        .await
        .unwrap();
    let receipt = pending.get_receipt().await.unwrap();
    assert!(receipt.status());
}
