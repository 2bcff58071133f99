//! Transactions from the wallet to the receipt.

use crate::fixture::{FUNDS, Fixture, alice, bob, by_hand, config, ether, signed, transfer};
use alloy::{
    consensus::{Transaction as _, proofs::calculate_transaction_root},
    eips::{BlockId, BlockNumberOrTag, eip2930::AccessList},
    network::TransactionBuilder,
    primitives::{Address, B256, U256},
    providers::Provider,
    rpc::types::TransactionRequest,
};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn transfer_sent_by_alloy_moves_value_and_charges_gas() {
    let fixture = Fixture::start(config()).await;
    let receipt = fixture.pay(5).await;
    assert!(receipt.status());
    assert_eq!(receipt.gas_used, 21_000);
    assert_eq!(receipt.block_number, Some(1));
    assert_eq!(receipt.from, alice().address());
    assert_eq!(receipt.to, Some(bob()));
    let provider = &fixture.provider;
    assert_eq!(provider.get_balance(bob()).await.unwrap(), U256::from(5));
    let fee = U256::from(receipt.gas_used) * U256::from(receipt.effective_gas_price);
    assert_eq!(
        provider.get_balance(alice().address()).await.unwrap(),
        ether(FUNDS) - fee - U256::from(5)
    );
    assert_eq!(
        provider
            .get_transaction_count(alice().address())
            .await
            .unwrap(),
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn transaction_of_each_type_is_mined_and_shown_with_its_type() {
    let fixture = Fixture::start(config()).await;
    let legacy = TransactionRequest {
        max_fee_per_gas: None,
        max_priority_fee_per_gas: None,
        ..transfer(0).with_gas_price(2_000_000_000)
    };
    let list = TransactionRequest {
        max_fee_per_gas: None,
        max_priority_fee_per_gas: None,
        ..transfer(1)
            .with_gas_price(2_000_000_000)
            .with_access_list(AccessList::from(vec![
                alloy::eips::eip2930::AccessListItem {
                    address: bob(),
                    storage_keys: vec![B256::ZERO],
                },
            ]))
            .with_gas_limit(30_000)
    };
    for (kind, request) in [(0, legacy), (1, list), (2, transfer(2))] {
        let raw = signed(request).await;
        let hash = fixture.get("eth_sendRawTransaction", json!([raw])).await;
        let shown = fixture.get("eth_getTransactionByHash", json!([hash])).await;
        assert_eq!(shown["type"], format!("{kind:#x}"));
        assert_eq!(shown["hash"], hash);
        assert_eq!(shown["blockNumber"], format!("{:#x}", kind + 1));
        let receipt = fixture
            .get("eth_getTransactionReceipt", json!([hash]))
            .await;
        assert_eq!(receipt["type"], format!("{kind:#x}"));
        assert_eq!(receipt["status"], "0x1");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn block_header_commits_to_its_parent_transactions_and_receipts() {
    let fixture = Fixture::start(config()).await;
    fixture.pay(1).await;
    fixture.deploy_counter().await;
    let provider = &fixture.provider;
    let mut parent: Option<B256> = None;
    for number in 0..=2 {
        let block = provider
            .get_block_by_number(number.into())
            .full()
            .await
            .unwrap()
            .unwrap();
        assert_eq!(block.header.inner.hash_slow(), block.header.hash);
        if let Some(parent) = parent {
            assert_eq!(block.header.parent_hash, parent);
        }
        parent = Some(block.header.hash);
        let transactions: Vec<_> = block
            .transactions
            .txns()
            .map(|t| t.inner.inner().clone())
            .collect();
        assert_eq!(
            calculate_transaction_root(&transactions),
            block.header.transactions_root
        );
        let receipts = provider
            .get_block_receipts(BlockId::number(number))
            .await
            .unwrap()
            .unwrap();
        let receipts: Vec<_> = receipts
            .into_iter()
            .map(|r| r.inner.into_primitives_receipt())
            .collect();
        assert_eq!(
            alloy::consensus::proofs::calculate_receipt_root(&receipts),
            block.header.receipts_root
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn state_root_of_genesis_is_that_of_its_accounts() {
    let fixture = Fixture::start(config()).await;
    let block = fixture
        .provider
        .get_block_by_number(BlockNumberOrTag::Earliest)
        .await
        .unwrap()
        .unwrap();
    let expected = alloy::consensus::proofs::state_root_unhashed([(
        alice().address(),
        alloy::consensus::TrieAccount {
            balance: ether(FUNDS),
            ..Default::default()
        },
    )]);
    assert_eq!(block.header.state_root, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_with_a_nonce_gap_wait_until_it_closes() {
    let fixture = Fixture::start(config()).await;
    let count = |tag: &'static str| {
        let params = json!([alice().address(), tag]);
        fixture.get("eth_getTransactionCount", params)
    };
    let mut hashes = vec![];
    for nonce in [2, 1] {
        let raw = signed(transfer(nonce)).await;
        hashes.push(fixture.get("eth_sendRawTransaction", json!([raw])).await);
    }
    assert_eq!(fixture.number().await, 0);
    assert_eq!(count("pending").await, "0x0");
    for hash in &hashes {
        let shown = fixture.get("eth_getTransactionByHash", json!([hash])).await;
        assert_eq!(shown["blockNumber"], Value::Null);
        let receipt = fixture
            .get("eth_getTransactionReceipt", json!([hash]))
            .await;
        assert_eq!(receipt, Value::Null);
    }
    let raw = signed(transfer(0)).await;
    fixture.get("eth_sendRawTransaction", json!([raw])).await;
    for hash in &hashes {
        let receipt = fixture
            .get("eth_getTransactionReceipt", json!([hash]))
            .await;
        assert_eq!(receipt["status"], "0x1");
    }
    assert_eq!(count("pending").await, "0x3");
    assert_eq!(count("latest").await, "0x3");
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_that_wait_count_as_pending_and_share_a_block() {
    let fixture = Fixture::start(by_hand()).await;
    for nonce in 0..3 {
        let raw = signed(transfer(nonce)).await;
        fixture.get("eth_sendRawTransaction", json!([raw])).await;
    }
    let address = alice().address();
    let pending = fixture
        .get("eth_getTransactionCount", json!([address, "pending"]))
        .await;
    assert_eq!(pending, "0x3");
    let latest = fixture
        .get("eth_getTransactionCount", json!([address, "latest"]))
        .await;
    assert_eq!(latest, "0x0");
    let pending = fixture
        .provider
        .get_block_by_number(BlockNumberOrTag::Pending)
        .full()
        .await
        .unwrap()
        .unwrap();
    assert_eq!(pending.header.number, 1);
    assert_eq!(pending.transactions.len(), 3);
    fixture.mine().await;
    let count = fixture
        .get("eth_getBlockTransactionCountByNumber", json!(["latest"]))
        .await;
    assert_eq!(count, "0x3");
    let receipts = fixture.get("eth_getBlockReceipts", json!(["0x1"])).await;
    let cumulative: Vec<_> = receipts
        .as_array()
        .unwrap()
        .iter()
        .map(|r| (r["cumulativeGasUsed"].clone(), r["gasUsed"].clone()))
        .collect();
    assert_eq!(
        cumulative,
        [
            (json!("0x5208"), json!("0x5208")),
            (json!("0xa410"), json!("0x5208")),
            (json!("0xf618"), json!("0x5208"))
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn transaction_replaced_by_a_better_paying_one_is_forgotten() {
    let fixture = Fixture::start(by_hand()).await;
    let send = async |request| {
        let raw = signed(request).await;
        fixture.call("eth_sendRawTransaction", json!([raw])).await
    };
    let first = send(transfer(0)).await.unwrap();
    let again = send(transfer(0)).await.unwrap_err();
    assert_eq!(again["message"], "already known");
    let meagre = send(transfer(0).with_value(U256::from(2))).await;
    assert_eq!(
        meagre.unwrap_err()["message"],
        "replacement transaction underpriced"
    );
    let better = transfer(0)
        .with_value(U256::from(2))
        .with_max_fee_per_gas(11_000_000_000)
        .with_max_priority_fee_per_gas(1_100_000_000);
    let second = send(better).await.unwrap();
    fixture.mine().await;
    let gone = fixture
        .get("eth_getTransactionByHash", json!([first]))
        .await;
    assert_eq!(gone, Value::Null);
    let mined = fixture
        .get("eth_getTransactionReceipt", json!([second]))
        .await;
    assert_eq!(mined["blockNumber"], "0x1");
}

#[tokio::test(flavor = "multi_thread")]
async fn transaction_that_can_not_run_is_refused_in_geths_words() {
    let fixture = Fixture::start(config()).await;
    fixture.pay(1).await;
    let cases = [
        (transfer(0), "nonce too low: next nonce 1, tx nonce 0"),
        (
            transfer(1).with_value(ether(2 * FUNDS)),
            "insufficient funds for gas * price + value: balance ",
        ),
        (
            transfer(1).with_chain_id(1),
            "invalid chain id for signer: have 1 want 31337",
        ),
        (
            transfer(1).with_gas_limit(20_999),
            "intrinsic gas too low: gas 20999, minimum needed 21000",
        ),
        (
            transfer(1).with_gas_limit(30_000_001),
            "exceeds block gas limit",
        ),
        (
            transfer(1).with_gas_limit(16_777_217),
            "transaction gas limit too high (cap: 16777216, tx: 16777217)",
        ),
        (
            transfer(1).with_max_fee_per_gas(999),
            "max priority fee per gas higher than max fee per gas",
        ),
        (
            transfer(1)
                .with_max_fee_per_gas(999)
                .with_max_priority_fee_per_gas(1),
            "max fee per gas less than block base fee",
        ),
        (
            transfer(1)
                .with_deploy_code(vec![0; 49_153])
                .with_gas_limit(5_000_000),
            "max initcode size exceeded: code size 49153, limit 49152",
        ),
        (
            transfer(1).with_input(vec![1; 1000]).with_gas_limit(40_000),
            "insufficient gas for floor data gas cost: gas 40000, minimum needed 61000",
        ),
    ];
    for (request, message) in cases {
        let raw = signed(request).await;
        let error = fixture
            .call("eth_sendRawTransaction", json!([raw]))
            .await
            .unwrap_err();
        assert_eq!(error["code"], -32000);
        let text = error["message"].as_str().unwrap();
        assert!(text.starts_with(message), "{text} is not {message}");
    }
    for (raw, message) in [
        ("0x", "rlp: "),
        ("0xc0", "rlp: "),
        ("0x02c0", "rlp: "),
        ("0x03c0", "transaction type not supported"),
    ] {
        let text = fixture
            .refusal("eth_sendRawTransaction", json!([raw]))
            .await;
        assert!(text.starts_with(message), "{raw}: {text}");
    }
    assert_eq!(fixture.number().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn transaction_without_a_chain_id_is_refused() {
    use alloy::{
        consensus::{SignableTransaction, TxEnvelope, TxLegacy},
        eips::Encodable2718,
        signers::SignerSync,
    };
    let fixture = Fixture::start(config()).await;
    let unprotected = TxLegacy {
        gas_price: 2_000_000_000,
        gas_limit: 21_000,
        to: Address::ZERO.into(),
        ..TxLegacy::default()
    };
    let signature = alice()
        .sign_hash_sync(&unprotected.signature_hash())
        .unwrap();
    let raw = TxEnvelope::from(unprotected.into_signed(signature)).encoded_2718();
    let raw = alloy::primitives::Bytes::from(raw);
    assert_eq!(
        fixture
            .refusal("eth_sendRawTransaction", json!([raw]))
            .await,
        "only replay-protected (EIP-155) transactions allowed over RPC"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_sent_at_once_by_many_all_get_mined() {
    let fixture = Fixture::start(config()).await;
    let mut sends = vec![];
    for nonce in 0..40 {
        let raw = signed(transfer(nonce)).await;
        let provider = fixture.provider.clone();
        sends.push(tokio::spawn(async move {
            *provider.send_raw_transaction(&raw).await.unwrap().tx_hash()
        }));
    }
    for send in sends {
        let receipt = fixture.receipt(send.await.unwrap()).await;
        assert!(receipt.status());
    }
    let transaction = fixture.provider.get_balance(bob()).await.unwrap();
    assert_eq!(transaction, U256::from(40));
}

#[tokio::test(flavor = "multi_thread")]
async fn transaction_shown_by_alloy_is_the_one_sent() {
    let fixture = Fixture::start(config()).await;
    let receipt = fixture.pay(77).await;
    let shown = fixture
        .provider
        .get_transaction_by_hash(receipt.transaction_hash)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(shown.inner.signer(), alice().address());
    assert_eq!(shown.value(), U256::from(77));
    assert_eq!(shown.block_hash, receipt.block_hash);
    assert_eq!(shown.effective_gas_price, Some(receipt.effective_gas_price));
}
