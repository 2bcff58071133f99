//! What the node counts. Nothing here names a wallet, a key, a node or an address.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

/// What a packet's arrival led to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct DecisionLabel {
    pub(crate) decision: &'static str,
}

/// The node's counters and gauges.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) packets: Family<DecisionLabel, Counter>,
    pub(crate) packet_bytes: Counter,
    pub(crate) stored: Counter,
    pub(crate) duplicates: Counter,
    pub(crate) delivered: Counter,
    pub(crate) replayed: Counter,
    pub(crate) sessions: Gauge,
    pub(crate) handshakes: Counter,
    pub(crate) foreign_requests: Counter,
    pub(crate) connections: Gauge,
    pub(crate) streams: Gauge,
    pub(crate) circuits: Gauge,
    pub(crate) publishers: Gauge,
    pub(crate) offers: Counter,
    pub(crate) meetings_joined: Counter,
    pub(crate) meetings_failed: Counter,
    /// Callers' circuits that wait for a publisher's.
    pub(crate) waiting: Gauge,
    /// Pairs of circuits that are joined.
    pub(crate) joined: Gauge,
    pub(crate) links_in: Gauge,
    pub(crate) links_out: Gauge,
    pub(crate) dial_failures: Counter,
    pub(crate) accounts: Gauge,
    pub(crate) routes_submitted: Counter,
    pub(crate) ledger_block: Gauge<u64, AtomicU64>,
}

impl Metrics {
    /// Registers everything under the prefix `conet`.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let r = registry.sub_registry_with_prefix("conet");
        r.register(
            "packets",
            "Packets that arrived, by what was decided",
            self.packets.clone(),
        );
        r.register_with_unit(
            "packet",
            "Bytes of packets that arrived",
            Unit::Bytes,
            self.packet_bytes.clone(),
        );
        r.register(
            "stored_packets",
            "Packets put on stable storage",
            self.stored.clone(),
        );
        r.register(
            "duplicate_packets",
            "Packets that were stored before",
            self.duplicates.clone(),
        );
        r.register(
            "delivered_packets",
            "Packets handed to a delivery stream",
            self.delivered.clone(),
        );
        r.register(
            "replayed_commands",
            "Commands refused as stale or replayed",
            self.replayed.clone(),
        );
        r.register("sessions", "Client sessions", self.sessions.clone());
        r.register(
            "handshakes",
            "Session handshakes completed",
            self.handshakes.clone(),
        );
        r.register(
            "foreign_requests",
            "Requests that were no client's",
            self.foreign_requests.clone(),
        );
        r.register("connections", "Open connections", self.connections.clone());
        r.register(
            "streams",
            "Open delivery streams of own mailboxes",
            self.streams.clone(),
        );
        r.register(
            "circuits",
            "Circuits that other nodes or clients asked for",
            self.circuits.clone(),
        );
        r.register(
            "publishers",
            "Publishers of services of own mailboxes",
            self.publishers.clone(),
        );
        r.register(
            "offers",
            "Offers of streams handed to publishers",
            self.offers.clone(),
        );
        r.register(
            "meetings_joined",
            "Callers whose circuit was joined to a publisher's",
            self.meetings_joined.clone(),
        );
        r.register(
            "meetings_failed",
            "Callers whom no publisher joined in time",
            self.meetings_failed.clone(),
        );
        r.register(
            "waiting_circuits",
            "Callers' circuits that wait for a publisher's",
            self.waiting.clone(),
        );
        r.register(
            "joined_circuits",
            "Pairs of circuits that are joined",
            self.joined.clone(),
        );
        r.register(
            "links_in",
            "Links that other nodes dialled",
            self.links_in.clone(),
        );
        r.register(
            "links_out",
            "Links that this node dialled",
            self.links_out.clone(),
        );
        r.register(
            "dial_failures",
            "Dials that failed",
            self.dial_failures.clone(),
        );
        r.register("accounts", "Mailbox accounts", self.accounts.clone());
        r.register(
            "routes_submitted",
            "Routes put on the ledger for accounts",
            self.routes_submitted.clone(),
        );
        r.register(
            "ledger_block",
            "Last block that the index has read",
            self.ledger_block.clone(),
        );
    }

    pub(crate) fn count(&self, decision: &'static str, bytes: usize) {
        self.packets
            .get_or_create(&DecisionLabel { decision })
            .inc();
        self.packet_bytes.inc_by(bytes as u64);
    }
}
