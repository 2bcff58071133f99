//! The store on NATS keeps the contract of every store of packets.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed test may panic"
)]

#[macro_use]
#[path = "../../mailbox/tests/suite/conformance.rs"]
mod conformance;
#[path = "fixture/server.rs"]
mod server;

use std::sync::Arc;

use conformance::{Fixture, Limits};
use mailbox::PacketStore;
use mailbox_nats::{NatsConfig, NatsStore};
use server::{Server, free_ports};

struct OneServer(Server);

impl Fixture for OneServer {
    fn new() -> Self {
        let mut server = Server::prepare(free_ports(1)[0], "");
        server.run();
        Self(server)
    }

    async fn open(&self, limits: Limits) -> Arc<dyn PacketStore> {
        let config = NatsConfig {
            max_packet_bytes: limits.max_packet_bytes,
            queue_quota_bytes: limits.quota_bytes,
            queue_quota_packets: limits.quota_packets,
            ttl_ms: limits.ttl_ms,
            max_total_bytes: 1 << 30,
            ..NatsConfig::new(self.0.url(), "conformance")
        };
        Arc::new(NatsStore::open(config).await.unwrap())
    }
}

conformance_tests!(
    #[ignore = "needs a nats-server: tests/nats/run"]
    OneServer
);
