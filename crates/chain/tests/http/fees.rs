//! Fees: what is suggested, what is charged, what was paid.

use crate::fixture::{Fixture, alice, by_hand, config, signed, transfer};
use alloy::{
    eips::{BlockNumberOrTag, eip1559::BaseFeeParams},
    network::TransactionBuilder,
    primitives::U256,
    providers::Provider,
};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn base_fee_follows_eip_1559_from_block_to_block() {
    let fixture = Fixture::start(by_hand()).await;
    let mut nonce = 0;
    // Full, empty, half full: up, down, in between.
    for transactions in [40, 0, 20, 0] {
        for _ in 0..transactions {
            // Each asks for data gas that it really pays: the floor of 30,000 bytes.
            let raw = signed(
                transfer(nonce)
                    .with_input(vec![1; 18_000])
                    .with_gas_limit(741_000)
                    .with_max_fee_per_gas(100_000_000_000),
            )
            .await;
            fixture.get("eth_sendRawTransaction", json!([raw])).await;
            nonce += 1;
        }
        fixture.mine().await;
    }
    let mut fees = vec![];
    for number in 0..=4 {
        let block = fixture
            .provider
            .get_block_by_number(number.into())
            .await
            .unwrap()
            .unwrap();
        fees.push(block.header.base_fee_per_gas.unwrap());
        if number < 4 {
            let next = fixture
                .provider
                .get_block_by_number((number + 1).into())
                .await
                .unwrap()
                .unwrap();
            assert_eq!(
                next.header.base_fee_per_gas,
                block.header.next_block_base_fee(BaseFeeParams::ethereum())
            );
        }
    }
    assert_eq!(fees[0], 1_000_000_000);
    assert_eq!(fees[1], 875_000_000);
    assert!(fees[2] > fees[1] && fees[3] < fees[2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn fee_history_has_fees_ratios_and_tips_of_the_asked_blocks() {
    let fixture = Fixture::start(by_hand()).await;
    fixture.mine().await;
    for (nonce, tip) in [(0, 1_000), (1, 2_000), (2, 3_000)] {
        let raw = signed(transfer(nonce).with_max_priority_fee_per_gas(tip)).await;
        fixture.get("eth_sendRawTransaction", json!([raw])).await;
    }
    fixture.mine().await;
    let history = fixture
        .provider
        .get_fee_history(10, BlockNumberOrTag::Latest, &[0.0, 50.0, 100.0])
        .await
        .unwrap();
    assert_eq!(history.oldest_block, 0);
    assert_eq!(history.base_fee_per_gas.len(), 4);
    assert_eq!(history.gas_used_ratio, [0.0, 0.0, 63_000.0 / 30_000_000.0]);
    assert_eq!(
        history.reward.unwrap(),
        [vec![0; 3], vec![0; 3], vec![1_000, 2_000, 3_000]]
    );
    let short = fixture
        .get("eth_feeHistory", json!(["0x1", "0x1", []]))
        .await;
    assert_eq!(short["oldestBlock"], "0x1");
    assert_eq!(short["gasUsedRatio"], json!([0.0]));
    assert_eq!(short["baseFeePerGas"].as_array().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn fee_history_asked_for_wrongly_is_refused() {
    let fixture = Fixture::start(config()).await;
    for percentiles in [
        json!([50, 20]),
        json!([-1]),
        json!([101]),
        json!(vec![1; 101]),
    ] {
        let text = fixture
            .refusal("eth_feeHistory", json!(["0x1", "latest", percentiles]))
            .await;
        assert!(text.starts_with("invalid reward percentile"), "{text}");
    }
    assert_eq!(
        fixture
            .refusal("eth_feeHistory", json!(["0x1", "0x9"]))
            .await,
        "header not found"
    );
    let none = fixture
        .get("eth_feeHistory", json!(["0x0", "latest"]))
        .await;
    assert_eq!(none["oldestBlock"], "0x0");
}

#[tokio::test(flavor = "multi_thread")]
async fn fees_suggested_are_enough_for_the_next_block() {
    let fixture = Fixture::start(config()).await;
    let provider = &fixture.provider;
    let price = provider.get_gas_price().await.unwrap();
    let tip = provider.get_max_priority_fee_per_gas().await.unwrap();
    assert_eq!(price, 875_000_000 + tip);
    let suggested = provider.estimate_eip1559_fees().await.unwrap();
    let raw = signed(
        transfer(0)
            .with_max_fee_per_gas(suggested.max_fee_per_gas)
            .with_max_priority_fee_per_gas(suggested.max_priority_fee_per_gas),
    )
    .await;
    fixture.get("eth_sendRawTransaction", json!([raw])).await;
    assert_eq!(fixture.number().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn tips_go_to_the_zero_address_and_the_base_fee_to_nobody() {
    let fixture = Fixture::start(config()).await;
    let before = fixture
        .provider
        .get_balance(alice().address())
        .await
        .unwrap();
    let raw = signed(transfer(0)).await;
    fixture.get("eth_sendRawTransaction", json!([raw])).await;
    let receipt = fixture.get("eth_getBlockReceipts", json!(["latest"])).await;
    assert_eq!(receipt[0]["effectiveGasPrice"], "0x6fc23ac0");
    let tips = fixture
        .provider
        .get_balance(Default::default())
        .await
        .unwrap();
    assert_eq!(tips, U256::from(21_000_u64 * 1_000_000_000));
    let after = fixture
        .provider
        .get_balance(alice().address())
        .await
        .unwrap();
    assert_eq!(before - after, U256::from(21_000_u64 * 1_875_000_000 + 1));
}
