//! Contracts: deployed, called, estimated, read, and their logs.

use crate::fixture::{
    Fixture, READ, REVERT, alice, bob, by_hand, config, counted, counter_code, revert_data,
};
use alloy::{
    eips::BlockId,
    network::TransactionBuilder,
    primitives::{Address, Bytes, U256, hex},
    providers::Provider,
    rpc::types::{Filter, TransactionRequest},
};
use serde_json::json;

fn call(to: Address, data: &[u8]) -> TransactionRequest {
    TransactionRequest::default()
        .with_to(to)
        .with_input(data.to_vec())
}

#[tokio::test(flavor = "multi_thread")]
async fn contract_deployed_and_called_keeps_what_it_counted() {
    let fixture = Fixture::start(config()).await;
    let counter = fixture.deploy_counter().await;
    assert_eq!(counter, alice().address().create(0));
    let provider = &fixture.provider;
    let code = provider.get_code_at(counter).await.unwrap();
    assert_eq!(code, Bytes::from(counter_code()));
    for _ in 0..3 {
        assert!(fixture.send(call(counter, &[])).await.status());
    }
    let read = provider.call(call(counter, &READ)).await.unwrap();
    assert_eq!(U256::from_be_slice(&read), U256::from(3));
    let slot = provider.get_storage_at(counter, U256::ZERO).await.unwrap();
    assert_eq!(slot, U256::from(3));
    // A call leaves nothing behind.
    provider.call(call(counter, &[])).await.unwrap();
    let slot = fixture
        .get("eth_getStorageAt", json!([counter, "0x0", "latest"]))
        .await;
    assert_eq!(slot, format!("{:#066x}", 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn contract_state_at_an_older_block_is_as_it_was_then() {
    let fixture = Fixture::start(config()).await;
    let counter = fixture.deploy_counter().await;
    for _ in 0..5 {
        fixture.send(call(counter, &[])).await;
    }
    let provider = &fixture.provider;
    for number in 1..=6_u64 {
        let at = BlockId::number(number);
        let read = provider.call(call(counter, &READ)).block(at).await.unwrap();
        assert_eq!(U256::from_be_slice(&read), U256::from(number - 1));
        let nonce = provider
            .get_transaction_count(alice().address())
            .block_id(at);
        assert_eq!(nonce.await.unwrap(), number);
    }
    let before = provider.get_code_at(counter).block_id(BlockId::number(0));
    assert!(before.await.unwrap().is_empty());
    let third = provider
        .get_block_by_number(3.into())
        .await
        .unwrap()
        .unwrap();
    let read = provider
        .call(call(counter, &READ))
        .block(BlockId::hash(third.header.hash))
        .await
        .unwrap();
    assert_eq!(U256::from_be_slice(&read), U256::from(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn contract_state_older_than_the_kept_blocks_is_a_clear_error() {
    let fixture = Fixture::start(by_hand()).await;
    for _ in 0..260 {
        fixture.mine().await;
    }
    let at = |block: u64| json!([bob(), format!("{block:#x}")]);
    assert_eq!(fixture.get("eth_getBalance", at(4)).await, "0x0");
    assert_eq!(
        fixture.refusal("eth_getBalance", at(3)).await,
        "state of block 3 is not available: the oldest kept is that of block 4"
    );
    assert_eq!(
        fixture.refusal("eth_getBalance", at(261)).await,
        "header not found"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn call_that_reverts_gives_code_three_the_reason_and_the_data() {
    let fixture = Fixture::start(config()).await;
    let counter = fixture.deploy_counter().await;
    let request = json!({"to": counter, "data": Bytes::from(REVERT)});
    for method in ["eth_call", "eth_estimateGas"] {
        let error = fixture.call(method, json!([request])).await.unwrap_err();
        assert_eq!(error["code"], 3);
        assert_eq!(error["message"], "execution reverted: no");
        assert_eq!(error["data"], Bytes::from(revert_data()).to_string());
    }
    // Sent regardless, it is mined as failed, pays gas, and leaves no log.
    let receipt = fixture
        .send(call(counter, &REVERT).with_gas_limit(100_000))
        .await;
    assert!(!receipt.status());
    assert!(receipt.gas_used > 21_000 && receipt.gas_used < 100_000);
    assert!(receipt.logs().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn call_that_runs_out_or_breaks_says_so() {
    let fixture = Fixture::start(config()).await;
    let run = async |code: &[u8], gas: &str| {
        let request = json!({"data": Bytes::from(code.to_vec()), "gas": gas});
        fixture.refusal("eth_call", json!([request])).await
    };
    // An endless loop, an invalid instruction, a pop from an empty stack.
    assert_eq!(run(&hex!("5b5f56"), "0x100000").await, "out of gas");
    assert!(
        run(&hex!("fe"), "0x100000")
            .await
            .starts_with("invalid opcode")
    );
    assert_eq!(run(&hex!("50"), "0x100000").await, "stack underflow");
    assert_eq!(
        run(&hex!("00"), "0x100").await,
        "gas required exceeds allowance (256)"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn call_from_a_penniless_account_with_value_is_refused_and_without_is_not() {
    let fixture = Fixture::start(config()).await;
    let ok = fixture
        .get(
            "eth_call",
            json!([{"from": bob(), "to": alice().address()}]),
        )
        .await;
    assert_eq!(ok, "0x");
    for (method, extra) in [
        ("eth_call", json!({"value": "0x1"})),
        ("eth_estimateGas", json!({"value": "0x1"})),
        ("eth_call", json!({"gasPrice": "0x77359400"})),
    ] {
        let mut request = json!({"from": bob(), "to": alice().address()});
        request
            .as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        let text = fixture.refusal(method, json!([request])).await;
        assert!(text.starts_with("insufficient funds for "), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn call_from_a_contract_is_allowed() {
    let fixture = Fixture::start(config()).await;
    let counter = fixture.deploy_counter().await;
    let read = fixture
        .get(
            "eth_call",
            json!([{"from": counter, "to": counter, "input": Bytes::from(READ)}]),
        )
        .await;
    assert_eq!(read, format!("{:#066x}", 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn estimate_is_enough_and_not_much_more() {
    let fixture = Fixture::start(config()).await;
    let counter = fixture.deploy_counter().await;
    let provider = &fixture.provider;
    let plain = call(bob(), &[]).with_from(alice().address());
    assert_eq!(provider.estimate_gas(plain).await.unwrap(), 21_000);
    // The first count writes a fresh slot, the second a used one.
    for _ in 0..2 {
        let estimate = provider
            .estimate_gas(call(counter, &[]).with_from(alice().address()))
            .await
            .unwrap();
        let receipt = fixture
            .send(call(counter, &[]).with_gas_limit(estimate))
            .await;
        assert!(receipt.status());
        assert!(estimate >= receipt.gas_used);
        assert!(estimate < receipt.gas_used * 103 / 100, "{estimate}");
    }
    let too_little = json!([{"to": counter, "gas": "0x5300"}]);
    assert_eq!(
        fixture.refusal("eth_estimateGas", too_little).await,
        "gas required exceeds allowance (21248)"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_are_found_by_address_topic_range_and_block_hash() {
    let fixture = Fixture::start(config()).await;
    let counter = fixture.deploy_counter().await;
    let other = fixture.deploy_counter().await;
    for to in [counter, other, counter] {
        fixture.send(call(to, &[])).await;
    }
    let provider = &fixture.provider;
    let logs = provider
        .get_logs(&Filter::new().address(counter).from_block(0))
        .await
        .unwrap();
    let shown: Vec<_> = logs
        .iter()
        .map(|log| {
            (
                log.block_number.unwrap(),
                U256::from_be_slice(&log.data().data),
            )
        })
        .collect();
    assert_eq!(shown, [(3, U256::from(1)), (5, U256::from(2))]);
    assert_eq!(logs[0].topics(), [counted()]);
    let count = async |filter: Filter| provider.get_logs(&filter).await.unwrap().len();
    let all = || Filter::new().from_block(0);
    assert_eq!(count(all()).await, 3);
    assert_eq!(count(all().event_signature(counted())).await, 3);
    assert_eq!(count(all().event_signature(bob().into_word())).await, 0);
    assert_eq!(count(all().topic1(counted())).await, 0);
    assert_eq!(count(all().address(vec![counter, other])).await, 3);
    assert_eq!(count(all().to_block(3)).await, 1);
    assert_eq!(count(Filter::new()).await, 1);
    let hash = logs[1].block_hash.unwrap();
    assert_eq!(count(Filter::new().at_block_hash(hash)).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_asked_for_wrongly_or_too_widely_are_a_clear_error() {
    let fixture = Fixture::start(by_hand()).await;
    fixture.mine().await;
    let ask = async |filter| {
        fixture
            .call("eth_getLogs", json!([filter]))
            .await
            .unwrap_err()
    };
    let backwards = ask(json!({"fromBlock": "0x2", "toBlock": "0x1"})).await;
    assert_eq!(backwards["code"], -32602);
    assert_eq!(backwards["message"], "invalid block range params");
    let unknown = ask(json!({"blockHash": counted()})).await;
    assert_eq!(unknown["code"], -32000);
    let both = ask(json!({"blockHash": counted(), "fromBlock": "0x1"})).await;
    assert_eq!(both["code"], -32602);
    // Beyond the newest block there is nothing, and that is no error.
    let beyond = fixture
        .get(
            "eth_getLogs",
            json!([{"fromBlock": "0x1", "toBlock": "0xffffffffffffffff"}]),
        )
        .await;
    assert_eq!(beyond, json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_of_one_block_number_their_logs_through() {
    let fixture = Fixture::start(by_hand()).await;
    let deploy =
        TransactionRequest::default().with_deploy_code(crate::fixture::counter_init_code());
    let pending = fixture.provider.send_transaction(deploy).await.unwrap();
    fixture.mine().await;
    let counter = fixture
        .receipt(*pending.tx_hash())
        .await
        .contract_address
        .unwrap();
    for _ in 0..3 {
        let request = call(counter, &[]).with_gas_limit(100_000);
        let _ = fixture.provider.send_transaction(request).await.unwrap();
    }
    fixture.mine().await;
    let receipts = fixture
        .provider
        .get_block_receipts(BlockId::latest())
        .await
        .unwrap()
        .unwrap();
    let logs: Vec<_> = receipts
        .iter()
        .flat_map(|receipt| receipt.logs())
        .map(|log| (log.transaction_index.unwrap(), log.log_index.unwrap()))
        .collect();
    assert_eq!(logs, [(0, 0), (1, 1), (2, 2)]);
    let found = fixture.provider.get_logs(&Filter::new()).await.unwrap();
    let own: Vec<_> = receipts.iter().flat_map(|r| r.logs().to_vec()).collect();
    assert_eq!(found, own);
}
