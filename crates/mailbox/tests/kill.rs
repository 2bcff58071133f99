//! A process that stores packets is killed at any moment; what it told is there.
//!
//! The test runs this very binary again as the process to be killed. It tells each acknowledged
//! packet on a pipe after the store acknowledged it; whatever came through the pipe must be there.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed test may panic"
)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mailbox::{Cursor, DeviceId, Directory, LogConfig, LogStore, PacketStore, QueueId};

const FOLDER: &str = "MAILBOX_TEST_FOLDER";
const NOW: u64 = 1_800_000_000_000;
const QUEUES: u8 = 4;
const READER: DeviceId = DeviceId::new([1; 16]);

/// How many kills the gate makes; `MAILBOX_KILLS` asks for more.
const KILLS: u64 = 12;

fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 256 << 10,
        max_packet_bytes: 16 << 10,
        ..LogConfig::default()
    }
}

fn packet(number: u64) -> Bytes {
    let length = (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 52) as usize;
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.resize(8 + length, number as u8);
    bytes.into()
}

fn hash(number: u64) -> [u8; 32] {
    let mut hash = [0; 32];
    hash[..8].copy_from_slice(&number.to_le_bytes());
    hash
}

fn queue(number: u64) -> QueueId {
    QueueId::new([(number % u64::from(QUEUES)) as u8; 20])
}

/// The process to be killed. Under the test harness without the variable it does nothing.
#[test]
fn store_in_a_process_of_its_own() {
    let Ok(folder) = std::env::var(FOLDER) else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let store = Arc::new(LogStore::open(&folder, config()).unwrap());
        let first: u64 = std::env::var("MAILBOX_TEST_FIRST")
            .unwrap()
            .parse()
            .unwrap();
        let next = Arc::new(std::sync::atomic::AtomicU64::new(first));
        let senders: Vec<_> = (0..16)
            .map(|_| tokio::spawn(send(Arc::clone(&store), Arc::clone(&next))))
            .collect();
        for sender in senders {
            sender.await.unwrap();
        }
    });
}

fn tell(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(line.as_bytes()).unwrap();
    out.flush().unwrap();
}

async fn send(store: Arc<LogStore>, next: Arc<std::sync::atomic::AtomicU64>) {
    loop {
        let number = next.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let stored = store
            .append(queue(number), hash(number), packet(number), NOW)
            .await
            .unwrap();
        tell(&format!("stored {number} {}\n", stored.cursor));
        if number.is_multiple_of(50) {
            store
                .directory()
                .put(hash(number)[..8].to_vec().into(), packet(number))
                .await
                .unwrap();
            tell(&format!("account {number} 0\n"));
        }
        if number.is_multiple_of(97) {
            // So that files are freed while the process dies.
            tell(&format!("acknowledging {number} {}\n", stored.cursor));
            store
                .acknowledge(queue(number), READER, stored.cursor, NOW)
                .await
                .unwrap();
            tell(&format!("acknowledged {number} {}\n", stored.cursor));
        }
    }
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// What the process told: packets with cursors, accounts, and marks per queue, sure and possible.
#[derive(Default)]
struct Told {
    stored: BTreeMap<u64, u64>,
    accounts: Vec<u64>,
    sure: BTreeMap<u64, u64>,
    possible: BTreeMap<u64, u64>,
}

fn run_and_kill(folder: &Path, first: u64, after: Duration, told: &mut Told) {
    let child = Command::new(std::env::current_exe().unwrap())
        .args([
            "store_in_a_process_of_its_own",
            "--exact",
            "--nocapture",
            "--quiet",
        ])
        .env(FOLDER, folder)
        .env("MAILBOX_TEST_FIRST", first.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut child = Killed(child);
    let pipe = child.0.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        BufReader::new(pipe)
            .lines()
            .map_while(Result::ok)
            .collect::<Vec<_>>()
    });
    std::thread::sleep(after);
    drop(child);
    for line in reader.join().unwrap() {
        // The last line may be cut off.
        let mut words = line.split(' ');
        let (Some(what), Some(number), Some(cursor)) = (words.next(), words.next(), words.next())
        else {
            continue;
        };
        let (Ok(number), Ok(cursor)) = (number.parse::<u64>(), cursor.parse::<u64>()) else {
            continue;
        };
        let mark = number % u64::from(QUEUES);
        match what {
            "stored" => drop(told.stored.insert(number, cursor)),
            "account" => told.accounts.push(number),
            "acknowledged" => raise(&mut told.sure, mark, cursor),
            "acknowledging" => raise(&mut told.possible, mark, cursor),
            _ => {}
        }
    }
}

fn raise(marks: &mut BTreeMap<u64, u64>, queue: u64, cursor: u64) {
    let mark = marks.entry(queue).or_default();
    *mark = cursor.max(*mark);
}

#[test]
fn store_killed_while_writing_has_everything_it_told() {
    let kills: u64 = std::env::var("MAILBOX_KILLS")
        .ok()
        .and_then(|kills| kills.parse().ok())
        .unwrap_or(KILLS);
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let open = || LogStore::open(folder.path(), config()).unwrap();
    runtime.block_on(async {
        let store = open();
        for number in 0..u64::from(QUEUES) {
            store
                .register_device(queue(number), READER, NOW)
                .await
                .unwrap();
        }
    });
    let mut told = Told::default();
    for kill in 0..kills {
        let before = told.stored.len();
        let after = Duration::from_millis(100 + kill * 7919 % 300);
        run_and_kill(folder.path(), kill * 1_000_000_000, after, &mut told);
        assert!(kill > 2 || told.stored.len() >= before);
        runtime.block_on(check(&open(), &told));
    }
    assert!(
        told.stored.len() > 1000,
        "only {} packets were stored",
        told.stored.len()
    );
}

async fn check(store: &LogStore, told: &Told) {
    assert!(store.recovery().damage.is_empty(), "{:?}", store.recovery());
    for number in 0..u64::from(QUEUES) {
        let sure = told.sure.get(&number).copied().unwrap_or(0);
        let possible = told.possible.get(&number).copied().unwrap_or(0);
        let mark = store
            .register_device(queue(number), READER, NOW)
            .await
            .unwrap();
        assert!(
            (sure..=possible).contains(&mark.value()),
            "{sure} to {possible}, not {mark}"
        );
        let mut found = BTreeMap::new();
        let mut after = Cursor::START;
        loop {
            let page = store
                .read(queue(number), READER, after, 1000, 8 << 20)
                .await
                .unwrap();
            let Some(last) = page.last() else { break };
            assert!(
                page[0].cursor > after
                    && page.is_sorted_by(|left, right| left.cursor < right.cursor)
            );
            after = last.cursor;
            for stored in page {
                let packet_number = u64::from_le_bytes(stored.packet[..8].try_into().unwrap());
                assert_eq!(stored.packet, packet(packet_number));
                assert!(
                    found.insert(packet_number, stored.cursor.value()).is_none(),
                    "stored twice"
                );
            }
        }
        let of_queue = told
            .stored
            .iter()
            .filter(|(packet, _)| *packet % u64::from(QUEUES) == number);
        for (packet_number, cursor) in of_queue.filter(|(_, cursor)| **cursor > mark.value()) {
            assert_eq!(
                found.get(packet_number),
                Some(cursor),
                "packet {packet_number} is lost"
            );
        }
    }
    for number in &told.accounts {
        let value = store
            .directory()
            .get(hash(*number)[..8].to_vec().into())
            .await
            .unwrap();
        assert_eq!(value, Some(packet(*number)));
    }
    if let Some((number, cursor)) = told.stored.first_key_value() {
        let again = store
            .append(queue(*number), hash(*number), packet(*number), NOW + 1)
            .await
            .unwrap();
        assert!(again.duplicate && again.cursor.value() == *cursor);
    }
}
