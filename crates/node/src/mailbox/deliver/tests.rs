use super::*;
use crate::mailbox::{Accounts, MailboxParts};
use crate::metrics::Metrics;
use crate::routes::RouteSubmitter;
use mailbox::{LogConfig, LogStore};
use protocol::NodeId;
use protocol::answer::{AnswerKey, ItemOpener};
use wallet::{CertificateKind, SecretCertificate, WalletKey};

const QUEUE: QueueId = QueueId::new([1; 20]);
const DEVICE: DeviceId = DeviceId::new([2; 16]);

struct Fixture {
    mailboxes: Arc<Mailboxes>,
    _folder: tempfile::TempDir,
}

impl Fixture {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = LogStore::open(folder.path(), LogConfig::default()).unwrap();
        let metrics = Arc::new(Metrics::default());
        let accounts = Accounts::load(store.directory(), Arc::clone(&metrics))
            .await
            .unwrap();
        let key = WalletKey::from_bytes([5; 32]).unwrap();
        let nowhere = key.address();
        let network = serde_json::from_value(serde_json::json!({
            "name": "test",
            "chain_id": 31_337,
            "rpc_urls": ["http://127.0.0.1:9"],
            "contracts": { "node_registry": nowhere, "route_registry": nowhere },
        }))
        .unwrap();
        let certificate = SecretCertificate::create(
            &key,
            CertificateKind::NODE,
            1_770_000_000,
            &mut rand::thread_rng(),
        )
        .unwrap();
        let mailboxes = Mailboxes::new(MailboxParts {
            me: key.address(),
            config: crate::MailboxConfig::default(),
            accounts: Arc::new(accounts),
            store: Arc::new(store),
            is_shared: false,
            certificate: Arc::new(certificate),
            challenge_secret: key.derive("node/challenge"),
            routes: RouteSubmitter::start(
                &network,
                None,
                Arc::clone(&metrics),
                CancellationToken::new(),
            ),
            metrics,
            eyes: crate::observer::Eyes::default(),
        });
        Self {
            mailboxes,
            _folder: folder,
        }
    }

    async fn store(&self, packets: u8) {
        for n in 0..packets {
            let packet = Bytes::from(vec![n; 2_560]);
            self.mailboxes
                .store
                .append(QUEUE, [n; 32], packet, now_ms())
                .await
                .unwrap();
        }
    }

    async fn collect(&self, window_bytes: u32) -> Reader {
        let key = AnswerKey::from_bytes([3; 32]);
        let ties = Ties {
            node: NodeId::from_bytes([4; 20]),
            time_ms: 0,
            nonce: [0; 16],
            answer_key: key.clone(),
        };
        let mailboxes = Arc::clone(&self.mailboxes);
        let reply = mailboxes.collect(&ties, QUEUE, DEVICE, None, window_bytes, true);
        let Ok(Reply::Stream(items)) = reply.await else {
            panic!("no stream")
        };
        Reader {
            items,
            opener: ItemOpener::new(&key),
        }
    }
}

struct Reader {
    items: crate::links::Items,
    opener: ItemOpener,
}

impl Reader {
    async fn next(&mut self) -> Option<Item> {
        let Answer::Sealed(sealed) = Answer::decode(&self.items.recv().await?).unwrap() else {
            panic!("an item is sealed")
        };
        Some(Item::decode(&self.opener.open(&sealed).unwrap()).unwrap())
    }
}

fn cursor_of(item: &Item) -> u64 {
    match item {
        Item::Packet { cursor, .. } => *cursor,
        other => panic!("{other:?} is no packet"),
    }
}

/// The stream was cancelled while it had an item sealed and no place for it: the reader could not open
/// what came after.
#[tokio::test]
async fn replaced_stream_says_so_in_an_item_that_its_reader_can_open() {
    let mailbox = Fixture::new().await;
    mailbox.store(5).await;
    let mut first = mailbox.collect(1 << 20).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut second = mailbox.collect(1 << 20).await;
    let mut last = first.next().await;
    while let Some(item) = first.next().await {
        last = Some(item);
    }
    assert_eq!(last, Some(Item::Closed { status: REPLACED }));
    assert_eq!(cursor_of(&second.next().await.unwrap()), 1);
}

#[tokio::test]
async fn replaced_stream_that_nobody_reads_ends_all_the_same() {
    let mailbox = Fixture::new().await;
    mailbox.store(5).await;
    let mut unread = Vec::new();
    for _ in 0..20 {
        unread.push(mailbox.collect(1 << 20).await);
    }
    tokio::time::sleep(FAREWELL + Duration::from_secs(1)).await;
    assert_eq!(mailbox.mailboxes.metrics.streams.get(), 1);
    assert_eq!(mailbox.mailboxes.deliveries.lock().len(), 1);
    drop(unread);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(mailbox.mailboxes.metrics.streams.get(), 0);
    assert!(mailbox.mailboxes.deliveries.lock().is_empty());
}

#[tokio::test]
async fn reader_that_stalls_or_is_slow_to_acknowledge_gets_everything_once_in_order() {
    let mailbox = Fixture::new().await;
    mailbox.store(40).await;
    // Three packets fit the window.
    let mut reader = mailbox.collect(3 * 2_560).await;
    tokio::time::sleep(STALLED_AFTER + Duration::from_millis(200)).await;
    let mut cursors = Vec::new();
    loop {
        let item = reader.next().await.unwrap();
        if matches!(item, Item::CaughtUp { .. }) {
            break;
        }
        cursors.push(cursor_of(&item));
        if cursors.len() == 6 {
            tokio::time::sleep(STALLED_AFTER + Duration::from_millis(200)).await;
        }
        if cursors.len().is_multiple_of(3) {
            let mark = Cursor::new(*cursors.last().unwrap());
            mailbox.mailboxes.acknowledged(QUEUE, DEVICE, mark);
        }
    }
    assert_eq!(cursors, (1..=40).collect::<Vec<_>>());
}

#[test]
fn window_takes_one_packet_always_and_many_small_ones_only_so_far() {
    let mut under_way = UnderWay::new(10);
    assert!(under_way.fits(1_000), "one always fits");
    under_way.sent(Cursor::new(1), 6);
    assert!(under_way.fits(4) && !under_way.fits(5));
    under_way.sent(Cursor::new(2), 4);
    under_way.acknowledged(Cursor::new(1));
    assert!(under_way.fits(6) && !under_way.fits(7));
    under_way.acknowledged(Cursor::new(9));
    assert_eq!((under_way.bytes, under_way.packets.len()), (0, 0));

    let mut wide = UnderWay::new(u32::MAX);
    assert_eq!(wide.window, MAX_WINDOW_BYTES);
    for n in 0..MAX_WINDOW_PACKETS as u64 {
        assert!(wide.fits(1));
        wide.sent(Cursor::new(n), 1);
    }
    assert!(!wide.fits(1));
}
