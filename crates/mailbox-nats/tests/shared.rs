//! Several processes on one store: what one is told, all of them know.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed test may panic"
)]

#[path = "fixture/server.rs"]
mod server;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mailbox::{
    ACCOUNT_KEY_MAX, ACCOUNT_VALUE_MAX, Cursor, DeviceId, Directory, DirectoryError, PacketStore,
    QueueId, Stored,
};
use mailbox_nats::{AccountChange, NatsClaims, NatsConfig, NatsStore};
use server::{Server, free_ports};
use sha2::{Digest, Sha256};

const NOW: u64 = 1_800_000_000_000;
const ALICE: QueueId = QueueId::new([0xa1; 20]);
const PHONE: DeviceId = DeviceId::new([1; 16]);
const LAPTOP: DeviceId = DeviceId::new([2; 16]);
const A_WHILE: Duration = Duration::from_secs(20);

fn config(server: &Server) -> NatsConfig {
    NatsConfig {
        max_total_bytes: 1 << 30,
        ..NatsConfig::new(server.url(), "shared")
    }
}

fn start() -> Server {
    let mut server = Server::prepare(free_ports(1)[0], "");
    server.run();
    server
}

async fn open(server: &Server) -> Arc<NatsStore> {
    Arc::new(NatsStore::open(config(server)).await.unwrap())
}

async fn append(store: &NatsStore, packet: String) -> Stored {
    let hash = Sha256::digest(&packet).into();
    store.append(ALICE, hash, packet.into(), NOW).await.unwrap()
}

/// Waits for what another process did; how long that takes is no promise.
async fn eventually<T>(mut look: impl AsyncFnMut() -> Option<T>) -> T {
    for _ in 0..2000 {
        if let Some(found) = look().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it never happened");
}

async fn texts(store: &NatsStore, device: DeviceId, after: Cursor) -> Vec<String> {
    let read = store
        .read(ALICE, device, after, 4096, 16 << 20)
        .await
        .unwrap();
    read.into_iter()
        .map(|stored| String::from_utf8(stored.packet.to_vec()).unwrap())
        .collect()
}

/// The default of 64 GiB could not be reserved on a smaller disk, so that a node did not start there.
#[ignore = "needs a nats-server: tests/nats/run"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_with_less_room_than_the_default_gives_what_it_has_to_all_processes() {
    let mut server = Server::prepare(free_ports(1)[0], "");
    server.configuration = server
        .configuration
        .replace("jetstream {", "jetstream { max_file_store: 5GB,");
    server.run();
    let open = || NatsStore::open(NatsConfig::new(server.url(), "small"));
    let (one, two) = tokio::join!(open(), open());
    let (one, two) = (one.unwrap(), two.unwrap());
    append(&one, "through one".into()).await;
    append(&two, "through two".into()).await;
    one.close().await;
    two.close().await;
}

#[ignore = "needs a nats-server: tests/nats/run"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn process_delivers_what_another_one_stored() {
    let server = start();
    let (one, two) = (open(&server).await, open(&server).await);
    let mark = one.register_device(ALICE, PHONE, NOW).await.unwrap();
    eventually(async || (two.stats(ALICE).await.unwrap().devices == 1).then_some(())).await;
    let mut arrivals = two.subscribe(ALICE);
    let stored = append(&one, "hello".into()).await;
    let arrived = tokio::time::timeout(A_WHILE, arrivals.arrived())
        .await
        .unwrap();
    assert_eq!(arrived, Some(stored.cursor));
    assert_eq!(texts(&two, PHONE, mark).await, ["hello"]);
    // And what is acknowledged at the second is gone at the first.
    two.acknowledge(ALICE, PHONE, stored.cursor, NOW)
        .await
        .unwrap();
    eventually(async || (one.stats(ALICE).await.unwrap().count == 0).then_some(())).await;
    let again = append(&one, "hello".into()).await;
    assert_eq!(
        again,
        Stored {
            duplicate: true,
            ..stored
        }
    );
}

#[ignore = "needs a nats-server: tests/nats/run"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn packet_sent_to_all_processes_at_once_is_stored_once() {
    let server = start();
    let stores = [
        open(&server).await,
        open(&server).await,
        open(&server).await,
    ];
    for round in 0..20 {
        let mut tasks = Vec::new();
        for i in 0..12 {
            let store = Arc::clone(&stores[i % 3]);
            tasks.push(tokio::spawn(async move {
                append(&store, format!("{round}")).await
            }));
        }
        let mut outcomes = Vec::new();
        for task in tasks {
            outcomes.push(task.await.unwrap());
        }
        assert_eq!(
            outcomes.iter().filter(|stored| !stored.duplicate).count(),
            1
        );
        assert!(
            outcomes
                .iter()
                .all(|stored| stored.cursor == outcomes[0].cursor)
        );
    }
}

#[ignore = "needs a nats-server: tests/nats/run"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reader_of_one_process_misses_nothing_that_others_store_meanwhile() {
    let server = start();
    let stores = [
        open(&server).await,
        open(&server).await,
        open(&server).await,
    ];
    let reader = Arc::clone(&stores[0]);
    let mut at = reader.register_device(ALICE, PHONE, NOW).await.unwrap();
    let mut tasks = Vec::new();
    for i in 0..300 {
        let store = Arc::clone(&stores[i % 3]);
        tasks.push(tokio::spawn(async move {
            append(&store, format!("p{i}")).await.cursor
        }));
    }
    let mut arrivals = reader.subscribe(ALICE);
    let mut seen = Vec::new();
    while seen.len() < 300 {
        let read = reader.read(ALICE, PHONE, at, 16, 1 << 20).await.unwrap();
        let Some(last) = read.last() else {
            tokio::time::timeout(A_WHILE, arrivals.arrived())
                .await
                .unwrap();
            continue;
        };
        at = last.cursor;
        seen.extend(read.into_iter().map(|stored| stored.cursor));
        // Acknowledged at another process, which must not have less than this one showed.
        eventually(async || stores[1].acknowledge(ALICE, PHONE, at, NOW).await.ok()).await;
    }
    let mut stored = BTreeSet::new();
    for task in tasks {
        stored.insert(task.await.unwrap());
    }
    assert_eq!(seen, Vec::from_iter(stored));
}

#[ignore = "needs a nats-server: tests/nats/run"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn devices_and_marks_changed_at_two_processes_at_once_are_all_kept() {
    let server = start();
    let (one, two) = (open(&server).await, open(&server).await);
    let last = append(&one, "a".into()).await.cursor;
    let (left, right) = tokio::join!(
        one.register_device(ALICE, PHONE, NOW),
        two.register_device(ALICE, LAPTOP, NOW)
    );
    left.unwrap();
    right.unwrap();
    for store in [&one, &two] {
        eventually(async || (store.stats(ALICE).await.unwrap().devices == 2).then_some(())).await;
    }
    let (left, right) = tokio::join!(
        one.acknowledge(ALICE, PHONE, last, NOW),
        two.acknowledge(ALICE, LAPTOP, last, NOW)
    );
    left.unwrap();
    right.unwrap();
    for store in [&one, &two] {
        eventually(async || (store.stats(ALICE).await.unwrap().count == 0).then_some(())).await;
    }
}

#[ignore = "needs a nats-server: tests/nats/run"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_killed_and_started_again_has_all_that_was_acknowledged() {
    let mut server = start();
    let store = open(&server).await;
    let mark = store.register_device(ALICE, PHONE, NOW).await.unwrap();
    let mut expected = Vec::new();
    for round in 0..3 {
        for i in 0..50 {
            let text = format!("{round}-{i}");
            append(&store, text.clone()).await;
            expected.push(text);
        }
        server.kill();
        let text = format!("{round}-lost?");
        let hash = Sha256::digest(&text).into();
        let refused = tokio::time::timeout(
            Duration::from_secs(1),
            store.append(ALICE, hash, text.clone().into(), NOW),
        );
        assert!(
            !matches!(refused.await, Ok(Ok(_))),
            "nobody can have stored it"
        );
        server.run();
        // Whoever was not answered sends again, and it is there once.
        eventually(async || {
            store
                .append(ALICE, hash, text.clone().into(), NOW)
                .await
                .ok()
        })
        .await;
        expected.push(text);
    }
    let all = eventually(async || {
        let all = texts(&store, PHONE, mark).await;
        (all.len() == expected.len()).then_some(all)
    });
    assert_eq!(all.await, expected);
    let anew = open(&server).await;
    assert_eq!(texts(&anew, PHONE, mark).await, expected);
}

#[ignore = "needs a nats-server: tests/nats/run"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn directory_shows_every_process_what_one_of_them_wrote() {
    let server = start();
    let (one, two) = (
        open(&server).await.directory(),
        open(&server).await.directory(),
    );
    let mut changes = two.changes();
    one.put("a".into(), "1".into()).await.unwrap();
    let change = tokio::time::timeout(A_WHILE, changes.recv())
        .await
        .unwrap()
        .unwrap();
    let (key, value) = (Bytes::from("a"), Some(Bytes::from("1")));
    assert_eq!(
        change,
        AccountChange {
            key: key.clone(),
            value
        }
    );
    assert_eq!(two.get("a".into()).await.unwrap(), Some("1".into()));
    assert!(two.remove("a".into()).await.unwrap());
    assert!(!two.remove("a".into()).await.unwrap());
    let change = tokio::time::timeout(A_WHILE, changes.recv())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(change, AccountChange { key, value: None });
    assert_eq!(one.get("a".into()).await.unwrap(), None);
    for i in 0..25u8 {
        one.put(vec![i, 7].into(), vec![i; 3].into()).await.unwrap();
    }
    let three = open(&server).await.directory();
    let (mut after, mut found) = (None, Vec::new());
    loop {
        let page = three.page(after.take(), 7).await.unwrap();
        let Some((last, _)) = page.last() else { break };
        after = Some(last.clone());
        found.extend(page);
    }
    assert_eq!(found.len(), 25);
    assert!(found.is_sorted() && found.iter().all(|(key, value)| key[0] == value[0]));
}

#[ignore = "needs a nats-server: tests/nats/run"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn directory_refuses_what_is_out_of_bounds_and_answers_nothing_once_closed() {
    let server = start();
    let limited = NatsConfig {
        max_accounts: 1,
        ..config(&server)
    };
    let directory = NatsStore::open(limited).await.unwrap().directory();
    let key = |len| Bytes::from(vec![b'k'; len]);
    let value = |len| Bytes::from(vec![b'v'; len]);
    directory
        .put(key(ACCOUNT_KEY_MAX), value(ACCOUNT_VALUE_MAX))
        .await
        .unwrap();
    let refused = directory.put(key(ACCOUNT_KEY_MAX + 1), value(1)).await;
    assert!(
        matches!(refused, Err(DirectoryError::KeyLength { .. })),
        "{refused:?}"
    );
    let refused = directory.get(key(0)).await;
    assert!(
        matches!(refused, Err(DirectoryError::KeyLength { .. })),
        "{refused:?}"
    );
    let refused = directory.put(key(1), value(ACCOUNT_VALUE_MAX + 1)).await;
    assert!(
        matches!(refused, Err(DirectoryError::ValueTooLarge { .. })),
        "{refused:?}"
    );
    let refused = directory.put(key(1), value(1)).await;
    assert!(
        matches!(refused, Err(DirectoryError::Full { limit: 1 })),
        "{refused:?}"
    );
    directory.put(key(ACCOUNT_KEY_MAX), value(1)).await.unwrap();
    directory.close().await;
    assert!(matches!(
        directory.get(key(1)).await,
        Err(DirectoryError::Closed)
    ));
    assert!(matches!(
        directory.put(key(1), value(1)).await,
        Err(DirectoryError::Closed)
    ));
}

#[ignore = "needs a nats-server: tests/nats/run"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonce_claimed_at_all_processes_at_once_is_claimed_by_one_also_after_a_kill() {
    let mut server = start();
    let claims = [
        NatsClaims::open(&config(&server)).await.unwrap(),
        NatsClaims::open(&config(&server)).await.unwrap(),
    ];
    for nonce in 0..20 {
        let nonce = [nonce; 16];
        let (one, two) = tokio::join!(claims[0].claim(nonce), claims[1].claim(nonce));
        assert_eq!(u8::from(one.unwrap()) + u8::from(two.unwrap()), 1);
    }
    server.kill();
    server.run();
    for nonce in 0..20 {
        let claimed = eventually(async || claims[0].claim([nonce; 16]).await.ok()).await;
        assert!(!claimed, "a command would be obeyed twice");
    }
}
