//! A wallet at work: the home opened, the wallet unlocked, the network joined.

use std::time::Duration;

use client::carrier::Privacy;
use client::home::{Account, Home, WalletHead};
use client::{Client, ClientOptions};
use zeroize::Zeroizing;

use crate::context::Context;
use crate::failure::Outcome;

/// How long to wait for the first nodes of the network.
const READY_PATIENCE: Duration = Duration::from_secs(30);

impl Context {
    /// The home; its folders are made if need be.
    pub(crate) fn home(&self) -> Outcome<Home> {
        Ok(Home::open(self.home_path())?)
    }

    /// The wallet that is meant: the one that is named here, else that of `--wallet`, else the first.
    pub(crate) fn wallet(&self, home: &Home, named: Option<&str>) -> Outcome<WalletHead> {
        Ok(home.find(named.or(self.global.wallet.as_deref()))?)
    }

    /// The wallet's password; nobody is asked for an empty one.
    pub(crate) fn wallet_password(&self, head: &WalletHead) -> Outcome<Zeroizing<String>> {
        if head.password_is_empty {
            Ok(Zeroizing::default())
        } else {
            self.password(&format!("wallet {}", head.label))
        }
    }

    /// Unlocks the wallet that is meant.
    pub(crate) async fn unlock(&self, home: &Home, named: Option<&str>) -> Outcome<Account> {
        let head = self.wallet(home, named)?;
        let password = self.wallet_password(&head)?;
        let home = home.clone();
        Ok(tokio::task::spawn_blocking(move || home.unlock(&head, &password)).await??)
    }

    /// Unlocks the wallet of `--wallet` and opens the network.
    pub(crate) async fn client(&self, settings: Settings) -> Outcome<Client> {
        self.client_of(None, settings).await
    }

    /// Unlocks the wallet that is meant and opens the network.
    pub(crate) async fn client_of(
        &self,
        named: Option<&str>,
        settings: Settings,
    ) -> Outcome<Client> {
        let home = self.home()?;
        let head = self.wallet(&home, named)?;
        let network = self.network()?;
        let mut options = ClientOptions::new(self.home_path(), network);
        options.wallet = Some(head.address.to_string());
        options.password = self.wallet_password(&head)?;
        options.privacy = settings.privacy;
        options.receipts = settings.receipts;
        Ok(Client::open(options).await?)
    }
}

/// How a wallet is used.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) privacy: Privacy,
    pub(crate) receipts: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            privacy: Privacy::default(),
            receipts: true,
        }
    }
}

/// Waits for the first nodes of the network.
pub(crate) async fn ready(client: &Client) -> Outcome<()> {
    Ok(client.ready(READY_PATIENCE).await?)
}
