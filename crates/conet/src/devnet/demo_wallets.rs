//! alice and bob: wallets in the home, to try the network with.

use std::sync::Arc;
use std::time::Duration;

use client::home::{Home, Label, NewWallet, Source, WalletHead};
use client::{Client, ClientOptions};
use ledger::{NetworkFile, Registrar};
use tokio::task::JoinSet;
use wallet::keystore::ScryptCost;
use wallet::{CertificateKind, WordCount};
use zeroize::Zeroizing;

use super::bring_up::first_funder;
use crate::context::Context;
use crate::failure::{Context as _, Failure, Outcome};
use crate::screen::Steps;

/// What they are called.
const LABELS: [&str; 2] = ["alice", "bob"];
/// What each gets, wei: a hundred coins.
const FUNDS_WEI: u128 = 100_000_000_000_000_000_000;
/// How long a wallet may take to find the network.
const PATIENCE: Duration = Duration::from_secs(30);

/// Makes them, gives them money and mailboxes; what an earlier `up` did stays.
///
/// Wallets that were made here are added to `made` at once, so that they can be taken out again.
pub(super) async fn put(
    context: &Context,
    network: &NetworkFile,
    made: &mut Vec<WalletHead>,
    steps: &Steps,
) -> Outcome<()> {
    steps.begin("making wallets for alice and bob");
    let home = context.home()?;
    let mut heads = Vec::new();
    for label in LABELS {
        heads.push(find_or_make(&home, label, made)?);
    }
    let funder = Arc::new(Registrar::new(network, &first_funder()?)?);
    for head in &heads {
        if funder.balance(head.address).await? < FUNDS_WEI / 2 {
            funder.transfer(head.address, FUNDS_WEI).await?;
        }
    }
    steps.begin("finding mailboxes for alice and bob");
    let mut setting = JoinSet::new();
    for head in heads {
        let mut options = ClientOptions::new(context.home_path(), network.clone());
        options.wallet = Some(head.address.to_string());
        let ledger = Arc::clone(&funder);
        setting.spawn(async move { find_mailbox(options, ledger).await.context(head.label) });
    }
    while let Some(set) = setting.join_next().await {
        set??;
    }
    Ok(())
}

/// The wallet of that label in a home, with an empty password; one that is made now is added to `made`.
pub(super) fn find_or_make(
    home: &Home,
    label: &str,
    made: &mut Vec<WalletHead>,
) -> Outcome<WalletHead> {
    if let Ok(head) = home.find(Some(label)) {
        if head.password_is_empty {
            return Ok(head);
        }
        let advice = "use another --home for the devnet";
        return Err(Failure::error(format!(
            "there is a wallet {label} with a password in this home: {advice}"
        )));
    }
    let label: Label = label.parse()?;
    let created = home.create(NewWallet {
        label,
        source: Source::Random(WordCount::Twelve),
        kind: CertificateKind::V6,
        password: Zeroizing::default(),
        // An empty password is not worth a second of work.
        cost: ScryptCost::Light,
        restore: false,
    })?;
    made.push(created.head.clone());
    Ok(created.head)
}

/// Gives a wallet a mailbox among the nodes of this network, unless it has one.
async fn find_mailbox(options: ClientOptions, ledger: Arc<Registrar>) -> Outcome<()> {
    let client = Client::open(options).await?;
    let route = client.route()?;
    let mut has_mailbox = route.on_ledger && !route.mailboxes.is_empty();
    for mailbox in route.mailboxes {
        // It may be of another devnet, which this home was used for before.
        has_mailbox = has_mailbox && ledger.node_nonce(mailbox).await? > 0;
    }
    if has_mailbox {
        return Ok(());
    }
    client.ready(PATIENCE).await?;
    let picked = client.pick_mailboxes(1).await?;
    Ok(client.set_route(picked, true).await?)
}
