//! A cluster of three servers loses one, and nothing that was acknowledged is lost.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed test may panic"
)]

#[path = "fixture/server.rs"]
mod server;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mailbox::{Cursor, DeviceId, PacketStore, QueueId};
use mailbox_nats::{NatsConfig, NatsStore};
use server::{Server, free_ports};
use sha2::{Digest, Sha256};

const NOW: u64 = 1_800_000_000_000;
const ALICE: QueueId = QueueId::new([0xa1; 20]);
const PHONE: DeviceId = DeviceId::new([1; 16]);
const SENDERS: usize = 16;
/// How often one packet is sent before the cluster counts as dead.
const TRIES: u32 = 600;

/// Packets of each sender; `NATS_PACKETS` asks for more.
fn packets_each() -> usize {
    let asked = std::env::var("NATS_PACKETS").ok();
    asked.and_then(|count| count.parse().ok()).unwrap_or(60)
}

fn cluster() -> Vec<Server> {
    let ports = free_ports(6);
    let (clients, routes) = ports.split_at(3);
    let all: Vec<_> = routes
        .iter()
        .map(|port| format!("\"nats://127.0.0.1:{port}\""))
        .collect();
    let mut servers: Vec<Server> = (0..3)
        .map(|i| {
            let more = format!(
                "server_name: \"s{i}\"\ncluster {{ name: \"test\", listen: \"127.0.0.1:{}\", routes: [{}] }}\n",
                routes[i],
                all.join(", ")
            );
            Server::prepare(clients[i], &more)
        })
        .collect();
    servers.iter_mut().for_each(Server::run);
    servers
}

async fn open(servers: &[Server]) -> NatsStore {
    let urls: Vec<_> = servers.iter().map(Server::url).collect();
    for _ in 0..TRIES {
        let config = NatsConfig {
            replicas: 3,
            max_total_bytes: 1 << 30,
            ..NatsConfig::new(urls.join(","), "cluster")
        };
        // Until the servers have found each other they make no streams.
        match NatsStore::open(config).await {
            Ok(store) => return store,
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
    panic!("the cluster never comes up");
}

async fn send(store: &NatsStore, text: &str) -> Cursor {
    for _ in 0..TRIES {
        let hash = Sha256::digest(text).into();
        let sent = store.append(ALICE, hash, text.to_owned().into(), NOW).await;
        match sent {
            Ok(stored) => return stored.cursor,
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
    panic!("the cluster takes no packets any more");
}

#[ignore = "needs a nats-server: tests/nats/run"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cluster_that_loses_each_server_in_turn_loses_no_packet() {
    let mut servers = cluster();
    let stores = [
        Arc::new(open(&servers).await),
        Arc::new(open(&servers).await),
    ];
    stores[0].register_device(ALICE, PHONE, NOW).await.unwrap();
    let mut acknowledged = BTreeMap::new();
    for (lost, server) in servers.iter_mut().enumerate() {
        let mut tasks = Vec::new();
        for sender in 0..SENDERS {
            let store = Arc::clone(&stores[sender % 2]);
            tasks.push(tokio::spawn(async move {
                let mut sent = Vec::new();
                for i in 0..packets_each() {
                    let text = format!("{lost}-{sender}-{i}");
                    sent.push((send(&store, &text).await, text));
                }
                sent
            }));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        server.kill();
        for task in tasks {
            for (cursor, text) in task.await.unwrap() {
                let before = acknowledged.insert(cursor, text);
                assert_eq!(before, None, "cursor {cursor} was given out twice");
            }
        }
        server.run();
    }
    // Whoever comes now, over whichever server, finds every packet once and in order.
    for i in 0..3 {
        let anew = open(&servers[i..=i]).await;
        let (mut at, mut found) = (Cursor::START, BTreeMap::new());
        loop {
            let page = anew.read(ALICE, PHONE, at, 256, 1 << 20).await.unwrap();
            let Some(last) = page.last() else { break };
            assert!(page[0].cursor > at);
            at = last.cursor;
            found.extend(page.into_iter().map(|stored| {
                (
                    stored.cursor,
                    String::from_utf8(stored.packet.to_vec()).unwrap(),
                )
            }));
        }
        let lost: Vec<_> = acknowledged
            .iter()
            .filter(|one| found.get(one.0) != Some(one.1))
            .collect();
        let unknown: Vec<_> = found
            .iter()
            .filter(|one| !acknowledged.contains_key(one.0))
            .collect();
        assert!(
            lost.is_empty() && unknown.is_empty(),
            "server {i}: lost {lost:?}, unknown {unknown:?}"
        );
    }
}
