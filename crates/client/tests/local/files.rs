//! Files: whole and right or not at all, resumed on either side, never outside the chosen folder.

use std::path::PathBuf;

use client::receive::{Body, Event, Message, ReceivedFile, Warning};
use client::send::{SendError, SendProgress};
use packet::{Chunk, ContentType, TransferId};
use rand::rngs::OsRng;
use rand::{RngCore as _, SeedableRng as _};
use sha2::{Digest as _, Sha256};

use crate::order::Stranger;
use crate::people::{Person, SOON, impatient, message, next, quick};
use crate::post::{Post, node};

fn write_file(person: &Person, name: &str, length: usize) -> (PathBuf, Vec<u8>) {
    let mut content = vec![0; length];
    rand::rngs::StdRng::seed_from_u64(length as u64).fill_bytes(&mut content);
    let path = person.folder.path().join(name);
    std::fs::write(&path, &content).unwrap();
    (path, content)
}

fn file_of(message: &Message) -> ReceivedFile {
    match &message.body {
        Body::File(file) => file.clone(),
        other => panic!("no file: {other:?}"),
    }
}

fn saved_files(person: &Person) -> usize {
    std::fs::read_dir(person.saved()).map_or(0, Iterator::count)
}

fn partial_files(person: &Person) -> usize {
    let account = person.client.address().to_string();
    let accounts = person.client.home().path().join("accounts");
    std::fs::read_dir(accounts.join(account).join("partial")).map_or(0, Iterator::count)
}

#[tokio::test(flavor = "multi_thread")]
async fn file_of_any_length_arrives_whole_under_its_name() {
    let post = Post::new();
    let alice = Person::new(&post, "alice");
    let bob = Person::with_mailboxes(&post, "bob", &[node(1)]).await;
    for length in [0, 1, 5_000, 1_038_848, 1_038_849, 5_000_000] {
        let name = format!("file {length}.bin");
        let (path, content) = write_file(&alice, &name, length);
        let sent = alice
            .client
            .send_file(&bob.recipient(), &path, quick())
            .await
            .unwrap();
        let messages = bob.read_all().await;
        assert_eq!(messages.len(), 1, "{length}");
        assert_eq!(messages[0].id, sent.id);
        assert_eq!(messages[0].from.wallet, Some(alice.client.address()));
        let file = file_of(&messages[0]);
        assert_eq!(file.path, Some(bob.saved().join(&name)));
        assert_eq!(std::fs::read(file.path.unwrap()).unwrap(), content);
        assert_eq!(file.sha256, <[u8; 32]>::from(Sha256::digest(&content)));
        assert_eq!(file.size, length as u64);
    }
    assert_eq!(partial_files(&bob), 0);
    assert!(bob.read_all().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn interrupted_sending_goes_on_where_it_was() {
    let post = Post::new();
    let alice = Person::new(&post, "alice");
    let bob = Person::with_mailboxes(&post, "bob", &[node(1)]).await;
    let (path, content) = write_file(&alice, "big", 12_000_000);
    let chunks = 12;
    post.lock().capacity = Some(5);
    let sent = alice
        .client
        .send_file(&bob.recipient(), &path, impatient())
        .await;
    assert!(matches!(sent, Err(SendError::NotYet { .. })), "{sent:?}");
    let stored = post.lock().stored.len();
    assert_eq!(stored, 5);

    post.lock().capacity = None;
    let again = alice.another_process();
    let resumed = std::sync::Arc::new(std::sync::Mutex::new(None));
    let mut options = quick();
    let hear = std::sync::Arc::clone(&resumed);
    options.on_progress = Some(std::sync::Arc::new(move |progress| {
        if let SendProgress::Queued { resumed, .. } = progress {
            *hear.lock().unwrap() = Some(resumed);
        }
    }));
    again
        .send_file(&bob.recipient(), &path, options)
        .await
        .unwrap();
    assert_eq!(*resumed.lock().unwrap(), Some(true));
    assert_eq!(post.lock().stored.len(), chunks, "no chunk is sent twice");
    let messages = bob.read_all().await;
    assert_eq!(messages.len(), 1);
    let path = file_of(&messages[0]).path.unwrap();
    assert_eq!(std::fs::read(path).unwrap(), content);
}

#[tokio::test(flavor = "multi_thread")]
async fn file_larger_than_the_mailbox_goes_through_while_its_owner_listens() {
    let post = Post::new();
    let alice = Person::new(&post, "alice");
    let bob = Person::with_mailboxes(&post, "bob", &[node(1)]).await;
    let (path, content) = write_file(&alice, "big", 9_000_000);
    post.lock().capacity = Some(2);
    let mut listener = bob.listen().await;
    let (client, to) = (alice.client.clone(), bob.recipient());
    let sending = tokio::spawn(async move {
        let options = client::send::SendOptions::default();
        client.send_file(&to, &path, options).await
    });
    let message = message(&mut listener).await;
    sending.await.unwrap().unwrap();
    let path = file_of(&message).path.unwrap();
    assert_eq!(std::fs::read(path).unwrap(), content);
}

#[tokio::test(flavor = "multi_thread")]
async fn interrupted_receiving_goes_on_where_it_was() {
    let post = Post::new();
    let alice = Person::new(&post, "alice");
    let bob = Person::with_mailboxes(&post, "bob", &[node(1)]).await;
    let (path, content) = write_file(&alice, "big", 8_000_000);
    alice
        .client
        .send_file(&bob.recipient(), &path, quick())
        .await
        .unwrap();
    post.lock().break_after = Some(3);
    let before = post.unacknowledged(node(1), bob.client.address());
    let listener = bob.listen().await;
    while post.unacknowledged(node(1), bob.client.address()) == before {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    drop(listener);
    post.lock().break_after = None;
    assert_eq!(saved_files(&bob), 0, "nothing is there before all of it is");
    let messages = bob.read_all().await;
    assert_eq!(messages.len(), 1);
    let path = file_of(&messages[0]).path.unwrap();
    assert_eq!(std::fs::read(path).unwrap(), content);
}

#[tokio::test(flavor = "multi_thread")]
async fn file_shown_again_after_a_kill_is_placed_once() {
    let post = Post::new();
    let alice = Person::new(&post, "alice");
    let bob = Person::with_mailboxes(&post, "bob", &[node(1)]).await;
    let (path, _) = write_file(&alice, "photo.jpg", 10_000);
    alice
        .client
        .send_file(&bob.recipient(), &path, quick())
        .await
        .unwrap();
    for _ in 0..2 {
        let mut listener = bob.listen().await;
        let file = file_of(&message(&mut listener).await);
        assert_eq!(file.path, Some(bob.saved().join("photo.jpg")));
    }
    assert_eq!(saved_files(&bob), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn file_that_can_not_be_placed_waits_until_it_can() {
    let post = Post::new();
    let alice = Person::new(&post, "alice");
    let bob = Person::with_mailboxes(&post, "bob", &[node(1)]).await;
    // A file stands where the folder should be.
    std::fs::write(bob.saved(), "in the way").unwrap();
    let (path, content) = write_file(&alice, "a.txt", 100);
    alice
        .client
        .send_file(&bob.recipient(), &path, quick())
        .await
        .unwrap();
    alice.send(&bob, "and a text").await;
    let mut listener = bob.client.listen(bob.saving(false)).await.unwrap();
    let mut warned = false;
    let mut texts = 0;
    while let Some(event) = next(&mut listener).await {
        match event {
            Event::Warning(Warning::FileNotPlaced { name, .. }) => warned = name == "a.txt",
            Event::Message(_) => texts += 1,
            _ => {}
        }
    }
    assert!(warned && texts == 1);
    drop(listener);
    std::fs::remove_file(bob.saved()).unwrap();
    let messages = bob.read_all().await;
    assert_eq!(messages.len(), 1);
    let placed = file_of(&messages[0]).path.unwrap();
    assert_eq!(std::fs::read(placed).unwrap(), content);
}

#[tokio::test(flavor = "multi_thread")]
async fn file_that_changed_while_it_waited_is_not_sent_half_and_half() {
    let post = Post::new();
    let alice = Person::new(&post, "alice");
    let bob = Person::with_mailboxes(&post, "bob", &[node(1)]).await;
    let (path, _) = write_file(&alice, "big", 4_000_000);
    post.lock().capacity = Some(1);
    let sent = alice
        .client
        .send_file(&bob.recipient(), &path, impatient())
        .await;
    assert!(matches!(sent, Err(SendError::NotYet { .. })), "{sent:?}");
    post.lock().capacity = None;
    std::fs::write(&path, "another").unwrap();
    alice.clock.advance(std::time::Duration::from_secs(3_600));
    assert_eq!(alice.client.flush_outbox().await.unwrap().failed, 1);
    assert!(bob.read_all().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn unreadable_file_and_folder_are_refused_before_anything_is_sent() {
    let post = Post::new();
    let alice = Person::new(&post, "alice");
    let bob = Person::with_mailboxes(&post, "bob", &[node(1)]).await;
    // `send --file` of a pipe that nobody wrote into waited for ever.
    let pipe = alice.folder.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    for path in [
        alice.folder.path().join("none"),
        alice.folder.path().to_owned(),
        pipe,
    ] {
        let to = bob.recipient();
        let sending = alice.client.send_file(&to, &path, quick());
        let sent = tokio::time::timeout(SOON, sending).await.unwrap();
        assert!(matches!(sent, Err(SendError::File(_))), "{sent:?}");
    }
}

fn chunk(content: &[u8], index: u32, count: u32, name: &str) -> Chunk {
    let size = content.len().div_ceil(count as usize);
    let offset = size * index as usize;
    let end = (offset + size).min(content.len());
    Chunk {
        transfer: TransferId::from_bytes([9; 16]),
        index,
        count,
        total: content.len() as u64,
        sha256: Sha256::digest(content).into(),
        offset: offset as u64,
        name: name.to_owned(),
        data: content[offset..end].to_vec().into(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn name_that_climbs_out_of_the_folder_stays_in_it() {
    let post = Post::new();
    let bob = Person::with_mailboxes(&post, "bob", &[node(1)]).await;
    let stranger = Stranger::new();
    let evil = chunk(b"evil", 0, 1, "../../.bashrc").encode();
    stranger.put(&post, &bob, 0, ContentType::CHUNK, &evil);
    let file = file_of(&bob.read_all().await[0]);
    assert_eq!(file.path, Some(bob.saved().join("bashrc")));
    assert_eq!(saved_files(&bob), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn file_with_a_wrong_sha256_is_refused_and_leaves_nothing() {
    let post = Post::new();
    let bob = Person::with_mailboxes(&post, "bob", &[node(1)]).await;
    let stranger = Stranger::new();
    for index in 0..2 {
        let mut wrong = chunk(b"some content", index, 2, "a");
        wrong.sha256 = [7; 32];
        let sequence = index.into();
        stranger.put(&post, &bob, sequence, ContentType::CHUNK, &wrong.encode());
    }
    let mut listener = bob.client.listen(bob.saving(false)).await.unwrap();
    let mut refused = 0;
    while let Some(event) = next(&mut listener).await {
        match event {
            Event::Warning(Warning::FileRefused { name, from, .. }) => {
                assert_eq!(
                    (name.as_str(), from.wallet),
                    ("a", Some(stranger.key.address()))
                );
                refused += 1;
            }
            Event::Message(message) => panic!("{message:?}"),
            _ => {}
        }
    }
    assert_eq!(refused, 1);
    assert_eq!((saved_files(&bob), partial_files(&bob)), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_senders_with_one_transfer_id_do_not_mix() {
    let post = Post::new();
    let bob = Person::with_mailboxes(&post, "bob", &[node(1)]).await;
    let (one, two) = (Stranger::new(), Stranger::new());
    for index in 0..2 {
        for (stranger, content) in [(&one, b"content 1"), (&two, b"content 2")] {
            let chunk = chunk(content, index, 2, "a").encode();
            stranger.put(&post, &bob, index.into(), ContentType::CHUNK, &chunk);
        }
    }
    let messages = bob.read_all().await;
    assert_eq!(messages.len(), 2);
    for message in &messages {
        let expected: &[u8] = if message.from.wallet == Some(one.key.address()) {
            b"content 1"
        } else {
            b"content 2"
        };
        let path = file_of(message).path.unwrap();
        assert_eq!(std::fs::read(path).unwrap(), expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stranger_with_too_many_unfinished_files_is_refused_further_ones() {
    let post = Post::new();
    let bob = Person::with_mailboxes(&post, "bob", &[node(1)]).await;
    let stranger = Stranger::new();
    for number in 0..20u8 {
        let mut first = chunk(b"content", 0, 2, "a");
        first.transfer = TransferId::from_bytes([number; 16]);
        let sequence = number.into();
        stranger.put(&post, &bob, sequence, ContentType::CHUNK, &first.encode());
    }
    assert!(bob.read_all().await.is_empty());
    assert!(partial_files(&bob) <= 16, "{}", partial_files(&bob));
    // Claims alone take no room.
    let mut huge = chunk(b"content", 0, 2, "huge");
    huge.transfer = TransferId::random(&mut OsRng);
    huge.total = 1 << 50;
    let other = Stranger::new();
    other.put(&post, &bob, 0, ContentType::CHUNK, &huge.encode());
    assert!(bob.read_all().await.is_empty());
    assert!(partial_files(&bob) <= 16);
}

#[tokio::test(flavor = "multi_thread")]
async fn message_of_another_type_is_shown_as_a_file_of_that_type() {
    let post = Post::new();
    let bob = Person::with_mailboxes(&post, "bob", &[node(1)]).await;
    let stranger = Stranger::new();
    stranger.put(&post, &bob, 0, "image/png", b"\x89PNG");
    let file = file_of(&bob.read_all().await[0]);
    assert_eq!(file.content_type.as_deref(), Some("image/png"));
    assert_eq!(std::fs::read(file.path.unwrap()).unwrap(), b"\x89PNG");
}
