//! People with homes on the network in memory.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use client::home::{Contact, Home, NewWallet, Recipient, Source};
use client::receive::{Body, Event, ListenOptions, Listener, Message};
use client::send::SendOptions;
use client::{Client, WallClock};
use protocol::NodeId;
use tempfile::TempDir;
use wallet::keystore::ScryptCost;
use wallet::{CertificateKind, Mnemonic, WordCount};

use crate::post::Post;

/// How long a test waits for what must come.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// Somebody with a home of their own.
pub(crate) struct Person {
    pub(crate) folder: TempDir,
    pub(crate) clock: WallClock,
    pub(crate) post: Post,
    pub(crate) client: Client,
}

impl Person {
    /// Somebody with a wallet but no mailbox.
    pub(crate) fn new(post: &Post, name: &str) -> Self {
        Self::with_source(post, name, Source::Random(WordCount::Twelve), false)
    }

    /// Somebody whose wallet comes back from its words.
    pub(crate) fn restored(post: &Post, name: &str, words: &str) -> Self {
        let mnemonic = Mnemonic::parse(words).unwrap();
        Self::with_source(post, name, Source::Mnemonic(mnemonic, 0), true)
    }

    fn with_source(post: &Post, name: &str, source: Source, restore: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = WallClock::system();
        let home = Home::open_with_clock(folder.path().join("home"), clock.clone()).unwrap();
        home.create(NewWallet {
            label: name.parse().unwrap(),
            source,
            kind: CertificateKind::V6Classic,
            password: String::new().into(),
            cost: ScryptCost::Light,
            restore,
        })
        .unwrap();
        let client = client_of(&home, post);
        Self {
            folder,
            clock,
            post: post.clone(),
            client,
        }
    }

    /// Somebody with a wallet and these mailboxes.
    pub(crate) async fn with_mailboxes(post: &Post, name: &str, mailboxes: &[NodeId]) -> Self {
        let person = Self::new(post, name);
        let set = person.client.set_route(mailboxes.to_vec(), false).await;
        set.unwrap();
        person
    }

    /// A second process on the same home.
    pub(crate) fn another_process(&self) -> Client {
        let path = self.client.home().path();
        client_at(path, &self.post, &self.clock)
    }

    pub(crate) fn recipient(&self) -> Recipient {
        self.client.address().into()
    }

    pub(crate) fn knows(&self, other: &Self, name: &str) {
        let uri = other.client.contact_uri().unwrap();
        let name = name.parse().unwrap();
        let contact = Contact { name, uri };
        self.client.home().add_contact(contact).unwrap();
    }

    pub(crate) async fn send(&self, to: &Self, text: &str) -> packet::MessageId {
        let sent = self.client.send_text(&to.recipient(), text, quick()).await;
        sent.unwrap().id
    }

    pub(crate) async fn listen(&self) -> Listener {
        self.client.listen(self.saving(true)).await.unwrap()
    }

    /// Listening into the person's own folder.
    pub(crate) fn saving(&self, stay: bool) -> ListenOptions {
        let mut options = ListenOptions::default();
        options.save_dir = Some(self.saved());
        options.stay = stay;
        options
    }

    pub(crate) fn saved(&self) -> PathBuf {
        self.folder.path().join("saved")
    }

    /// All messages that are there now, dealt with.
    pub(crate) async fn read_all(&self) -> Vec<Message> {
        let mut listener = self.client.listen(self.saving(false)).await.unwrap();
        let mut messages = Vec::new();
        while let Some(event) = next(&mut listener).await {
            if let Event::Message(message) = event {
                messages.push(*message);
            }
        }
        messages
    }

    pub(crate) async fn read_texts(&self) -> Vec<String> {
        self.read_all().await.iter().map(text_of).collect()
    }
}

pub(crate) fn client_at(path: &Path, post: &Post, clock: &WallClock) -> Client {
    client_of(&Home::open_with_clock(path, clock.clone()).unwrap(), post)
}

fn client_of(home: &Home, post: &Post) -> Client {
    let account = home.unlock(&home.find(None).unwrap(), "").unwrap();
    Client::with_carrier(home.clone(), account, Arc::new(post.clone()))
}

/// Sending that soon gives up.
pub(crate) fn quick() -> SendOptions {
    let mut options = SendOptions::default();
    options.patience = Some(Duration::from_secs(5));
    options
}

/// Sending that gives up at once.
pub(crate) fn impatient() -> SendOptions {
    let mut options = SendOptions::default();
    options.patience = Some(Duration::ZERO);
    options
}

pub(crate) async fn next(listener: &mut Listener) -> Option<Event> {
    let next = tokio::time::timeout(SOON, listener.next()).await;
    next.expect("an event comes soon").unwrap()
}

/// The next message; other events are passed over.
pub(crate) async fn message(listener: &mut Listener) -> Message {
    loop {
        let event = next(listener).await.expect("the listener stays");
        if let Event::Message(message) = event {
            return *message;
        }
    }
}

pub(crate) fn text_of(message: &Message) -> String {
    match &message.body {
        Body::Text(text) => text.clone(),
        other => panic!("no text: {other:?}"),
    }
}
