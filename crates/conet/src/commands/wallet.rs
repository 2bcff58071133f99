//! `conet wallet`: the wallets of a home.

mod export;
mod import;
mod new;
mod qr;
mod show;

use std::io::{IsTerminal as _, Write as _};

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;
use wallet::CertificateKind;

use crate::context::Context;
use crate::failure::{Exit, Failure, Outcome};
use crate::screen::{Steps, print, print_json, tell};
use crate::session::{self, Settings};

/// What `conet wallet` can do.
#[derive(Debug, Subcommand)]
pub(crate) enum WalletCommand {
    /// Make a wallet from new random words.
    New(new::NewArgs),
    /// Bring a wallet in: from its words, a keystore, a private key or an export.
    Import(import::ImportArgs),
    /// List the wallets.
    List,
    /// Show a wallet with its certificate and route.
    Show(Which),
    /// Write a wallet out, to take it elsewhere.
    Export(export::ExportArgs),
    /// Replace the wallet's encryption keys now; they are replaced every week anyway.
    Rotate(Which),
    /// Forget a wallet and wipe its secrets.
    Discard(DiscardArgs),
    /// Show what others need to write to the wallet, as text and as QR code.
    Share(show::ShareArgs),
}

/// Which wallet.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// The wallet's label or address [default: that of --wallet].
    #[arg(value_name = "WALLET")]
    which: Option<String>,
}

/// Arguments of `conet wallet discard`.
#[derive(Debug, Args)]
pub(crate) struct DiscardArgs {
    /// The wallet's label or address.
    #[arg(value_name = "WALLET")]
    which: String,
    /// Don't ask.
    #[arg(long)]
    yes: bool,
}

/// What a wallet's certificate is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OpenPgp {
    /// Version 6 with a post-quantum subkey (ML-KEM-768+X25519).
    V6,
    /// Version 6 without it, for programs that don't know it, such as OpenPGP.js.
    V6Classic,
    /// Version 4, for stock gpg.
    V4,
}

impl From<OpenPgp> for CertificateKind {
    fn from(kind: OpenPgp) -> Self {
        match kind {
            OpenPgp::V6 => Self::V6,
            OpenPgp::V6Classic => Self::V6Classic,
            OpenPgp::V4 => Self::V4,
        }
    }
}

/// Does one of them.
pub(crate) async fn run(context: &Context, command: WalletCommand) -> Outcome {
    match command {
        WalletCommand::New(args) => new::run(context, args).await,
        WalletCommand::Import(args) => import::run(context, args).await,
        WalletCommand::List => list(context),
        WalletCommand::Show(which) => show::run(context, which.which.as_deref()).await,
        WalletCommand::Export(args) => export::run(context, args).await,
        WalletCommand::Rotate(which) => rotate(context, which.which.as_deref()).await,
        WalletCommand::Discard(args) => discard(context, &args),
        WalletCommand::Share(args) => show::share(context, &args).await,
    }
}

fn list(context: &Context) -> Outcome {
    let heads = context.home()?.wallets()?;
    if context.global.json {
        for head in heads {
            print_json(&serde_json::to_value(head)?)?;
        }
        return Ok(Exit::Done);
    }
    if heads.is_empty() {
        tell("no wallet yet: make one with `conet wallet new`");
    }
    for head in heads {
        print(&format!("{:<16} {}", head.label, head.address))?;
    }
    Ok(Exit::Done)
}

async fn rotate(context: &Context, which: Option<&str>) -> Outcome {
    let client = context.client_of(which, Settings::default()).await?;
    let steps = Steps::new(&context.global);
    steps.begin("telling the mailboxes of the new keys");
    session::ready(&client).await?;
    let rotated = client.rotate().await;
    steps.end();
    rotated?;
    let certificate = client.account().certificate()?;
    let key_ids: Vec<String> = certificate
        .key_ids()
        .iter()
        .map(ToString::to_string)
        .collect();
    if context.global.json {
        print_json(
            &json!({ "wallet": client.address(), "fingerprint": certificate.fingerprint(), "keyIds": key_ids }),
        )?;
    } else {
        print(&format!("new encryption keys: {}", key_ids.join(", ")))?;
    }
    Ok(Exit::Done)
}

fn discard(context: &Context, args: &DiscardArgs) -> Outcome {
    let home = context.home()?;
    let head = home.find(Some(&args.which))?;
    if !args.yes {
        confirm(
            &format!(
                "Forget wallet {} ({})? Without its words or an export it is lost for ever. Type its label to go on: ",
                head.label, head.address
            ),
            head.label.as_str(),
        )?;
    }
    home.discard(&head)?;
    if context.global.json {
        print_json(&json!({ "discarded": head.address, "label": head.label }))?;
    } else if !context.global.quiet {
        print(&format!("wallet {} is forgotten", head.label))?;
    }
    Ok(Exit::Done)
}

/// Asks for a word that proves that the user means it.
fn confirm(question: &str, word: &str) -> Outcome<()> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::new(
            Exit::Refused,
            "nobody can be asked whether it is meant: add --yes",
        ));
    }
    write!(std::io::stderr(), "{question}")?;
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    if answer.trim() == word {
        Ok(())
    } else {
        Err(Failure::new(
            Exit::Refused,
            "not confirmed: nothing was changed",
        ))
    }
}
