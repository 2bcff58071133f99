//! What a restart and a crash leave: everything that was answered.

use crate::fixture::{
    Fixture, READ, alice, bob, by_hand, config, config_on, every, provider, signed, transfer,
};
use alloy::{
    network::TransactionBuilder,
    primitives::{Address, B256, U256},
    providers::Provider,
    rpc::types::TransactionRequest,
};
use chain::{Chain, ChainConfig, ChainError, EngineError, StoreError};
use serde_json::json;
use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

async fn start_error(config: ChainConfig) -> ChainError {
    Chain::start(config, CancellationToken::new())
        .await
        .expect_err("the chain must not start")
}

fn on(directory: &Path, config: ChainConfig) -> ChainConfig {
    ChainConfig {
        data_dir: Some(directory.to_owned()),
        ..config
    }
}

async fn head(fixture: &Fixture) -> (u64, B256, B256) {
    let block = fixture
        .provider
        .get_block_by_number(Default::default())
        .await
        .unwrap()
        .unwrap();
    (
        block.header.number,
        block.header.hash,
        block.header.state_root,
    )
}

async fn counter_value(fixture: &Fixture, counter: Address) -> U256 {
    let request = TransactionRequest::default()
        .with_to(counter)
        .with_input(READ.to_vec());
    let read = fixture.provider.call(request).await.unwrap();
    U256::from_be_slice(&read)
}

#[tokio::test(flavor = "multi_thread")]
async fn chain_started_again_goes_on_where_it_stopped() {
    let directory = TempDir::new().unwrap();
    let first = Fixture::start(config_on(directory.path())).await;
    let counter = first.deploy_counter().await;
    first
        .send(TransactionRequest::default().with_to(counter))
        .await;
    let receipt = first.pay(9).await;
    let before = head(&first).await;
    first.chain.stop().await;

    let second = Fixture::start(config_on(directory.path())).await;
    assert_eq!(head(&second).await, before);
    assert_eq!(counter_value(&second, counter).await, U256::from(1));
    assert_eq!(second.receipt(receipt.transaction_hash).await, receipt);
    second
        .send(TransactionRequest::default().with_to(counter))
        .await;
    assert_eq!(counter_value(&second, counter).await, U256::from(2));
    // The way back is there too.
    let old = second.provider.get_balance(bob()).block_id(2.into());
    assert_eq!(old.await.unwrap(), U256::ZERO);
}

#[tokio::test(flavor = "multi_thread")]
async fn chain_dropped_without_stop_frees_its_directory_and_loses_nothing() {
    let directory = TempDir::new().unwrap();
    let first = Fixture::start(config_on(directory.path())).await;
    first.pay(9).await;
    let before = head(&first).await;
    drop(first);
    let second = loop {
        match Chain::start(config_on(directory.path()), CancellationToken::new()).await {
            Ok(chain) => break chain,
            Err(ChainError::Engine(EngineError::Store(StoreError::InUse))) => {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Err(error) => panic!("{error}"),
        }
    };
    let second = Fixture {
        provider: provider(&second.rpc_url()),
        chain: second,
    };
    assert_eq!(head(&second).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn chain_cut_off_at_any_byte_of_its_log_is_a_whole_older_one() {
    let directory = TempDir::new().unwrap();
    let running = Fixture::start(config_on(directory.path())).await;
    let mut heads = vec![head(&running).await];
    running.deploy_counter().await;
    heads.push(head(&running).await);
    for wei in 1..=6 {
        running.pay(wei).await;
        heads.push(head(&running).await);
    }
    // What a power cut leaves: the database as it is, and the log up to some byte.
    let database = fs::read(directory.path().join("chain.sqlite3")).unwrap();
    let log = fs::read(directory.path().join("chain.sqlite3-wal")).unwrap();
    let mut seen = vec![];
    for part in 0..=24 {
        let copy = TempDir::new().unwrap();
        let cut = log.len() * part / 24;
        let cut = cut.saturating_sub(part % 3);
        fs::write(copy.path().join("chain.sqlite3"), &database).unwrap();
        fs::write(copy.path().join("chain.sqlite3-wal"), &log[..cut]).unwrap();
        let Ok(chain) = Chain::start(config_on(copy.path()), CancellationToken::new()).await else {
            panic!("cut at byte {cut} of {}", log.len());
        };
        let cut_off = Fixture {
            provider: provider(&chain.rpc_url()),
            chain,
        };
        let (number, hash, root) = head(&cut_off).await;
        if number > 0 {
            assert_eq!((number, hash, root), heads[number as usize]);
        }
        let balance = cut_off.provider.get_balance(bob()).await.unwrap();
        let paid: u64 = (1..number).sum();
        assert_eq!(balance, U256::from(paid));
        cut_off.pay(1).await;
        seen.push(number);
    }
    assert_eq!(seen.last(), Some(&7));
    assert!(seen.is_sorted() && seen.contains(&3));
}

/// Runs as a process of its own in [`chain_killed_at_any_moment_has_every_answered_block`].
#[tokio::test(flavor = "multi_thread")]
async fn chain_in_a_child_process() {
    let Ok(directory) = std::env::var("CHAIN_TEST_DIRECTORY") else {
        return;
    };
    let fixture = Fixture::start(config_on(Path::new(&directory))).await;
    println!("\nlistening {}", fixture.chain.rpc_url());
    std::future::pending::<()>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn chain_killed_at_any_moment_has_every_answered_block() {
    let directory = TempDir::new().unwrap();
    let mut answered = 0_u64;
    for round in 0..5 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "durability::chain_in_a_child_process",
                "--nocapture",
            ])
            .env("CHAIN_TEST_DIRECTORY", directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let url = loop {
            let line = lines.next().unwrap().unwrap();
            if let Some(url) = line.strip_prefix("listening ") {
                break url.to_owned();
            }
        };
        let rpc = provider(&url);
        let nonce = rpc.get_transaction_count(alice().address()).await.unwrap();
        // One that was under way at the kill may have made it.
        assert!(nonce == answered || nonce == answered + 1);
        answered = nonce;
        let delay = Duration::from_millis(40 + round * 17);
        let killer = std::thread::spawn(move || {
            std::thread::sleep(delay);
            child.kill().unwrap();
            child.wait().unwrap();
        });
        loop {
            let raw = signed(transfer(answered)).await;
            match rpc.send_raw_transaction(&raw).await {
                Ok(_) => answered += 1,
                Err(_) => break,
            }
        }
        killer.join().unwrap();
    }
    assert!(answered > 5, "only {answered} were sent");
    let last = Fixture::start(config_on(directory.path())).await;
    let balance = last.provider.get_balance(bob()).await.unwrap();
    assert!(balance == U256::from(answered) || balance == U256::from(answered + 1));
    assert_eq!(U256::from(last.number().await), balance);
}

#[tokio::test(flavor = "multi_thread")]
async fn transaction_that_waits_survives_a_restart() {
    let directory = TempDir::new().unwrap();
    let first = Fixture::start(on(directory.path(), by_hand())).await;
    let mut hashes = vec![];
    for nonce in [0, 1, 3] {
        let raw = signed(transfer(nonce)).await;
        hashes.push(first.get("eth_sendRawTransaction", json!([raw])).await);
    }
    first.chain.stop().await;
    let second = Fixture::start(on(directory.path(), by_hand())).await;
    second.mine().await;
    for (hash, block) in hashes.iter().zip([json!("0x1"), json!("0x1"), json!(null)]) {
        let shown = second.get("eth_getTransactionByHash", json!([hash])).await;
        assert_eq!(shown["blockNumber"], block);
    }
    second.chain.stop().await;
    // An instant chain takes up what an interval chain left, once it can.
    let third = Fixture::start(config_on(directory.path())).await;
    let raw = signed(transfer(2)).await;
    third.get("eth_sendRawTransaction", json!([raw])).await;
    let last = third
        .get("eth_getTransactionByHash", json!([hashes[2]]))
        .await;
    assert_ne!(last["blockNumber"], json!(null));
}

#[tokio::test(flavor = "multi_thread")]
async fn chain_with_another_id_or_genesis_is_refused() {
    let directory = TempDir::new().unwrap();
    Fixture::start(config_on(directory.path()))
        .await
        .chain
        .stop()
        .await;
    let other_id = ChainConfig {
        chain_id: 4242,
        ..config_on(directory.path())
    };
    assert!(matches!(
        start_error(other_id).await,
        ChainError::Engine(EngineError::ChainIdChanged {
            found: 31337,
            wanted: 4242
        })
    ));
    let other_accounts = ChainConfig {
        genesis_accounts: vec![(bob().into_array(), U256::from(1))],
        ..config_on(directory.path())
    };
    assert!(matches!(
        start_error(other_accounts).await,
        ChainError::Engine(EngineError::GenesisChanged)
    ));
    // Neither did harm.
    Fixture::start(config_on(directory.path())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn chain_in_use_by_another_is_refused() {
    let directory = TempDir::new().unwrap();
    let first = Fixture::start(config_on(directory.path())).await;
    assert!(matches!(
        start_error(config_on(directory.path())).await,
        ChainError::Engine(EngineError::Store(StoreError::InUse))
    ));
    first.chain.stop().await;
    Fixture::start(config_on(directory.path())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn chain_of_another_format_or_another_database_is_refused() {
    let directory = TempDir::new().unwrap();
    Fixture::start(config_on(directory.path()))
        .await
        .chain
        .stop()
        .await;
    let path = directory.path().join("chain.sqlite3");
    let database = rusqlite::Connection::open(&path).unwrap();
    database.pragma_update(None, "user_version", 9).unwrap();
    drop(database);
    assert!(matches!(
        start_error(config_on(directory.path())).await,
        ChainError::Engine(EngineError::Store(StoreError::Format {
            found: 9,
            supported: 1
        }))
    ));

    let directory = TempDir::new().unwrap();
    let path = directory.path().join("chain.sqlite3");
    let database = rusqlite::Connection::open(&path).unwrap();
    database.execute_batch("CREATE TABLE letters (a)").unwrap();
    drop(database);
    assert!(matches!(
        start_error(config_on(directory.path())).await,
        ChainError::Engine(EngineError::Store(StoreError::Foreign))
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn chain_whose_files_were_tampered_with_is_refused() {
    let directory = TempDir::new().unwrap();
    let first = Fixture::start(config_on(directory.path())).await;
    first.pay(5).await;
    first.chain.stop().await;
    let path = directory.path().join("chain.sqlite3");
    let whole = fs::read(&path).unwrap();

    let database = rusqlite::Connection::open(&path).unwrap();
    let bob = bob();
    database
        .execute("DELETE FROM accounts WHERE address = ?1", [bob.as_slice()])
        .unwrap();
    drop(database);
    assert!(matches!(
        start_error(config_on(directory.path())).await,
        ChainError::Engine(EngineError::StateMismatch(1))
    ));

    for keep in [100, 5000, whole.len() / 2] {
        fs::write(&path, &whole[..keep]).unwrap();
        assert!(matches!(
            start_error(config_on(directory.path())).await,
            ChainError::Engine(EngineError::Store(_))
        ));
    }
    fs::write(&path, &whole).unwrap();
    Fixture::start(config_on(directory.path())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_chains_of_one_configuration_are_told_apart_by_their_genesis() {
    let genesis = async || {
        let fixture = Fixture::start(config()).await;
        let (number, hash, _) = head(&fixture).await;
        assert_eq!(number, 0);
        hash
    };
    assert_ne!(genesis().await, genesis().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn chain_that_makes_blocks_by_the_clock_goes_on_after_a_restart() {
    let directory = TempDir::new().unwrap();
    let config = || on(directory.path(), every(Duration::from_millis(20)));
    let first = Fixture::start(config()).await;
    while first.number().await < 3 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    first.chain.stop().await;
    let second = Fixture::start(config()).await;
    let resumed = second.number().await;
    assert!(resumed >= 3);
    while second.number().await < resumed + 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
