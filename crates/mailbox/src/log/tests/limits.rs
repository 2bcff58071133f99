//! What a store refuses because somebody set it so.

use std::task::{Context, Poll, Waker};

use super::simulated_disk::SimulatedDisk;
use super::{ALICE, BOB, NOW, PHONE, append, hash, open, runtime, tiny_files};
use crate::error::{AppendError, ControlError, OpenError};
use crate::log::{LogConfig, LogStore};
use crate::store::PacketStore;

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
