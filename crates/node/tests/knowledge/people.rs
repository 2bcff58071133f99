//! The two ends: homes and clients of the SDK, each at an address of its own.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use client::carrier::Privacy;
use client::home::{Home, NewWallet, Source};
use client::receive::{Body, Event, ListenOptions, Listener, Message};
use client::send::SendOptions;
use client::{Client, ClientOptions, Network};
use protocol::NodeId;
use tempfile::TempDir;
use wallet::keystore::ScryptCost;
use wallet::{CertificateKind, WordCount};

use crate::devnet::Devnet;
use crate::front::Front;
use crate::record::Needles;

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Somebody, and what would give them away.
pub(crate) struct Person {
    pub(crate) client: Client,
    /// What the client is carried by, where it avoids some nodes.
    pub(crate) network: Option<Network>,
    pub(crate) ip: IpAddr,
    pub(crate) rpc: Front,
    /// Wallet address.
    pub(crate) wallet: Needles,
    /// IDs of certificate and subkeys, and the primary key itself.
    pub(crate) keys: Needles,
    pub(crate) home: TempDir,
}

impl Person {
    /// Somebody at `127.0.0.<host>` whose entries are these nodes, and whose relays are none of `avoided`.
    ///
    /// A sender can't know the recipient's entries; here they are kept apart, so that what a node saw in one
    /// part is not taken for what it saw in another.
    pub(crate) async fn new(
        devnet: &Devnet,
        host: u8,
        entries: &[usize],
        avoided: &[usize],
    ) -> Self {
        let ip = IpAddr::V4(Ipv4Addr::new(127, 0, 0, host));
        let rpc = Front::before(devnet.rpc).await;
        let mut network = devnet.network.clone();
        network.rpc_urls = vec![format!("http://{}", rpc.address)];
        let home = tempfile::tempdir().unwrap();
        let new = NewWallet {
            label: "me".parse().unwrap(),
            source: Source::Random(WordCount::Twelve),
            kind: CertificateKind::V6,
            password: String::new().into(),
            cost: ScryptCost::Light,
            restore: false,
        };
        let opened = Home::open(home.path()).unwrap();
        let created = opened.create(new).unwrap();

        // Entries are drawn at random once and kept: drawn here, from these only.
        let drawing = Network::open_from(home.path(), network.clone(), Some(ip));
        let drawing = drawing.await.unwrap();
        let others = devnet.nodes.iter().enumerate();
        let others = others.filter(|(place, _)| !entries.contains(place));
        drawing.exclude_as_entries(others.map(|(_, node)| node.address));
        drawing.ready(PATIENCE).await.unwrap();
        assert_eq!(drawing.entries().len(), entries.len());
        drop(drawing);

        let mut kept = None;
        let client = if avoided.is_empty() {
            let mut options = ClientOptions::new(home.path(), network);
            options.from = Some(ip);
            Client::open(options).await.unwrap()
        } else {
            let carrier = Network::open_from(home.path(), network, Some(ip)).await;
            let carrier = carrier.unwrap();
            // As if they were mailboxes of its own, which are no relays either.
            carrier.exclude_as_entries(avoided.iter().map(|place| devnet.nodes[*place].address));
            kept = Some(carrier.clone());
            let account = opened.unlock(&created.head, "").unwrap();
            Client::with_carrier(opened, account, Arc::new(carrier))
        };
        client.ready(PATIENCE).await.unwrap();
        let certificate = client.account().certificate().unwrap();
        let mut keys = Needles::bytes(&certificate.primary_ed25519());
        keys = keys.or(Needles::bytes(&certificate.fingerprint().as_bytes()[..8]));
        for key in certificate.key_ids() {
            keys = keys.or(Needles::bytes(key.as_bytes()));
        }
        let wallet = Needles::wallet(&client.address());
        Self {
            client,
            network: kept,
            ip,
            rpc,
            wallet,
            keys,
            home,
        }
    }

    /// The same with a mailbox, and listening.
    pub(crate) async fn at_mailbox(
        devnet: &Devnet,
        host: u8,
        entries: &[usize],
        mailbox: NodeId,
        listed: bool,
    ) -> (Self, Listener) {
        let person = Self::new(devnet, host, entries, &[]).await;
        person
            .client
            .set_route(vec![mailbox], listed)
            .await
            .unwrap();
        let mut listener = person
            .client
            .listen(ListenOptions::default())
            .await
            .unwrap();
        loop {
            match within(listener.next()).await.unwrap().unwrap() {
                Event::CaughtUp => break,
                other => eprintln!("{other:?}"),
            }
        }
        (person, listener)
    }

    pub(crate) fn written_ip(&self) -> Needles {
        Needles::text(&self.ip.to_string())
    }

    pub(crate) async fn send(&self, to: &str, text: &str, privacy: Privacy) {
        let to = self.client.recipient(to).unwrap();
        let mut options = SendOptions::default();
        options.privacy = Some(privacy);
        self.client.send_text(&to, text, options).await.unwrap();
    }
}

/// The next message, which must be this text.
pub(crate) async fn expect(listener: &mut Listener, text: &str) -> Message {
    loop {
        let event = within(listener.next()).await.unwrap().unwrap();
        if let Event::Message(message) = event {
            assert_eq!(message.body, Body::Text(text.to_owned()));
            listener.done().await.unwrap();
            return *message;
        }
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    let waited = tokio::time::timeout(PATIENCE, future).await;
    waited.expect("nothing came")
}
