//! A disk that fails or runs full.

use super::simulated_disk::SimulatedDisk;
use super::{ALICE, NOW, PHONE, append, hash, open, read_all, rest, runtime, tiny_files};
use crate::error::{AppendError, ControlError};
use crate::log::LogConfig;
use crate::queue::{Cursor, DeviceId};
use crate::store::{Directory, PacketStore};

#[test]
fn store_after_failed_sync_refuses_every_change_and_goes_on_reading() {
    runtime().block_on(async {
        let disk = SimulatedDisk::new();
        let store = open(&disk, &tiny_files());
        store.register_device(ALICE, PHONE, NOW).await.unwrap();
        let kept = append(&store, ALICE, "kept", NOW).await;
        disk.fail_syncs(true);
        let lost = store.append(ALICE, hash(b"lost"), "lost".into(), NOW).await;
        assert!(matches!(lost, Err(AppendError::Io(_))), "{lost:?}");
        disk.fail_syncs(false);
        let refused = store
            .append(ALICE, hash(b"later"), "later".into(), NOW)
            .await;
        assert!(matches!(refused, Err(AppendError::Io(_))), "{refused:?}");
        let refused = store.acknowledge(ALICE, PHONE, kept.cursor, NOW).await;
        assert!(matches!(refused, Err(ControlError::Io(_))), "{refused:?}");
        let refused = store.expire(NOW).await;
        assert!(matches!(refused, Err(ControlError::Io(_))), "{refused:?}");
        assert!(store.figures().failed);
        let read = read_all(&store, ALICE, PHONE).await;
        assert_eq!(read.len(), 1);
        assert_eq!(read[0].packet, "kept");
        store.close().await;
        drop(store);
        let store = open(&disk, &tiny_files());
        assert!(
            read_all(&store, ALICE, PHONE)
                .await
                .iter()
                .any(|packet| packet.packet == "kept")
        );
        append(&store, ALICE, "later", NOW).await;
    });
}

#[test]
fn store_found_after_failed_sync_is_written_anew_before_it_is_trusted() {
    runtime().block_on(async {
        let disk = SimulatedDisk::new();
        let store = open(&disk, &tiny_files());
        store.register_device(ALICE, PHONE, NOW).await.unwrap();
        disk.fail_syncs(true);
        let lost = store
            .append(ALICE, hash(b"doubtful"), "doubtful".into(), NOW)
            .await;
        assert!(lost.is_err());
        disk.fail_syncs(false);
        drop(store);
        // The pages are there to read though they never reached the disk; now somebody relies on them.
        let store = open(&disk, &tiny_files());
        assert!(append(&store, ALICE, "doubtful", NOW).await.duplicate);
        let mut rng = rand::rngs::mock::StepRng::new(0, 0);
        let disk = disk.after_power_failure(&mut rng);
        drop(store);
        let store = open(&disk, &tiny_files());
        assert_eq!(read_all(&store, ALICE, PHONE).await.len(), 1);
    });
}

#[test]
fn store_on_full_disk_says_so_reads_acknowledges_and_recovers() {
    runtime().block_on(async {
        let disk = SimulatedDisk::new();
        let config = tiny_files();
        let store = open(&disk, &config);
        store.register_device(ALICE, PHONE, NOW).await.unwrap();
        disk.set_capacity(disk.used() + 3 * config.segment_bytes);
        let mut stored = Vec::new();
        let refused = loop {
            let packet = format!("{:0>700}", stored.len());
            match store
                .append(ALICE, hash(packet.as_bytes()), packet.into(), NOW)
                .await
            {
                Ok(outcome) => stored.push(outcome.cursor),
                Err(error) => break error,
            }
            assert!(stored.len() < 1000, "the disk must run full");
        };
        assert!(matches!(refused, AppendError::DiskFull), "{refused:?}");
        assert!(stored.len() >= 20);
        assert_eq!(read_all(&store, ALICE, PHONE).await.len(), stored.len());
        // Acknowledging works on the full disk, frees files, and then there is room again.
        for cursor in &stored {
            store.acknowledge(ALICE, PHONE, *cursor, NOW).await.unwrap();
        }
        for _ in 0..100 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            if store
                .append(ALICE, hash(b"again"), "again".into(), NOW)
                .await
                .is_ok()
            {
                break;
            }
        }
        assert_eq!(read_all(&store, ALICE, PHONE).await.len(), 1);
        store.check_books();
        drop(store);
        let store = open(&disk, &config);
        assert_eq!(read_all(&store, ALICE, PHONE).await.len(), 1);
    });
}

/// Acknowledging on a full disk was refused once the rewriting of an old file and the acknowledgements
/// had used up, each a part, the one file that packets leave: neither could go on.
#[test]
fn store_on_full_disk_takes_acknowledgements_without_end_though_they_free_nothing() {
    runtime().block_on(async {
        let disk = SimulatedDisk::new();
        let store = open(&disk, &tiny_files());
        let tablet = DeviceId::new([2; 16]);
        store.register_device(ALICE, PHONE, NOW).await.unwrap();
        store.register_device(ALICE, tablet, NOW).await.unwrap();
        disk.set_capacity(disk.used() + 3 * 8192 + 100);
        let mut count = 0;
        let mut last = Cursor::START;
        while let Ok(stored) = store
            .append(ALICE, hash(&[count; 700]), vec![count; 700].into(), NOW)
            .await
        {
            (count, last) = (count + 1, stored.cursor);
        }
        // What somebody else takes of a full disk, the store can't count on either.
        disk.set_capacity(disk.used());
        let hour = 60 * 60 * 1000;
        for i in 0..500 {
            let now = NOW + i * hour;
            store
                .acknowledge(ALICE, PHONE, last, now)
                .await
                .unwrap_or_else(|error| panic!("acknowledgement {i}: {error}"));
        }
        assert_eq!(
            store.stats(ALICE).await.unwrap().count,
            u64::from(count),
            "the tablet has nothing yet"
        );
        store.acknowledge(ALICE, tablet, last, NOW).await.unwrap();
        rest(&store).await;
        append(&store, ALICE, "again", NOW).await;
        store.check_books();
        drop(store);
        let store = open(&disk, &tiny_files());
        assert_eq!(read_all(&store, ALICE, PHONE).await.len(), 1);
    });
}

#[test]
fn store_recovers_when_room_comes_back_by_itself() {
    runtime().block_on(async {
        let disk = SimulatedDisk::new();
        let config = tiny_files();
        let store = open(&disk, &config);
        disk.set_capacity(disk.used() + config.segment_bytes / 2);
        let mut count = 0;
        while store
            .append(ALICE, hash(&[count; 900]), vec![count; 900].into(), NOW)
            .await
            .is_ok()
        {
            count += 1;
        }
        disk.set_capacity(0);
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        append(&store, ALICE, "room", NOW).await;
        assert_eq!(
            store.stats(ALICE).await.unwrap().count,
            u64::from(count) + 1
        );
    });
}

#[test]
fn store_whose_writes_run_out_of_room_takes_the_commit_back() {
    runtime().block_on(async {
        let disk = SimulatedDisk::new();
        let config = tiny_files();
        let store = open(&disk, &config);
        store.register_device(ALICE, PHONE, NOW).await.unwrap();
        append(&store, ALICE, "one", NOW).await;
        // A file system that sets no room aside: the file is short and the disk full.
        let number = store.shared.index.lock().segments.newest();
        let name = crate::log::files::segment_name(number);
        let used = disk
            .bytes(&name)
            .iter()
            .rposition(|byte| *byte != 0)
            .unwrap()
            / 8
            * 8
            + 8;
        use crate::disk::Disk;
        disk.open(&name).unwrap().set_length(used as u64).unwrap();
        disk.set_capacity(disk.used() + 100);
        let refused = store
            .append(ALICE, hash(&[7; 900]), vec![7; 900].into(), NOW)
            .await;
        assert!(matches!(refused, Err(AppendError::DiskFull)), "{refused:?}");
        assert_eq!(read_all(&store, ALICE, PHONE).await.len(), 1);
        store.check_books();
        disk.set_capacity(0);
        assert!(!append(&store, ALICE, vec![7; 900], NOW).await.duplicate);
        drop(store);
        let store = open(&disk, &config);
        let read = read_all(&store, ALICE, PHONE).await;
        assert_eq!(read.len(), 2);
        assert_eq!(read[1].packet, vec![7; 900]);
    });
}

#[test]
fn store_at_its_own_limit_says_disk_full_until_packets_are_acknowledged() {
    runtime().block_on(async {
        let disk = SimulatedDisk::new();
        let config = LogConfig {
            max_total_bytes: 6 * (8 << 10),
            ..tiny_files()
        };
        let store = open(&disk, &config);
        store.register_device(ALICE, PHONE, NOW).await.unwrap();
        let mut last = Cursor::START;
        let mut count = 0u32;
        let refused = loop {
            count += 1;
            let packet = format!("{count:0>800}");
            match store
                .append(ALICE, hash(packet.as_bytes()), packet.into(), NOW)
                .await
            {
                Ok(stored) => last = stored.cursor,
                Err(error) => break error,
            }
        };
        assert!(matches!(refused, AppendError::DiskFull), "{refused:?}");
        assert!(store.figures().disk_bytes <= config.max_total_bytes);
        store.acknowledge(ALICE, PHONE, last, NOW).await.unwrap();
        rest(&store).await;
        append(&store, ALICE, "room", NOW).await;
        assert!(store.figures().disk_bytes <= config.max_total_bytes);
        store.check_books();
    });
}

#[test]
fn directory_after_failed_sync_refuses_changes_and_goes_on_reading() {
    runtime().block_on(async {
        let disk = SimulatedDisk::new();
        let store = open(&disk, &tiny_files());
        let directory = store.directory();
        directory.put("a".into(), "1".into()).await.unwrap();
        disk.fail_syncs(true);
        assert!(directory.put("b".into(), "2".into()).await.is_err());
        disk.fail_syncs(false);
        assert!(directory.put("c".into(), "3".into()).await.is_err());
        assert_eq!(directory.get("a".into()).await.unwrap(), Some("1".into()));
        assert_eq!(directory.get("b".into()).await.unwrap(), None);
    });
}
