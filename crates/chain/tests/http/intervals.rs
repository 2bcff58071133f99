//! Blocks by the clock.

use crate::fixture::{Fixture, config, every, signed, transfer};
use alloy::providers::Provider;
use serde_json::{Value, json};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::{Instant, sleep};

#[tokio::test(flavor = "multi_thread")]
async fn interval_chain_makes_empty_blocks_with_rising_times() {
    let fixture = Fixture::start(every(Duration::from_millis(400))).await;
    let started = Instant::now();
    while fixture.number().await < 5 {
        sleep(Duration::from_millis(10)).await;
    }
    let elapsed = started.elapsed();
    assert!(elapsed > Duration::from_millis(1500), "{elapsed:?}");
    let mut last = 0;
    for number in 0..=5 {
        let block = fixture
            .provider
            .get_block_by_number(number.into())
            .await
            .unwrap()
            .unwrap();
        assert!(block.header.timestamp >= last);
        last = block.header.timestamp;
        assert!(block.transactions.is_empty());
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    assert!(now.as_secs() - last < 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn interval_chain_keeps_a_transaction_until_the_next_block() {
    let fixture = Fixture::start(every(Duration::from_millis(300))).await;
    let raw = signed(transfer(0)).await;
    let hash = fixture.get("eth_sendRawTransaction", json!([raw])).await;
    let waiting = fixture.get("eth_getTransactionByHash", json!([hash])).await;
    assert_eq!(waiting["blockHash"], Value::Null);
    let receipt = fixture.receipt(serde_json::from_value(hash).unwrap()).await;
    assert!(receipt.status());
}

#[tokio::test(flavor = "multi_thread")]
async fn interval_chain_lets_a_transaction_below_the_base_fee_wait_for_cheaper_times() {
    let fixture = Fixture::start(every(Duration::from_millis(30))).await;
    // The base fee falls by an eighth with each empty block.
    let cheap = alloy::network::TransactionBuilder::with_max_priority_fee_per_gas(
        alloy::network::TransactionBuilder::with_max_fee_per_gas(transfer(0), 400_000_000),
        1,
    );
    let raw = signed(cheap).await;
    let hash = fixture.get("eth_sendRawTransaction", json!([raw])).await;
    let receipt = fixture.receipt(serde_json::from_value(hash).unwrap()).await;
    assert!(receipt.block_number.unwrap() >= 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn instant_chain_makes_no_block_without_a_transaction() {
    let fixture = Fixture::start(config()).await;
    sleep(Duration::from_millis(200)).await;
    assert_eq!(fixture.number().await, 0);
}
