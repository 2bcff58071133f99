//! A disk that fails, runs full, or is in use.

use std::task::{Context, Poll, Waker};

use super::simulated_disk::SimulatedDisk;
use super::{ALICE, BOB, NOW, PHONE, append, hash, open, read_all, rest, runtime, tiny_files};
use crate::error::{AppendError, ControlError, OpenError};
use crate::log::{LogConfig, LogStore};
use crate::queue::Cursor;
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
fn store_opened_twice_is_refused_the_second_time() {
    let folder = tempfile::tempdir().unwrap();
    let store = LogStore::open(folder.path(), tiny_files()).unwrap();
    assert!(matches!(
        LogStore::open(folder.path(), tiny_files()),
        Err(OpenError::Locked)
    ));
    drop(store);
    LogStore::open(folder.path(), tiny_files()).unwrap();
}

#[test]
fn store_with_senseless_limits_is_refused() {
    let refused = |config: LogConfig| {
        let folder = tempfile::tempdir().unwrap();
        matches!(
            LogStore::open(folder.path(), config),
            Err(OpenError::Config { .. })
        )
    };
    assert!(refused(LogConfig {
        segment_bytes: 1000,
        ..tiny_files()
    }));
    assert!(refused(LogConfig {
        segment_bytes: (8 << 10) + 1,
        ..tiny_files()
    }));
    assert!(refused(LogConfig {
        segment_bytes: 5 << 30,
        ..LogConfig::default()
    }));
    assert!(refused(LogConfig {
        max_packet_bytes: 100 << 20,
        ..LogConfig::default()
    }));
    assert!(refused(LogConfig {
        max_total_bytes: 9 << 10,
        ..tiny_files()
    }));
    assert!(refused(LogConfig {
        ttl_ms: 0,
        ..tiny_files()
    }));
}

#[test]
fn store_that_gets_more_than_waits_is_busy_and_loses_nothing() {
    runtime().block_on(async {
        let disk = SimulatedDisk::new();
        let store = open(
            &disk,
            &LogConfig {
                waiting_bytes: 4000,
                ..tiny_files()
            },
        );
        let (mut waiting, mut busy) = (Vec::new(), 0);
        {
            // The writer can't plan while the index is locked, so that all of this waits.
            let _index = store.shared.index.lock();
            let mut context = Context::from_waker(Waker::noop());
            for i in 0..40u8 {
                let mut append = store.append(ALICE, hash(&[i; 500]), vec![i; 500].into(), NOW);
                match append.as_mut().poll(&mut context) {
                    Poll::Pending => waiting.push(append),
                    Poll::Ready(Err(AppendError::Busy)) => busy += 1,
                    Poll::Ready(other) => panic!("{other:?}"),
                }
            }
        }
        assert!(
            busy >= 20 && !waiting.is_empty(),
            "{busy} of 40 were refused"
        );
        let count = waiting.len() as u64;
        for append in waiting {
            append.await.unwrap();
        }
        assert_eq!(store.stats(ALICE).await.unwrap().count, count);
    });
}

#[test]
fn store_whose_limit_of_queues_is_reached_refuses_new_ones_only() {
    runtime().block_on(async {
        let disk = SimulatedDisk::new();
        let store = open(
            &disk,
            &LogConfig {
                max_queues: 1,
                ..tiny_files()
            },
        );
        append(&store, ALICE, "one", NOW).await;
        let refused = store.append(BOB, hash(b"two"), "two".into(), NOW).await;
        assert!(
            matches!(refused, Err(AppendError::TooManyQueues { limit: 1 })),
            "{refused:?}"
        );
        let refused = store.register_device(BOB, PHONE, NOW).await;
        assert!(
            matches!(refused, Err(ControlError::TooManyQueues { limit: 1 })),
            "{refused:?}"
        );
        append(&store, ALICE, "two", NOW).await;
        store.remove_queue(ALICE).await.unwrap();
        append(&store, BOB, "two", NOW).await;
    });
}

#[test]
fn store_that_remembers_too_much_forgets_the_oldest() {
    runtime().block_on(async {
        let disk = SimulatedDisk::new();
        let store = open(
            &disk,
            &LogConfig {
                queue_remembered_packets: 10,
                ..tiny_files()
            },
        );
        store.register_device(ALICE, PHONE, NOW).await.unwrap();
        for i in 0..30u8 {
            let stored = append(&store, ALICE, vec![i; 10], NOW).await;
            store
                .acknowledge(ALICE, PHONE, stored.cursor, NOW)
                .await
                .unwrap();
        }
        assert!(store.figures().remembered <= 11);
        assert!(append(&store, ALICE, vec![29; 10], NOW).await.duplicate);
        assert!(!append(&store, ALICE, vec![0; 10], NOW).await.duplicate);
        store.check_books();
    });
}

#[test]
fn store_that_remembers_too_much_in_all_forgets_the_older_half() {
    runtime().block_on(async {
        let disk = SimulatedDisk::new();
        let store = open(
            &disk,
            &LogConfig {
                total_remembered_packets: 40,
                ..tiny_files()
            },
        );
        for queue in [ALICE, BOB] {
            store.register_device(queue, PHONE, NOW).await.unwrap();
            for i in 0..30u8 {
                let stored = append(&store, queue, vec![i; 10], NOW).await;
                store
                    .acknowledge(queue, PHONE, stored.cursor, NOW)
                    .await
                    .unwrap();
            }
        }
        assert!(
            store.figures().remembered <= 41,
            "{}",
            store.figures().remembered
        );
        assert!(append(&store, BOB, vec![29; 10], NOW).await.duplicate);
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
