use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::{
    RouteRecord,
    fake_server::{Behaviour, FakeChain, FakeServer, clear_log, node_log, route_log},
    test_data::{key, network, route},
};

const FAR_FUTURE: u64 = 4_000_000_000;

fn network_of(servers: &[&FakeServer]) -> NetworkFile {
    NetworkFile {
        rpc_urls: servers.iter().map(|server| server.url.clone()).collect(),
        ..network()
    }
}

fn syncer_of(servers: &[&FakeServer]) -> (Index, Syncer) {
    let network = network_of(servers);
    let index = Index::open_in_memory(&network).unwrap();
    let syncer = Syncer::new(index.clone(), &network).unwrap();
    (index, syncer)
}

fn routed(number: u8, sequence: u64) -> RouteRecord {
    route(&key(number), sequence, FAR_FUTURE)
}

fn sequence_of(index: &Index, number: u8) -> Option<u64> {
    let route = index.route(&key(number).address(), 0);
    route.map(|route| route.sequence)
}

/// Syncs until nothing is left; fails if that takes too many passes.
async fn sync(syncer: &Syncer) -> SyncReport {
    for _ in 0..1_000 {
        let report = syncer.sync_once().await.unwrap();
        if report.caught_up {
            return report;
        }
    }
    panic!("never caught up");
}

#[tokio::test]
async fn syncer_reads_nodes_and_routes_and_goes_on_from_its_cursor() {
    let mut chain = FakeChain::new(1);
    chain.mine(vec![
        node_log(1, "http://10.0.0.1"),
        route_log(&routed(2, 1)),
    ]);
    chain.mine_empty(700);
    let server = FakeServer::start(chain).await;
    let (index, syncer) = syncer_of(&[&server]);
    let report = sync(&syncer).await;
    assert_eq!(report.block, Some(701));
    assert_eq!(index.nodes().len(), 1);
    assert_eq!(sequence_of(&index, 2), Some(1));

    server.calls.lock().clear();
    server.chain.lock().mine(vec![route_log(&routed(2, 2))]);
    let report = sync(&syncer).await;
    assert_eq!((report.blocks, report.events), (1, 1));
    assert_eq!(sequence_of(&index, 2), Some(2));
    let logs_calls = server
        .calls
        .lock()
        .iter()
        .filter(|call| *call == "eth_getLogs")
        .count();
    assert_eq!(logs_calls, 1);
    let synced = index.synced_to();
    assert_eq!((synced.block, synced.head), (Some(702), 702));
}

#[tokio::test]
async fn syncer_leaves_unconfirmed_blocks_unread() {
    let mut chain = FakeChain::new(1);
    chain.mine(vec![node_log(1, "http://10.0.0.1")]);
    chain.mine(vec![node_log(2, "http://10.0.0.2")]);
    let server = FakeServer::start(chain).await;
    let mut network = network_of(&[&server]);
    network.confirmations = 1;
    let index = Index::open_in_memory(&network).unwrap();
    let syncer = Syncer::new(index.clone(), &network).unwrap();
    sync(&syncer).await;
    assert_eq!(index.nodes().len(), 1);
}

#[tokio::test]
async fn syncer_after_a_reorganisation_holds_the_new_chain_only() {
    let mut chain = FakeChain::new(1);
    chain.mine(vec![node_log(1, "http://10.0.0.1")]);
    let server = FakeServer::start(chain).await;
    let (index, syncer) = syncer_of(&[&server]);
    sync(&syncer).await;
    for sequence in 1..=10 {
        server
            .chain
            .lock()
            .mine(vec![route_log(&routed(2, sequence))]);
        sync(&syncer).await;
    }
    server
        .chain
        .lock()
        .mine(vec![node_log(3, "http://10.0.0.3")]);
    sync(&syncer).await;
    assert_eq!((sequence_of(&index, 2), index.nodes().len()), (Some(10), 2));

    server.chain.lock().fork_back(5);
    server.chain.lock().mine(vec![route_log(&routed(4, 1))]);
    server.chain.lock().mine_empty(9);
    let report = syncer.sync_once().await.unwrap();
    assert_eq!(report.rolled_back_to, Some(7));
    assert_eq!(report.block, Some(server.chain.lock().height()));
    assert_eq!(sequence_of(&index, 2), Some(6));
    assert_eq!(sequence_of(&index, 4), Some(1));
    assert_eq!(index.nodes().len(), 1);
}

#[tokio::test]
async fn syncer_of_a_replaced_chain_rebuilds_only_when_it_lasts() {
    let mut chain = FakeChain::new(1);
    chain.mine(vec![node_log(1, "http://10.0.0.1")]);
    chain.mine_empty(400);
    let server = FakeServer::start(chain).await;
    let (index, syncer) = syncer_of(&[&server]);
    sync(&syncer).await;

    let mut other = FakeChain::new(2);
    other.mine(vec![node_log(5, "http://10.0.0.5")]);
    other.mine_empty(500);
    *server.chain.lock() = other;
    for _ in 1..PASSES_BEFORE_REBUILD {
        assert!(matches!(
            syncer.sync_once().await,
            Err(SyncError::OtherChain)
        ));
        assert_eq!(index.nodes().len(), 1);
    }
    assert!(syncer.sync_once().await.unwrap().rebuilt);
    sync(&syncer).await;
    assert_eq!(index.nodes()[0].endpoint, "http://10.0.0.5");
}

#[tokio::test]
async fn syncer_is_not_led_off_by_one_server_of_a_replaced_chain() {
    let mut chain = FakeChain::new(1);
    chain.mine(vec![node_log(1, "http://10.0.0.1")]);
    let honest = FakeServer::start(chain.clone()).await;
    let liar = FakeServer::start(chain).await;
    let (index, syncer) = syncer_of(&[&liar, &honest]);
    sync(&syncer).await;
    let mut other = FakeChain::new(2);
    other.mine_empty(900);
    *liar.chain.lock() = other;
    for round in 0..10 {
        honest
            .chain
            .lock()
            .mine(vec![route_log(&routed(1, round + 1))]);
        let report = syncer.sync_once().await.unwrap();
        assert_eq!(report.rolled_back_to, None);
        assert!(!report.rebuilt);
    }
    assert_eq!(index.nodes().len(), 1);
    assert_eq!(sequence_of(&index, 1), Some(10));
}

#[tokio::test]
async fn syncer_ignores_a_server_that_lags() {
    let mut chain = FakeChain::new(1);
    for sequence in 1..=20 {
        chain.mine(vec![route_log(&routed(1, sequence))]);
    }
    let server = FakeServer::start(chain.clone()).await;
    let (index, syncer) = syncer_of(&[&server]);
    sync(&syncer).await;
    server.behaviour.lock().head_at_most = 3;
    let report = syncer.sync_once().await.unwrap();
    assert!(report.lagging && report.caught_up);
    assert_eq!(report.block, Some(20));
    assert_eq!(sequence_of(&index, 1), Some(20));

    server.behaviour.lock().head_at_most = u64::MAX;
    server.chain.lock().mine(vec![route_log(&routed(1, 21))]);
    sync(&syncer).await;
    assert_eq!(sequence_of(&index, 1), Some(21));
}

#[tokio::test]
async fn syncer_follows_a_shorter_chain_that_nobody_opposes() {
    let mut chain = FakeChain::new(1);
    chain.mine(vec![route_log(&routed(1, 1))]);
    let server = FakeServer::start(chain).await;
    let (index, syncer) = syncer_of(&[&server]);
    sync(&syncer).await;
    for sequence in 2..=6 {
        server
            .chain
            .lock()
            .mine(vec![route_log(&routed(1, sequence))]);
        sync(&syncer).await;
    }
    // A chain that lost its last blocks in a crash and made others.
    server.chain.lock().fork_back(4);
    server.chain.lock().mine_empty(1);
    let report = syncer.sync_once().await.unwrap();
    assert_eq!(report.rolled_back_to, Some(2));
    assert_eq!(sequence_of(&index, 1), Some(2));
}

#[tokio::test]
async fn syncer_asks_narrower_ranges_of_a_server_that_refuses_wide_ones() {
    let mut chain = FakeChain::new(1);
    for number in 1..=40 {
        chain.mine(vec![route_log(&routed(number, 1))]);
        chain.mine_empty(30);
    }
    let server = FakeServer::start(chain).await;
    server.behaviour.lock().max_log_range = 7;
    let (index, syncer) = syncer_of(&[&server]);
    sync(&syncer).await;
    assert_eq!(index.size().routes, 40);
}

#[tokio::test]
async fn syncer_turns_to_the_next_server_and_back() {
    let mut chain = FakeChain::new(1);
    chain.mine(vec![route_log(&routed(1, 1))]);
    let first = FakeServer::start(chain.clone()).await;
    let second = FakeServer::start(chain).await;
    let (index, syncer) = syncer_of(&[&first, &second]);
    first.behaviour.lock().dead = true;
    sync(&syncer).await;
    assert_eq!(sequence_of(&index, 1), Some(1));

    second.behaviour.lock().dead = true;
    let error = syncer.sync_once().await.unwrap_err();
    assert!(
        matches!(&error, SyncError::NoServer(servers) if !servers.is_empty()),
        "{error}"
    );
    // Look-ups go on.
    assert_eq!(sequence_of(&index, 1), Some(1));

    first.behaviour.lock().dead = false;
    first.chain.lock().mine(vec![route_log(&routed(1, 2))]);
    let mut waited = 0;
    while sequence_of(&index, 1) != Some(2) {
        let _ = syncer.sync_once().await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        waited += 1;
        assert!(waited < 100, "the first server was never tried again");
    }
}

#[tokio::test]
async fn syncer_refuses_a_server_of_another_chain() {
    let server = FakeServer::start(FakeChain::new(1)).await;
    server.behaviour.lock().chain_id = 1;
    let (index, syncer) = syncer_of(&[&server]);
    let error = syncer.sync_once().await.unwrap_err().to_string();
    assert!(error.contains("chain 1, not of chain 31337"), "{error}");
    assert_eq!(index.synced_to().block, None);
    assert_eq!(*server.calls.lock(), ["eth_chainId"]);
}

#[tokio::test]
async fn syncer_takes_nothing_from_a_server_that_sends_garbage() {
    let mut chain = FakeChain::new(1);
    chain.mine(vec![node_log(1, "http://10.0.0.1")]);
    let server = FakeServer::start(chain).await;
    type Change = fn(&mut Behaviour);
    let cases: [(Change, &str); 3] = [
        (|it| it.garbage = true, "malformed"),
        (|it| it.foreign_logs = true, "never write"),
        (|it| it.flood_bytes = 40 << 20, "too long"),
    ];
    for (change, expected) in cases {
        *server.behaviour.lock() = Behaviour::default();
        change(&mut server.behaviour.lock());
        let (index, syncer) = syncer_of(&[&server]);
        let error = syncer.sync_once().await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert_eq!(index.synced_to().block, None);
    }
}

#[tokio::test]
async fn syncer_running_follows_until_shut_down() {
    let server = FakeServer::start(FakeChain::new(1)).await;
    let (index, syncer) = syncer_of(&[&server]);
    let syncer = syncer.with_poll_interval(Duration::from_millis(10));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let task = tokio::spawn(syncer.run(async {
        let _ = stopped.await;
    }));
    let mut changes = index.subscribe();
    server
        .chain
        .lock()
        .mine(vec![node_log(1, "http://10.0.0.1")]);
    tokio::time::timeout(Duration::from_secs(5), changes.changed())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(index.nodes().len(), 1);
    drop(stop);
    tokio::time::timeout(Duration::from_secs(5), task)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn two_syncers_of_one_file_end_with_the_same_index() {
    let mut chain = FakeChain::new(1);
    for number in 1..=100 {
        chain.mine(vec![route_log(&routed(number, 1))]);
    }
    let server = FakeServer::start(chain).await;
    let network = network_of(&[&server]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index.sqlite");
    let open = || Index::open(&path, &network).unwrap();
    let (first, second) = (open(), open());
    let syncers = [&first, &second].map(|index| Syncer::new(index.clone(), &network).unwrap());
    // Who is overtaken reports where it was; what counts is where both stand afterwards.
    tokio::join!(sync(&syncers[0]), sync(&syncers[1]));
    let (one, other) = (sync(&syncers[0]).await, sync(&syncers[1]).await);
    assert_eq!((one.block, other.block), (Some(100), Some(100)));
    for index in [&first, &second] {
        index.refresh().unwrap();
        assert_eq!(index.size().routes, 100);
    }
}

#[derive(Debug, Clone)]
enum Step {
    Mine(Vec<(u8, u64, bool)>),
    Fork(usize),
    Sync,
    Restart,
}

fn any_step() -> impl Strategy<Value = Step> {
    let logs = prop::collection::vec((1_u8..5, 1_u64..30, prop::bool::weighted(0.8)), 0..4);
    prop_oneof![
        5 => logs.prop_map(Step::Mine),
        1 => (1_usize..8).prop_map(Step::Fork),
        3 => Just(Step::Sync),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// The model: of all logs of the canonical chain, each wallet's first one with the highest sequence.
    #[test]
    fn syncer_after_any_forks_equals_the_canonical_chain(steps in prop::collection::vec(any_step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let server = FakeServer::start(FakeChain::new(1)).await;
            let network = network_of(&[&server]);
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("index.sqlite");
            let mut index = Index::open(&path, &network).unwrap();
            let mut syncer = Syncer::new(index.clone(), &network).unwrap();
            let mut model = vec![Vec::new()];
            for step in steps.into_iter().chain([Step::Sync]) {
                match step {
                    Step::Mine(events) => {
                        let logs = events.iter().map(|(number, sequence, sets)| {
                            if *sets {
                                route_log(&routed(*number, *sequence))
                            } else {
                                clear_log(key(*number).address(), *sequence)
                            }
                        });
                        server.chain.lock().mine(logs.collect());
                        model.push(events);
                    }
                    Step::Fork(blocks) => {
                        let blocks = blocks.min(model.len() - 1);
                        server.chain.lock().fork_back(blocks);
                        model.truncate(model.len() - blocks);
                        // The new fork is longer, as the one that wins is.
                        server.chain.lock().mine_empty(blocks as u64 + 1);
                        model.resize(model.len() + blocks + 1, Vec::new());
                    }
                    Step::Sync => {
                        sync(&syncer).await;
                    }
                    Step::Restart => {
                        index = Index::open(&path, &network).unwrap();
                        syncer = Syncer::new(index.clone(), &network).unwrap();
                    }
                }
            }
            let mut expected: BTreeMap<u8, (u64, bool)> = BTreeMap::new();
            for (number, sequence, sets) in model.into_iter().flatten() {
                let known = expected.entry(number).or_default();
                if sequence > known.0 {
                    *known = (sequence, sets);
                }
            }
            for (number, (sequence, sets)) in expected {
                prop_assert_eq!(sequence_of(&index, number), sets.then_some(sequence));
            }
            Ok(())
        })?;
    }
}
