//! The state file: shared by processes, bounded, of one format.

use packet::MessageId;
use tempfile::TempDir;
use wallet::{WalletAddress, WalletKey};

use super::*;
use crate::carrier::Privacy;

const LEASE_MS: u64 = 60_000;
const BOB: WalletAddress = WalletAddress::from_bytes([2; 20]);

fn open_at(path: &Path) -> State {
    let key = WalletKey::from_bytes([1; 32]).unwrap();
    State::open(path, Arc::new(Vault::of(&key))).unwrap()
}

fn two_processes() -> (TempDir, State, State) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    (folder, open_at(&path), open_at(&path))
}

fn item() -> OutboxItem {
    OutboxItem {
        to: BOB,
        fingerprint: None,
        mailboxes: vec![],
        privacy: Privacy::Relayed,
        copies: 1,
        signed: true,
        what: What::Message {
            content_type: "text/plain".to_owned(),
            text: "hi".to_owned(),
            session: [0; 8],
            sequence: 0,
            time_ms: 1,
        },
    }
}

fn id(number: u8) -> MessageId {
    MessageId::from_bytes([number; 16])
}

#[test]
fn row_is_worked_on_by_one_process_until_its_lease_ends() {
    let (_folder, one, two) = two_processes();
    one.enqueue(id(1), &item(), None, None, 100, None).unwrap();
    let (me, other) = ([1; 16], [2; 16]);
    let claim = one
        .claim(id(1), &me, 100, LEASE_MS, false, |_| true)
        .unwrap();
    assert!(matches!(claim, Claim::Taken(row) if row.item == item()));
    let claim = two
        .claim(id(1), &other, 101, LEASE_MS, true, |_| true)
        .unwrap();
    assert!(matches!(claim, Claim::Busy));
    assert!(one.renew(id(1), &me, 50_000, LEASE_MS).unwrap());
    let claim = two
        .claim(id(1), &other, 70_000, LEASE_MS, true, |_| true)
        .unwrap();
    assert!(matches!(claim, Claim::Busy));
    assert_eq!(two.due_lanes(120_000).unwrap(), [[id(1)]]);
    let claim = two
        .claim(id(1), &other, 120_000, LEASE_MS, true, |_| true)
        .unwrap();
    assert!(matches!(claim, Claim::Taken(row) if row.attempts == 2));
    assert!(!one.renew(id(1), &me, 120_001, LEASE_MS).unwrap());
}

#[test]
fn row_that_came_with_a_lease_is_its_holders_from_the_start() {
    let (_folder, one, two) = two_processes();
    let (me, other) = ([1; 16], [2; 16]);
    let lease = Lease {
        owner: me,
        until_ms: 100 + LEASE_MS,
    };
    one.enqueue(id(1), &item(), None, None, 100, Some(lease))
        .unwrap();
    let claim = two.claim(id(1), &other, 101, LEASE_MS, true, |_| true);
    assert!(matches!(claim.unwrap(), Claim::Busy));
    assert!(one.renew(id(1), &me, 50_000, LEASE_MS).unwrap());
    let claim = two.claim(id(1), &other, 120_000, LEASE_MS, true, |_| true);
    assert!(matches!(claim.unwrap(), Claim::Taken(row) if row.attempts == 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn change_at_once_waits_elsewhere_for_whoever_is_at_the_file() {
    let (_folder, one, two) = two_processes();
    one.enqueue(id(1), &item(), None, None, 100, None).unwrap();
    two.lock().execute_batch("BEGIN IMMEDIATE").unwrap();
    let finishing = tokio::spawn({
        let one = one.clone();
        async move {
            let stored = Finished::Stored(vec![]);
            one.run_at_once(move |state| state.finish(id(1), BOB, &stored))
                .await
        }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!finishing.is_finished());
    two.lock().execute_batch("COMMIT").unwrap();
    finishing.await.unwrap().unwrap();
    assert_eq!(two.waiting().unwrap(), 0);

    // Within a process too.
    let held = one.lock();
    let noting = tokio::spawn({
        let one = one.clone();
        async move {
            let progress = OutboxProgress::default();
            one.run_at_once(move |state| state.save_progress(id(1), &progress))
                .await
        }
    });
    std::thread::sleep(Duration::from_millis(100));
    drop(held);
    noting.await.unwrap().unwrap();
    // Others are waited for as before.
    two.lock().execute_batch("BEGIN IMMEDIATE").unwrap();
    let enqueuing = tokio::task::spawn_blocking({
        let one = one.clone();
        move || one.enqueue(id(2), &item(), None, None, 100, None)
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    two.lock().execute_batch("COMMIT").unwrap();
    enqueuing.await.unwrap().unwrap();
}

#[test]
fn row_of_a_process_that_died_is_free_at_once() {
    let (_folder, one, two) = two_processes();
    one.enqueue(id(1), &item(), None, None, 100, None).unwrap();
    let (dead, living) = ([1; 16], [2; 16]);
    one.claim(id(1), &dead, 100, LEASE_MS, false, |_| true)
        .unwrap();
    let is_alive = |owner: &Owner| *owner != dead;
    let claim = two.claim(id(1), &living, 101, LEASE_MS, true, is_alive);
    assert!(matches!(claim.unwrap(), Claim::Taken(_)));
}

#[test]
fn finished_row_tells_whoever_waits_for_it() {
    let (_folder, one, two) = two_processes();
    one.enqueue(id(1), &item(), None, None, 100, None).unwrap();
    let stored = Finished::Stored(vec![WalletAddress::from_bytes([9; 20])]);
    one.finish(id(1), BOB, &stored).unwrap();
    let claim = two
        .claim(id(1), &[2; 16], 100, LEASE_MS, true, |_| true)
        .unwrap();
    assert!(matches!(claim, Claim::Finished(finished) if finished == stored));
    assert_eq!(two.waiting().unwrap(), 0);
    // A late failure of another process changes nothing.
    two.finish(id(1), BOB, &Finished::Failed("late".into()))
        .unwrap();
    let claim = two
        .claim(id(1), &[2; 16], 100, LEASE_MS, true, |_| true)
        .unwrap();
    assert!(matches!(claim, Claim::Finished(finished) if finished == stored));
}

#[test]
fn postponed_row_is_due_later_only() {
    let (_folder, one, _) = two_processes();
    one.enqueue(id(1), &item(), None, None, 100, None).unwrap();
    let me = [1; 16];
    one.claim(id(1), &me, 100, LEASE_MS, false, |_| true)
        .unwrap();
    one.postpone(id(1), &me, &OutboxProgress::default(), 5_000)
        .unwrap();
    assert!(one.due_lanes(4_999).unwrap().is_empty());
    let claim = one
        .claim(id(1), &me, 4_999, LEASE_MS, false, |_| true)
        .unwrap();
    assert!(matches!(claim, Claim::Busy));
    assert_eq!(one.due_lanes(5_000).unwrap(), [[id(1)]]);
}

#[test]
fn outbox_that_is_full_says_so() {
    let (_folder, one, _) = two_processes();
    // As many rows at once, not as many transactions.
    one.lock()
        .execute_batch(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)
             INSERT INTO outbox(id, status, attempts, next_attempt_ms, lease_until_ms, created_ms, item, progress)
             SELECT i, 0, 0, 0, 0, 0, x'', x'' FROM n",
        )
        .unwrap();
    let full = one.enqueue(id(1), &item(), None, None, 100, None);
    assert!(matches!(full, Err(StateError::OutboxFull(10_000))));
}

#[test]
fn processes_that_write_at_once_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    std::thread::scope(|scope| {
        for process in 0..4u8 {
            let path = &path;
            scope.spawn(move || {
                let state = open_at(path);
                for number in 0..10 {
                    let id = id(process * 10 + number);
                    state.enqueue(id, &item(), None, None, 100, None).unwrap();
                }
            });
        }
    });
    assert_eq!(open_at(&path).waiting().unwrap(), 40);
}

#[test]
fn state_of_a_later_format_or_another_wallet_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let state = open_at(&path);
    state.set_note("name", &7u32, true).unwrap();
    let other = WalletKey::from_bytes([2; 32]).unwrap();
    let others = State::open(&path, Arc::new(Vault::of(&other))).unwrap();
    assert!(matches!(
        others.note::<u32>("name"),
        Err(StateError::Damaged)
    ));
    state.lock().pragma_update(None, "user_version", 2).unwrap();
    let key = WalletKey::from_bytes([1; 32]).unwrap();
    let newer = State::open(&path, Arc::new(Vault::of(&key)));
    assert!(matches!(newer, Err(StateError::NewerFormat(2))));
}

#[test]
fn note_that_another_process_made_first_stays() {
    let (_folder, one, two) = two_processes();
    one.set_note("device", &1u32, false).unwrap();
    two.set_note("device", &2u32, false).unwrap();
    assert_eq!(two.note::<u32>("device").unwrap(), Some(1));
}

fn arrival(number: u8, text: &str, now_ms: u64) -> Batch {
    let entry = Entry {
        party: Party::Wallet(BOB),
        time_ms: now_ms,
        received_ms: now_ms,
        order: None,
        reply: None,
        content: Content::Text(text.to_owned()),
        claimed: None,
        stored_at: vec![],
        failure: None,
    };
    Batch {
        arrivals: vec![Arrival {
            party: Party::Wallet(BOB),
            id: id(number),
            kind: ArrivalKind::Message {
                entry: Box::new(entry),
                receipt_due_ms: None,
            },
        }],
        transfers: vec![],
    }
}

#[test]
fn message_seen_before_is_not_new_even_when_its_history_is_gone() {
    let (_folder, one, _) = two_processes();
    let mailbox = WalletAddress::from_bytes([9; 20]);
    let committed = one.commit(mailbox, 1, &arrival(1, "hi", 10), 10).unwrap();
    assert_eq!(committed.fresh, 1);
    let place = one.unshown(0, 10).unwrap()[0].place;
    let shown = Shown {
        place,
        party: Party::Wallet(BOB),
        order: None,
    };
    one.mark_shown(&shown, 20).unwrap();
    one.prune_messages(1_000, 0).unwrap();
    assert!(one.history(None, 10).unwrap().is_empty());
    let committed = one.commit(mailbox, 2, &arrival(1, "hi", 30), 30).unwrap();
    assert_eq!(committed.fresh, 0);
    assert!(one.unshown(0, 10).unwrap().is_empty());
    // Much later it is forgotten, long after mailboxes have forgotten it.
    one.prune_memory(1_000).unwrap();
    assert_eq!(
        one.commit(mailbox, 3, &arrival(1, "hi", 40), 40)
            .unwrap()
            .fresh,
        1
    );
}

#[test]
fn pruning_never_removes_what_was_not_shown() {
    let (_folder, one, _) = two_processes();
    let mailbox = WalletAddress::from_bytes([9; 20]);
    for number in 0..5 {
        one.commit(mailbox, 1, &arrival(number, "hi", 10), 10)
            .unwrap();
    }
    one.prune_messages(1_000, 0).unwrap();
    assert_eq!(one.unshown(0, 10).unwrap().len(), 5);
}

#[test]
fn same_message_id_of_two_senders_is_two_messages() {
    let (_folder, one, _) = two_processes();
    let mailbox = WalletAddress::from_bytes([9; 20]);
    let mut others = arrival(1, "mine", 10);
    others.arrivals[0].party = Party::Nobody;
    if let ArrivalKind::Message { entry, .. } = &mut others.arrivals[0].kind {
        entry.party = Party::Nobody;
    }
    assert_eq!(one.commit(mailbox, 1, &others, 10).unwrap().fresh, 1);
    assert_eq!(
        one.commit(mailbox, 2, &arrival(1, "hi", 10), 10)
            .unwrap()
            .fresh,
        1
    );
}

#[test]
fn file_that_is_no_database_is_named_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    std::fs::write(&path, "not a database at all".repeat(100)).unwrap();
    let key = WalletKey::from_bytes([1; 32]).unwrap();
    let refused = State::open(&path, Arc::new(Vault::of(&key))).unwrap_err();
    assert!(matches!(&refused, StateError::NoDatabase { path: of, .. } if *of == path));
    assert!(refused.to_string().contains("move it away"), "{refused}");
}

#[test]
fn change_that_need_not_be_synced_leaves_others_to_be_synced() {
    let folder = tempfile::tempdir().unwrap();
    let state = open_at(&folder.path().join("state.sqlite"));
    let synced = || -> u8 {
        let connection = state.lock();
        connection
            .pragma_query_value(None, "synchronous", |row| row.get(0))
            .unwrap()
    };
    assert_eq!(synced(), 2, "2 is FULL");
    state.change_without_sync(|_| Ok(())).unwrap();
    assert_eq!(synced(), 2);
    let failed: Result<(), StateError> =
        state.change_without_sync(|_| Err(StateError::OutboxFull(1)));
    assert!(failed.is_err());
    assert_eq!(synced(), 2);
}
