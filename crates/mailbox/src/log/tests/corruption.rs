//! Files cut at every byte, bits flipped anywhere, garbage instead of files.

use std::sync::Arc;

use proptest::prelude::*;

use super::simulated_disk::SimulatedDisk;
use super::{
    ALICE, BOB, NOW, PHONE, append, append_at_once, open, read_all, rest, runtime, tiny_files,
};
use crate::disk::Disk;
use crate::error::OpenError;
use crate::log::files::{segment_name, segment_number};
use crate::log::{LogConfig, LogStore};
use crate::store::{Directory, PacketStore};

fn one_file() -> LogConfig {
    LogConfig {
        segment_bytes: 64 << 10,
        ..tiny_files()
    }
}

/// The disk with one file changed.
fn with_file(disk: &SimulatedDisk, name: &str, bytes: Vec<u8>) -> Arc<SimulatedDisk> {
    let copy = SimulatedDisk::new();
    for (other, _) in disk.files().iter().filter(|(other, _)| other != name) {
        copy.put(other, disk.bytes(other));
    }
    copy.put(name, bytes);
    copy
}

fn used_len(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| (last / 8 + 1) * 8)
}

/// Some packets of several commits; returns the disk, and for each packet the bytes the file had when it was acknowledged.
fn filled() -> (Arc<SimulatedDisk>, Vec<(String, usize)>) {
    let disk = SimulatedDisk::new();
    let mut packets = Vec::new();
    runtime().block_on(async {
        let store = open(&disk, &one_file());
        store.register_device(ALICE, PHONE, NOW).await.unwrap();
        for i in 0..12 {
            let text = format!("packet {i} {}", "x".repeat(i * 13 % 50));
            append(&store, ALICE, text.clone(), NOW).await;
            packets.push((text, used_len(&disk.bytes(&segment_name(1)))));
        }
        store.close().await;
    });
    (disk.after_kill(), packets)
}

async fn shown(store: &LogStore) -> Vec<String> {
    let read = read_all(store, ALICE, PHONE).await;
    read.into_iter()
        .map(|stored| String::from_utf8(stored.packet.to_vec()).unwrap())
        .collect()
}

#[test]
fn store_cut_at_every_byte_keeps_all_acknowledged_before() {
    let (disk, packets) = filled();
    let name = segment_name(1);
    let bytes = disk.bytes(&name);
    let used = used_len(&bytes);
    let registered = 64 + super::super::record::state_frame_len(1);
    runtime().block_on(async {
        for cut in registered..=used {
            let expected: Vec<_> = packets
                .iter()
                .filter(|(_, end)| *end <= cut)
                .map(|(text, _)| text.clone())
                .collect();
            // Cut, as after a kill on a file system without room set aside; and zeros, as with it.
            for padded in [false, true] {
                let mut part = bytes[..cut].to_vec();
                if padded {
                    part.resize(bytes.len(), 0);
                }
                let disk = with_file(&disk, &name, part);
                let store = open(&disk, &one_file());
                // The last frame may end in zeros of its own, so that cutting them takes nothing away.
                let found = shown(&store).await;
                assert!(
                    found.starts_with(&expected) && found.len() <= expected.len() + 1,
                    "cut at {cut}: {found:?}"
                );
                append(&store, ALICE, "after", NOW).await;
                drop(store);
                let store = open(&disk, &one_file());
                let mut expected = found;
                expected.push("after".to_owned());
                assert_eq!(shown(&store).await, expected, "cut at {cut}");
                assert!(store.recovery().damage.is_empty());
            }
        }
    });
}

#[test]
fn store_torn_at_every_sector_of_the_last_commit_keeps_all_acknowledged_before() {
    let disk = SimulatedDisk::new();
    let name = segment_name(1);
    runtime().block_on(async {
        let store = open(&disk, &one_file());
        store.register_device(ALICE, PHONE, NOW).await.unwrap();
        append(&store, ALICE, "before", NOW).await;
        let before = disk.bytes(&name);
        let packets = (0..8u8).map(|i| vec![b'a' + i; 1000]).collect();
        append_at_once(&store, packets).await;
        store.close().await;
        let after = disk.bytes(&name);
        let sectors = after.len().div_ceil(512);
        for lost in 0..sectors {
            let mut torn = after.clone();
            let range = lost * 512..((lost + 1) * 512).min(after.len());
            torn[range.clone()].copy_from_slice(&before[range]);
            let disk = with_file(&disk, &name, torn);
            let store = open(&disk, &one_file());
            let found = shown(&store).await;
            assert_eq!(found[0], "before");
            assert!(
                found.len() >= 7,
                "one sector tears two packets at most: {}",
                found.len()
            );
            assert!(store.recovery().damage.is_empty(), "{:?}", store.recovery());
            let next = append(&store, ALICE, "next", NOW).await;
            let read = read_all(&store, ALICE, PHONE).await;
            assert_eq!(read.last().unwrap().cursor, next.cursor);
            drop(store);
            let store = open(&disk, &one_file());
            assert_eq!(shown(&store).await.len(), found.len() + 1);
            assert!(
                store.recovery().damage.is_empty() && store.recovery().torn_bytes == 0,
                "{:?}",
                store.recovery()
            );
        }
    });
}

#[test]
fn store_with_any_bit_flipped_loses_one_packet_at_most_and_reports_it() {
    let (disk, packets) = filled();
    let name = segment_name(1);
    let bytes = disk.bytes(&name);
    let state_end = 64 + super::super::record::state_frame_len(1);
    runtime().block_on(async {
        for position in 0..used_len(&bytes) {
            let mut flipped = bytes.clone();
            flipped[position] ^= 1 << (position % 8);
            let disk = with_file(&disk, &name, flipped);
            let store = open(&disk, &one_file());
            // Without its first record the queue has lost its device, not its packets.
            store.register_device(ALICE, PHONE, NOW).await.unwrap();
            let found = shown(&store).await;
            let expected: Vec<_> = packets.iter().map(|(text, _)| text.clone()).collect();
            assert!(found.iter().all(|text| expected.contains(text)));
            assert!(
                found.len() + 1 >= expected.len(),
                "byte {position}: {} packets",
                found.len()
            );
            assert!(
                position >= state_end || found.len() == expected.len(),
                "byte {position}"
            );
            let recovery = store.recovery();
            let lost_something = found.len() < expected.len();
            assert!(
                !lost_something || recovery.damaged_bytes + recovery.torn_bytes > 0,
                "byte {position}: {recovery:?}"
            );
            let next = append(&store, ALICE, "next", NOW).await;
            assert!(
                next.cursor.value() > packets.len() as u64 - 1,
                "a cursor that was told is not given out again"
            );
            if position + 200 < used_len(&bytes) {
                assert!(next.cursor.value() > packets.len() as u64);
            }
            store.check_books();
        }
    });
}

#[test]
fn store_with_damage_in_an_old_file_reads_on_behind_it_and_cleans_up() {
    runtime().block_on(async {
        let disk = SimulatedDisk::new();
        let store = open(&disk, &tiny_files());
        store.register_device(ALICE, PHONE, NOW).await.unwrap();
        for i in 0..40 {
            append(&store, ALICE, format!("{i:0>600}"), NOW).await;
        }
        drop(store);
        let name = segment_name(2);
        let mut bytes = disk.bytes(&name);
        // The header of the fifth packet, after four of 680 bytes and the file's header.
        bytes[64 + 4 * 680..][..24].fill(0x55);
        let disk = with_file(&disk, &name, bytes);
        let store = open(&disk, &tiny_files());
        assert_eq!(store.recovery().damage.len(), 1);
        assert_eq!(store.recovery().damage[0].file, 2);
        let found = shown(&store).await;
        assert_eq!(found.len(), 39);
        let last = append(&store, ALICE, "more", NOW).await;
        assert!(
            last.cursor.value() > 41,
            "cursors that may have been lost are skipped"
        );
        store
            .acknowledge(ALICE, PHONE, last.cursor, NOW)
            .await
            .unwrap();
        rest(&store).await;
        store.check_books();
        assert!(
            !disk.files().iter().any(|(file, _)| *file == name),
            "the damaged file is freed"
        );
        drop(store);
        let store = open(&disk, &tiny_files());
        assert!(store.recovery().damage.is_empty());
        assert!(append(&store, ALICE, "even more", NOW).await.cursor > last.cursor);
    });
}

#[test]
fn store_whose_packet_is_damaged_while_open_leaves_it_out_and_carries_the_rest_over() {
    runtime().block_on(async {
        let disk = SimulatedDisk::new();
        let store = open(&disk, &tiny_files());
        store.register_device(ALICE, PHONE, NOW).await.unwrap();
        store.register_device(BOB, PHONE, NOW).await.unwrap();
        for i in 0..10 {
            append(&store, ALICE, format!("{i:0>200}"), NOW).await;
            append(&store, BOB, format!("{i:0>400}"), NOW).await;
        }
        for i in 0..20 {
            append(&store, BOB, format!("{i:x>300}"), NOW).await;
        }
        let file = disk.open(&segment_name(1)).unwrap();
        file.write_at(&[0xff; 30], 2000).unwrap();
        assert_eq!(shown(&store).await.len(), 9);
        assert_eq!(store.figures().lost, 1);
        let bob = read_all(&store, BOB, PHONE).await;
        store
            .acknowledge(BOB, PHONE, bob.last().unwrap().cursor, NOW)
            .await
            .unwrap();
        rest(&store).await;
        assert!(
            !disk
                .files()
                .iter()
                .any(|(name, _)| *name == segment_name(1))
        );
        assert_eq!(shown(&store).await.len(), 9);
        store.check_books();
    });
}

#[test]
fn store_without_its_header_file_is_read_by_the_headers_of_its_logs() {
    let (disk, packets) = filled();
    runtime().block_on(async {
        for damaged in [Vec::new(), vec![0; 64], b"CONETLOG".to_vec()] {
            let disk = with_file(&disk, "store", damaged);
            let store = open(&disk, &one_file());
            assert_eq!(shown(&store).await.len(), packets.len());
            assert_eq!(disk.bytes("store").len(), 64);
        }
    });
}

#[test]
fn store_without_any_header_is_refused_and_left_alone() {
    let (disk, _) = filled();
    let copy = SimulatedDisk::new();
    for (name, _) in disk.files() {
        let mut bytes = disk.bytes(&name);
        bytes[..64].fill(0);
        copy.put(&name, bytes);
    }
    let before: Vec<_> = copy.files();
    let refused = LogStore::open_on(Arc::clone(&copy) as Arc<dyn Disk>, one_file());
    assert!(matches!(refused, Err(OpenError::NoHeader)));
    assert_eq!(copy.files(), before);
}

#[test]
fn store_of_another_format_version_is_refused() {
    let (disk, _) = filled();
    for name in ["store".to_owned(), segment_name(1)] {
        let mut bytes = disk.bytes(&name);
        bytes[8] = 2;
        let check = crc32fast::hash(&bytes[..60]).to_le_bytes();
        bytes[60..64].copy_from_slice(&check);
        let disk = with_file(&disk, &name, bytes);
        let refused = LogStore::open_on(disk as Arc<dyn Disk>, one_file());
        assert!(
            matches!(
                refused,
                Err(OpenError::Version {
                    found: 2,
                    supported: 1
                })
            ),
            "{name}"
        );
    }
}

#[test]
fn frame_inside_a_packet_is_never_taken_for_a_record() {
    runtime().block_on(async {
        let disk = SimulatedDisk::new();
        let store = open(&disk, &one_file());
        store.register_device(ALICE, PHONE, NOW).await.unwrap();
        append(&store, ALICE, "victim", NOW).await;
        // A sender that even knew the salt of another store can't hit place and salt of this one.
        let seal = super::super::frame::FrameSeal {
            salt: [0; 8],
            file: 1,
        };
        let removal = super::super::record::RemovedRecord {
            queue: ALICE,
            floor: 100,
            removed_in: 1,
        };
        let mut forged = Vec::new();
        for offset in 0..15 {
            let kind = super::super::record::kind::REMOVED;
            super::super::frame::write_frame(
                &mut forged,
                &seal,
                300 + offset * 8,
                kind,
                9,
                &removal.encode(),
                &[],
            );
        }
        append(&store, ALICE, forged, NOW).await;
        append(&store, ALICE, "last", NOW).await;
        drop(store);
        let name = segment_name(1);
        let bytes = disk.bytes(&name);
        for position in 0..used_len(&bytes) {
            let mut damaged = bytes.clone();
            damaged[position] ^= 0xff;
            let store = open(&with_file(&disk, &name, damaged), &one_file());
            assert!(
                store.stats(ALICE).await.unwrap().count >= 2,
                "byte {position}"
            );
        }
    });
}

#[test]
fn directory_cut_at_every_byte_keeps_all_acknowledged_before() {
    let disk = SimulatedDisk::new();
    let mut ends = Vec::new();
    let name = "accounts-00000001.log";
    runtime().block_on(async {
        let store = open(&disk, &one_file());
        for i in 0..10u8 {
            let value = vec![i + 1; usize::from(i) * 7];
            store
                .directory()
                .put(vec![i + 1; 20].into(), value.into())
                .await
                .unwrap();
            ends.push(used_len(&disk.bytes(name)));
        }
    });
    let bytes = disk.bytes(name);
    runtime().block_on(async {
        for cut in 64..=used_len(&bytes) {
            let disk = with_file(&disk, name, bytes[..cut].to_vec());
            let store = open(&disk, &one_file());
            let expected = ends.iter().filter(|end| **end <= cut).count();
            let page = store.directory().page(None, 100).await.unwrap();
            assert!(
                page.len() == expected || page.len() == expected + 1,
                "cut at {cut}: {} of {expected}",
                page.len()
            );
            store
                .directory()
                .put("next".into(), "value".into())
                .await
                .unwrap();
            drop(store);
            let store = open(&disk, &one_file());
            assert_eq!(
                store.directory().get("next".into()).await.unwrap(),
                Some("value".into())
            );
            assert_eq!(store.directory().len(), page.len() + 1);
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn store_of_garbage_opens_or_refuses_and_never_panics(
        header in proptest::bool::ANY,
        garbage in proptest::collection::vec(any::<u8>(), 0..5000),
    ) {
        let (disk, _) = filled();
        let mut bytes = if header { disk.bytes(&segment_name(1))[..64].to_vec() } else { Vec::new() };
        bytes.extend(&garbage);
        for name in [segment_name(1), segment_name(7), "accounts-00000003.log".to_owned(), "store".to_owned()] {
            let disk = with_file(&disk, &name, bytes.clone());
            if let Ok(store) = LogStore::open_on(disk as Arc<dyn Disk>, one_file()) {
                runtime().block_on(async {
                    append(&store, BOB, "works", NOW).await;
                    store.check_books();
                });
            }
        }
    }

    #[test]
    fn store_with_many_bytes_changed_opens_and_shows_only_what_was_sent(
        changes in proptest::collection::vec((0usize..2500, any::<u8>()), 1..60),
    ) {
        let (disk, packets) = filled();
        let name = segment_name(1);
        let mut bytes = disk.bytes(&name);
        for (position, byte) in changes {
            bytes[position] = byte;
        }
        let store = open(&with_file(&disk, &name, bytes), &one_file());
        runtime().block_on(async {
            store.register_device(ALICE, PHONE, NOW).await.unwrap();
            for text in shown(&store).await {
                assert!(packets.iter().any(|(sent, _)| *sent == text));
            }
            append(&store, ALICE, "works", NOW).await;
            store.check_books();
        });
    }
}

#[test]
fn names_of_files_are_read_back() {
    for number in [1, 0xabc, u32::MAX] {
        assert_eq!(segment_number(&segment_name(number)), Some(number));
    }
    for name in [
        "store",
        "lock",
        "packets-.log",
        "packets-00000001.log.draft",
        "packets-+0000001.log",
        "packets-0000001g.log",
    ] {
        assert_eq!(segment_number(name), None, "{name}");
    }
}
