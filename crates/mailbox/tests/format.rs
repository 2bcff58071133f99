//! The format on disk is that of `docs/store-format.md`: a store written long ago is read, and a
//! reader written from the page alone reads it.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed test may panic"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use mailbox::{Cursor, DeviceId, Directory, LogConfig, LogStore, PacketStore, QueueId};

const NOW: u64 = 1_800_000_000_000;
const TTL: u64 = 1_000_000;
const KEPT: QueueId = QueueId::new([0xa1; 20]);
const REMOVED: QueueId = QueueId::new([0xb0; 20]);
const FIRST: DeviceId = DeviceId::new([1; 16]);
const SECOND: DeviceId = DeviceId::new([2; 16]);

fn vectors() -> PathBuf {
    // Asked at run time: a build directory may serve several checkouts.
    Path::new(&std::env::var_os("CARGO_MANIFEST_DIR").unwrap()).join("tests/vectors/store-v1")
}

fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 8 << 10,
        max_packet_bytes: 1000,
        ttl_ms: TTL,
        ..LogConfig::default()
    }
}

fn hash(number: u8) -> [u8; 32] {
    [number; 32]
}

/// Makes the store of the vectors. Its salt is random, so that every run makes another one.
async fn make(folder: &Path) {
    let store = LogStore::open(folder, config()).unwrap();
    for device in [FIRST, SECOND] {
        store.register_device(KEPT, device, NOW).await.unwrap();
    }
    store
        .append(REMOVED, hash(200), "of a removed queue".into(), NOW)
        .await
        .unwrap();
    for number in 1..=30u8 {
        store
            .append(
                KEPT,
                hash(number),
                vec![number; 500].into(),
                NOW + u64::from(number),
            )
            .await
            .unwrap();
    }
    store.remove_queue(REMOVED).await.unwrap();
    store
        .acknowledge(KEPT, FIRST, Cursor::new(28), NOW)
        .await
        .unwrap();
    store
        .acknowledge(KEPT, SECOND, Cursor::new(27), NOW)
        .await
        .unwrap();
    let directory = store.directory();
    directory.put("alice".into(), "one".into()).await.unwrap();
    directory.put("bob".into(), "two".into()).await.unwrap();
    directory.put("alice".into(), "three".into()).await.unwrap();
    directory.remove("bob".into()).await.unwrap();
    // Freeing files, by which memories come about, goes on by itself.
    for _ in 0..1000 {
        if store.figures().files == 1 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    directory.close().await;
    store.close().await;
}

#[tokio::test]
#[ignore = "makes the vectors anew, for a new format version"]
async fn make_vectors() {
    let folder = tempfile::tempdir().unwrap();
    make(folder.path()).await;
    std::fs::create_dir_all(vectors()).unwrap();
    for file in std::fs::read_dir(folder.path())
        .unwrap()
        .map(Result::unwrap)
    {
        let name = file.file_name().into_string().unwrap();
        if name != "lock" && !name.starts_with("spare") {
            let mut bytes = std::fs::read(file.path()).unwrap();
            let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
            bytes.truncate(used.next_multiple_of(8));
            std::fs::write(vectors().join(name), bytes).unwrap();
        }
    }
}

async fn check(folder: &Path) {
    let store = LogStore::open(folder, config()).unwrap();
    assert!(store.recovery().damage.is_empty());
    assert_eq!(
        store.register_device(KEPT, FIRST, NOW).await.unwrap(),
        Cursor::new(28)
    );
    assert_eq!(
        store.register_device(KEPT, SECOND, NOW).await.unwrap(),
        Cursor::new(27)
    );
    let read = store
        .read(KEPT, SECOND, Cursor::START, 100, 1 << 20)
        .await
        .unwrap();
    let read: Vec<_> = read
        .iter()
        .map(|stored| (stored.cursor.value(), stored.stored_at_ms, stored.packet[0]))
        .collect();
    assert_eq!(
        read,
        [(28, NOW + 28, 28), (29, NOW + 29, 29), (30, NOW + 30, 30)]
    );
    for number in 1..=30u8 {
        let again = store
            .append(KEPT, hash(number), vec![number; 500].into(), NOW + 100)
            .await
            .unwrap();
        assert!(
            again.duplicate && again.cursor.value() == u64::from(number),
            "{again:?}"
        );
    }
    assert_eq!(
        store
            .append(KEPT, hash(31), "next".into(), NOW + 100)
            .await
            .unwrap()
            .cursor,
        Cursor::new(31)
    );
    assert_eq!(store.stats(REMOVED).await.unwrap().count, 0);
    assert!(
        store
            .append(REMOVED, hash(200), "again".into(), NOW)
            .await
            .unwrap()
            .cursor
            > Cursor::new(1)
    );
    assert_eq!(
        store.directory().get("alice".into()).await.unwrap(),
        Some("three".into())
    );
    assert_eq!(store.directory().get("bob".into()).await.unwrap(), None);
}

#[tokio::test]
async fn store_of_format_version_1_is_read() {
    let folder = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(vectors()).unwrap().map(Result::unwrap) {
        std::fs::copy(file.path(), folder.path().join(file.file_name())).unwrap();
    }
    check(folder.path()).await;
}

#[tokio::test]
async fn store_made_now_is_what_the_vectors_hold() {
    let folder = tempfile::tempdir().unwrap();
    make(folder.path()).await;
    assert_eq!(
        page_reader::read(folder.path()),
        page_reader::read(&vectors())
    );
    check(folder.path()).await;
}

#[test]
fn reader_written_from_the_page_finds_what_the_vectors_hold() {
    let found = page_reader::read(&vectors());
    assert_eq!(found.kept.keys().copied().collect::<Vec<_>>(), [28, 29, 30]);
    assert!(
        found.kept.iter().all(
            |(cursor, (at, packet))| *at == NOW + cursor && *packet == vec![*cursor as u8; 500]
        )
    );
    assert_eq!(found.remembered, (1..=27).collect());
    assert_eq!(
        found.devices,
        BTreeMap::from([([1; 16], 28), ([2; 16], 27)])
    );
    assert_eq!(found.next, 31);
    assert_eq!(
        found.accounts,
        BTreeMap::from([(b"alice".to_vec(), b"three".to_vec())])
    );
    assert!(
        found
            .kinds
            .is_superset(&BTreeSet::from([1, 2, 3, 4, 16, 17])),
        "{:?}",
        found.kinds
    );
}

/// Reads a store by `docs/store-format.md` and nothing else.
mod page_reader {
    use std::collections::{BTreeMap, BTreeSet};
    use std::path::Path;

    #[derive(Debug, Default, PartialEq, Eq)]
    pub(super) struct Found {
        pub(super) kept: BTreeMap<u64, (u64, Vec<u8>)>,
        pub(super) remembered: BTreeSet<u64>,
        pub(super) devices: BTreeMap<[u8; 16], u64>,
        pub(super) next: u64,
        pub(super) accounts: BTreeMap<Vec<u8>, Vec<u8>>,
        pub(super) kinds: BTreeSet<u8>,
    }

    fn crc32(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0u32, |crc, byte| {
            (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
                if crc & 1 == 1 {
                    crc >> 1 ^ 0xedb8_8320
                } else {
                    crc >> 1
                }
            })
        })
    }

    fn u16_at(bytes: &[u8], at: usize) -> usize {
        usize::from(u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap()))
    }

    fn u32_at(bytes: &[u8], at: usize) -> u32 {
        u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
    }

    fn u64_at(bytes: &[u8], at: usize) -> u64 {
        u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
    }

    struct Frame {
        kind: u8,
        meta: Vec<u8>,
        payload: Vec<u8>,
    }

    fn frames(path: &Path, kind: usize, number: u32) -> Vec<Frame> {
        let file = std::fs::read(path).unwrap();
        assert_eq!(&file[..8], b"CONETLOG");
        assert_eq!(
            (u16_at(&file, 8), u16_at(&file, 10), u32_at(&file, 12)),
            (1, kind, number)
        );
        assert_eq!(u32_at(&file, 60), crc32(&file[..60]));
        let salt = &file[16..24];
        let mut found = Vec::new();
        let mut at = 64;
        while file.len() >= at + 24 && file[at] != 0 {
            let (meta_len, payload_len) = (u16_at(&file, at + 2), u32_at(&file, at + 4) as usize);
            let meta = &file[at + 24..at + 24 + meta_len];
            let payload = &file[at + 24 + meta_len..at + 24 + meta_len + payload_len];
            assert_eq!(u32_at(&file, at + 16), crc32(payload));
            let place = [
                salt,
                &number.to_le_bytes(),
                &(at as u64).to_le_bytes(),
                &file[at..at + 20],
                meta,
            ]
            .concat();
            assert_eq!(u32_at(&file, at + 20), crc32(&place));
            found.push(Frame {
                kind: file[at],
                meta: meta.to_vec(),
                payload: payload.to_vec(),
            });
            at = (at + 24 + meta_len + payload_len).next_multiple_of(8);
        }
        found
    }

    fn numbered(folder: &Path, prefix: &str) -> Vec<(u32, std::path::PathBuf)> {
        let files = std::fs::read_dir(folder)
            .unwrap()
            .map(|file| file.unwrap().path());
        let mut found: Vec<_> = files
            .filter_map(|path| {
                let digits = path
                    .file_name()?
                    .to_str()?
                    .strip_prefix(prefix)?
                    .strip_suffix(".log")?
                    .to_owned();
                Some((u32::from_str_radix(&digits, 16).ok()?, path))
            })
            .collect();
        found.sort();
        found
    }

    /// What the store holds for the queue of 0xa1.
    pub(super) fn read(folder: &Path) -> Found {
        let mut found = Found::default();
        let mut packets = BTreeMap::new();
        let mut memories = BTreeSet::new();
        let mut live_from = 0;
        for (number, path) in numbered(folder, "packets-") {
            for frame in frames(&path, 2, number) {
                found.kinds.insert(frame.kind);
                if frame.meta[..20] != [0xa1; 20] {
                    continue;
                }
                match frame.kind {
                    1 => {
                        let cursor = u64_at(&frame.meta, 20);
                        assert_eq!(frame.meta[36..52], [cursor as u8; 16]);
                        found.next = found.next.max(cursor + 1);
                        packets.insert(cursor, (u64_at(&frame.meta, 28), frame.payload));
                    }
                    2 => {
                        found.next = found.next.max(u64_at(&frame.meta, 28));
                        live_from = u64_at(&frame.meta, 36);
                        let devices = (0..usize::from(frame.meta[44])).map(|i| 45 + 32 * i);
                        found.devices = devices
                            .map(|at| {
                                (
                                    frame.meta[at..at + 16].try_into().unwrap(),
                                    u64_at(&frame.meta, at + 16),
                                )
                            })
                            .collect();
                    }
                    3 => memories.extend(frame.payload.chunks(32).map(|memory| u64_at(memory, 0))),
                    _ => {}
                }
            }
        }
        found.remembered = packets
            .keys()
            .copied()
            .filter(|cursor| *cursor < live_from)
            .chain(memories)
            .collect();
        found.kept = packets
            .into_iter()
            .filter(|(cursor, _)| *cursor >= live_from)
            .collect();
        let (number, path) = numbered(folder, "accounts-").pop().unwrap();
        for frame in frames(&path, 3, number) {
            found.kinds.insert(frame.kind);
            if frame.kind == 16 {
                found.accounts.insert(frame.meta, frame.payload);
            } else {
                found.accounts.remove(&frame.meta);
            }
        }
        found
    }
}
