//! The people: their homes, and the processes that play them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use client::home::{Home, NewWallet, Source};
use client::{Client, ClientOptions};
use ledger::NetworkFile;
use rand::rngs::OsRng;
use tokio::task::JoinSet;
use wallet::keystore::ScryptCost;
use wallet::{CertificateKind, WalletAddress, WalletKey};

use crate::network::{Process, text};
use crate::person::ROLE;

/// Mailboxes of each person.
const MAILBOXES: usize = 2;
const PATIENCE: Duration = Duration::from_secs(60);

/// A person and the process that plays them.
#[derive(Debug)]
pub(crate) struct Person {
    pub(crate) folder: PathBuf,
    pub(crate) address: WalletAddress,
    pub(crate) process: Process,
}

/// Makes so many people with mailboxes; nobody writes yet.
pub(crate) async fn make(
    folder: &Path,
    network: &NetworkFile,
    count: usize,
) -> Result<Vec<Person>> {
    let mut making = JoinSet::new();
    for number in 0..count {
        let (folder, network) = (folder.join(format!("person{number}")), network.clone());
        making.spawn(async move {
            let made = one(&folder, network).await;
            made.with_context(|| folder.display().to_string())
        });
    }
    let people: Vec<Person> = making.join_all().await.into_iter().collect::<Result<_>>()?;
    let addresses: Vec<String> = people
        .iter()
        .map(|it| format!("{}\n", it.address))
        .collect();
    std::fs::write(folder.join("everyone"), addresses.concat())?;
    Ok(people)
}

async fn one(folder: &Path, network: NetworkFile) -> Result<Person> {
    let path = folder.join("home");
    let home = Home::open(&path)?;
    let created = home.create(NewWallet {
        label: "me".parse()?,
        source: Source::Key(WalletKey::generate(&mut OsRng)),
        kind: CertificateKind::V6,
        password: String::new().into(),
        // What is tried here is not the password.
        cost: ScryptCost::Light,
        restore: false,
    })?;
    let client = Client::open(ClientOptions::new(path, network)).await?;
    client.ready(PATIENCE).await?;
    let mailboxes = client.pick_mailboxes(MAILBOXES).await?;
    client.set_route(mailboxes, true).await?;
    let arguments = vec![ROLE.to_owned(), text(folder)?.to_owned()];
    Ok(Person {
        address: created.head.address,
        process: Process::new(std::env::current_exe()?, arguments, folder.join("log")),
        folder: folder.to_owned(),
    })
}
