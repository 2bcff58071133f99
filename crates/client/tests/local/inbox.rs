//! Receiving: each message once, never acknowledged before it is durable, never lost.

use std::path::Path;
use std::sync::{Arc, Mutex};

use client::receive::{Event, ListenError, Verification, Warning};
use packet::Packet;
use rand::rngs::OsRng;

use crate::people::{Person, client_at, message, next, quick, text_of};
use crate::post::{Post, node};

#[tokio::test(flavor = "multi_thread")]
async fn message_to_an_offline_wallet_arrives_once_verified_and_in_order() {
    let post = Post::new();
    let alice = Person::new(&post, "alice");
    let bob = Person::with_mailboxes(&post, "bob", &[node(1), node(2)]).await;
    for number in 0..20 {
        alice.send(&bob, &number.to_string()).await;
    }
    let messages = bob.read_all().await;
    let texts: Vec<_> = messages.iter().map(text_of).collect();
    assert_eq!(texts, (0..20).map(|n| n.to_string()).collect::<Vec<_>>());
    for message in &messages {
        assert_eq!(message.verified, Verification::Wallet);
        assert_eq!(message.from.wallet, Some(alice.client.address()));
    }
    assert!(bob.read_all().await.is_empty());
    assert_eq!(post.unacknowledged(node(1), bob.client.address()), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn message_comes_to_whoever_listens_while_it_is_sent() {
    let post = Post::new();
    let alice = Person::new(&post, "alice");
    let bob = Person::with_mailboxes(&post, "bob", &[node(1)]).await;
    let mut listener = bob.listen().await;
    assert_eq!(next(&mut listener).await, Some(Event::CaughtUp));
    for text in ["one", "two"] {
        let id = alice.send(&bob, text).await;
        let message = message(&mut listener).await;
        assert_eq!((message.id, text_of(&message)), (id, text.to_owned()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn message_is_repeated_after_a_kill_until_it_was_dealt_with() {
    let post = Post::new();
    let alice = Person::new(&post, "alice");
    let bob = Person::with_mailboxes(&post, "bob", &[node(1)]).await;
    alice.send(&bob, "hi").await;
    for _ in 0..2 {
        let mut listener = bob.listen().await;
        assert_eq!(text_of(&message(&mut listener).await), "hi");
        // Killed while showing it.
        drop(listener);
    }
    let mut listener = bob.listen().await;
    message(&mut listener).await;
    listener.done().await.unwrap();
    drop(listener);
    assert!(bob.read_all().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledgement_that_is_lost_leads_to_no_second_showing() {
    let post = Post::new();
    let alice = Person::new(&post, "alice");
    let bob = Person::with_mailboxes(&post, "bob", &[node(1)]).await;
    alice.send(&bob, "hi").await;
    post.lock().lose_acknowledgements = true;
    let mut listener = bob.listen().await;
    assert_eq!(text_of(&message(&mut listener).await), "hi");
    listener.done().await.unwrap();
    drop(listener);
    post.lock().lose_acknowledgements = false;
    assert_eq!(post.unacknowledged(node(1), bob.client.address()), 1);
    assert!(bob.read_all().await.is_empty());
    assert_eq!(post.unacknowledged(node(1), bob.client.address()), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn stream_that_breaks_again_and_again_delivers_each_message_once() {
    let post = Post::new();
    let alice = Person::new(&post, "alice");
    let bob = Person::with_mailboxes(&post, "bob", &[node(1)]).await;
    for number in 0..4 {
        alice.send(&bob, &number.to_string()).await;
    }
    post.lock().break_after = Some(2);
    let mut listener = bob.listen().await;
    for number in 0..4 {
        assert_eq!(text_of(&message(&mut listener).await), number.to_string());
    }
}

/// The promise behind every acknowledgement: whatever happens to the process at that moment, the message is there.
#[tokio::test(flavor = "multi_thread")]
async fn state_at_the_moment_of_an_acknowledgement_holds_all_that_it_covers() {
    let post = Post::new();
    let alice = Person::new(&post, "alice");
    let bob = Person::with_mailboxes(&post, "bob", &[node(1)]).await;
    let home = bob.client.home().path().to_owned();
    let snapshots = tempfile::tempdir().unwrap();
    let taken = Arc::new(Mutex::new(Vec::new()));
    {
        let (folder, taken) = (snapshots.path().to_owned(), Arc::clone(&taken));
        post.lock().on_acknowledge = Some(Arc::new(move |_, cursor| {
            let mut taken = taken.lock().unwrap();
            let copy = folder.join(taken.len().to_string());
            copy_folder(&home, &copy);
            taken.push((copy, cursor));
        }));
    }
    let mut listener = bob.listen().await;
    for number in 1..=12 {
        alice.send(&bob, &number.to_string()).await;
        if number % 4 == 0 {
            message(&mut listener).await;
        }
    }
    while post.unacknowledged(node(1), bob.client.address()) > 0 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    drop(listener);
    post.lock().on_acknowledge = None;

    let taken = std::mem::take(&mut *taken.lock().unwrap());
    assert!(!taken.is_empty());
    for (copy, cursor) in taken {
        let history = client_at(&copy, &post, &bob.clock).history(None, 100).await;
        // One packet for each message, so the cursor counts them.
        assert!(history.unwrap().len() as u64 >= cursor, "{cursor}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn packet_that_nobody_can_open_is_told_of_and_stops_nothing() {
    let post = Post::new();
    let alice = Person::new(&post, "alice");
    let bob = Person::with_mailboxes(&post, "bob", &[node(1)]).await;
    let certificate = post.resolved(bob.client.address()).unwrap().certificate;
    let whole = packet::seal_bytes_to(&certificate, None, b"x", Some(2_560), &mut OsRng).unwrap();
    let mut broken = whole.as_bytes().to_vec();
    let last = broken.len() - 1;
    broken[last] ^= 1;
    post.put(node(1), Packet::new(broken).unwrap());
    alice.send(&bob, "hi").await;
    let mut listener = bob.client.listen(bob.saving(false)).await.unwrap();
    let mut warned = false;
    let mut texts = Vec::new();
    while let Some(event) = next(&mut listener).await {
        match event {
            Event::Warning(Warning::Unreadable { .. }) => warned = true,
            Event::Message(message) => texts.push(text_of(&message)),
            _ => {}
        }
    }
    assert!(warned);
    assert_eq!(texts, ["hi"]);
    assert_eq!(post.unacknowledged(node(1), bob.client.address()), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn message_of_a_stock_openpgp_program_is_shown_as_unsigned_and_once() {
    let post = Post::new();
    let bob = Person::with_mailboxes(&post, "bob", &[node(1), node(2)]).await;
    let certificate = post.resolved(bob.client.address()).unwrap().certificate;
    let packet = packet::seal_bytes_to(&certificate, None, b"plain", None, &mut OsRng).unwrap();
    post.put(node(1), packet.clone());
    post.put(node(2), packet);
    let messages = bob.read_all().await;
    assert_eq!(messages.len(), 1);
    assert_eq!(text_of(&messages[0]), "plain");
    assert_eq!(messages[0].verified, Verification::Unsigned);
    assert!(bob.client.sender_of(&messages[0]).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn anonymous_message_does_not_tell_who_wrote() {
    let post = Post::new();
    let alice = Person::with_mailboxes(&post, "alice", &[node(2)]).await;
    let bob = Person::with_mailboxes(&post, "bob", &[node(1)]).await;
    let mut options = quick();
    options.anonymous = true;
    alice
        .client
        .send_text(&bob.recipient(), "guess", options)
        .await
        .unwrap();
    let messages = bob.read_all().await;
    assert_eq!(messages[0].verified, Verification::Unsigned);
    assert_eq!(messages[0].from.wallet, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn blocked_sender_is_acknowledged_and_never_shown() {
    let post = Post::new();
    let alice = Person::new(&post, "alice");
    let bob = Person::with_mailboxes(&post, "bob", &[node(1)]).await;
    bob.client
        .home()
        .block(alice.client.address(), true)
        .unwrap();
    alice.send(&bob, "dropped").await;
    assert!(bob.read_all().await.is_empty());
    assert_eq!(post.unacknowledged(node(1), bob.client.address()), 0);
    bob.client
        .home()
        .block(alice.client.address(), false)
        .unwrap();
    alice.send(&bob, "heard").await;
    assert_eq!(bob.read_texts().await, ["heard"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn second_listener_of_a_wallet_is_refused_while_sending_is_not() {
    let post = Post::new();
    let alice = Person::with_mailboxes(&post, "alice", &[node(2)]).await;
    let bob = Person::with_mailboxes(&post, "bob", &[node(1)]).await;
    let listener = bob.listen().await;
    let other = bob.another_process();
    let second = other.listen(bob.saving(true)).await;
    assert!(matches!(second, Err(ListenError::AlreadyListening)));
    other
        .send_text(&alice.recipient(), "hi", quick())
        .await
        .unwrap();
    assert_eq!(alice.read_texts().await, ["hi"]);
    drop(listener);
    assert!(other.listen(bob.saving(true)).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn wallet_without_a_mailbox_is_told_to_get_one() {
    let post = Post::new();
    let alice = Person::new(&post, "alice");
    let listened = alice.client.listen(alice.saving(true)).await;
    assert!(matches!(listened, Err(ListenError::NoMailbox)));
}

#[tokio::test(flavor = "multi_thread")]
async fn mailbox_that_lost_the_account_gets_it_again() {
    let post = Post::new();
    let alice = Person::new(&post, "alice");
    let bob = Person::with_mailboxes(&post, "bob", &[node(1)]).await;
    {
        use client::carrier::Carrier as _;
        let secret = wallet_keys(&bob);
        let owner = client::carrier::OwnerKeys {
            certificate: &secret.0,
            binding: &secret.1,
        };
        post.close_mailbox(owner, node(1)).await.unwrap();
    }
    let mut listener = bob.listen().await;
    while post.resolved(bob.client.address()).is_none() {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    alice.send(&bob, "hi").await;
    assert_eq!(text_of(&message(&mut listener).await), "hi");
}

#[tokio::test(flavor = "multi_thread")]
async fn message_that_can_not_be_made_durable_is_not_acknowledged() {
    let post = Post::new();
    let alice = Person::new(&post, "alice");
    let bob = Person::with_mailboxes(&post, "bob", &[node(1)]).await;
    alice.send(&bob, "hi").await;
    // Whether the sender is blocked can't be known: as good as a full disk.
    let contacts = bob.client.home().path().join("contacts.json");
    std::fs::write(&contacts, "damaged").unwrap();
    let mut listener = bob.listen().await;
    loop {
        if let Some(Event::Warning(Warning::NotDurable { .. })) = next(&mut listener).await {
            break;
        }
    }
    let address = bob.client.address();
    std::fs::remove_file(&contacts).unwrap();
    assert_eq!(text_of(&message(&mut listener).await), "hi");
    while post.unacknowledged(node(1), address) > 0 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mailbox_that_is_away_is_told_of_and_so_is_its_return() {
    let post = Post::new();
    let alice = Person::new(&post, "alice");
    let bob = Person::with_mailboxes(&post, "bob", &[node(1)]).await;
    alice.send(&bob, "hi").await;
    post.lock().dead.insert(node(1));
    let mut listener = bob.listen().await;
    loop {
        let event = next(&mut listener).await;
        if let Some(Event::Warning(Warning::MailboxUnreachable { mailbox, .. })) = event {
            assert_eq!(mailbox, node(1));
            break;
        }
    }
    post.lock().dead.clear();
    let (mut back, mut text) = (false, false);
    while !(back && text) {
        match next(&mut listener).await {
            Some(Event::Warning(Warning::MailboxBack { .. })) => back = true,
            Some(Event::Message(_)) => text = true,
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_a_wallet_show_neither_texts_nor_addresses() {
    let post = Post::new();
    let alice = Person::new(&post, "alice");
    let bob = Person::with_mailboxes(&post, "bob", &[node(1)]).await;
    let text = "a text that nobody else should find";
    alice.send(&bob, text).await;
    let mut listener = bob.listen().await;
    message(&mut listener).await;
    drop(listener);
    for (person, other) in [(&alice, &bob), (&bob, &alice)] {
        let accounts = person.client.home().path().join("accounts");
        let address = *other.client.address().as_bytes();
        let mut files = Vec::new();
        read_all_files(&accounts, &mut files);
        assert!(files.len() >= 2);
        for content in files {
            assert!(!contains(&content, text.as_bytes()));
            assert!(!contains(&content, &address));
            let shown = other.client.address().to_string().to_lowercase();
            assert!(!contains(&content.to_ascii_lowercase(), shown.as_bytes()));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answer_goes_to_the_wallet_that_wrote() {
    let post = Post::new();
    let alice = Person::with_mailboxes(&post, "alice", &[node(2)]).await;
    let bob = Person::with_mailboxes(&post, "bob", &[node(1)]).await;
    alice.send(&bob, "question").await;
    let question = bob.read_all().await.remove(0);
    bob.client
        .reply(&question, "answer", quick())
        .await
        .unwrap();
    assert_eq!(alice.read_texts().await, ["answer"]);
}

fn wallet_keys(person: &Person) -> (wallet::SecretCertificate, wallet::CertificateBinding) {
    let account = person.client.account();
    let kind = wallet::CertificateKind::V6Classic;
    let secret = wallet::SecretCertificate::create(account.key(), kind, 1, &mut OsRng).unwrap();
    (secret, account.binding().unwrap())
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_folder(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}

fn read_all_files(folder: &Path, files: &mut Vec<Vec<u8>>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_all_files(&path, files);
        } else {
            files.push(std::fs::read(&path).unwrap());
        }
    }
}

fn contains(content: &[u8], part: &[u8]) -> bool {
    content.windows(part.len()).any(|window| window == part)
}
