//! What wallets are called here: contacts by their names, own wallets by their labels.

use std::collections::HashMap;

use client::home::Home;
use client::receive::{Event, Sender};
use wallet::WalletAddress;

use crate::failure::Outcome;

/// The names of a home.
#[derive(Debug, Default)]
pub(crate) struct Names(HashMap<WalletAddress, String>);

impl Names {
    /// Those of that home, as they are now.
    pub(crate) fn of(home: &Home) -> Outcome<Self> {
        let mut names: HashMap<_, _> = home
            .wallets()?
            .into_iter()
            .map(|head| (head.address, head.label.to_string()))
            .collect();
        let book = home.contacts()?;
        names.extend(
            book.contacts()
                .iter()
                .map(|contact| (contact.uri.wallet, contact.name.to_string())),
        );
        Ok(Self(names))
    }

    /// The name of a wallet, or its address.
    pub(crate) fn name(&self, wallet: &WalletAddress) -> String {
        self.0
            .get(wallet)
            .cloned()
            .unwrap_or_else(|| wallet.to_string())
    }

    /// Names the sender of an event that has no name yet: an own wallet.
    pub(crate) fn complete(&self, event: &mut Event) {
        match event {
            Event::Message(message) => self.complete_sender(&mut message.from),
            Event::Receipt { from, .. } | Event::Gap { from, .. } => self.complete_sender(from),
            _ => {}
        }
    }

    fn complete_sender(&self, sender: &mut Sender) {
        if sender.name.is_none() {
            sender.name = sender
                .wallet
                .and_then(|wallet| self.0.get(&wallet).cloned());
        }
    }
}
