//! `conet wallet new`

use clap::{Args, ValueEnum};
use client::home::{Created, Home, Label, NewWallet, Source};
use serde_json::json;
use wallet::WordCount;

use super::OpenPgp;
use crate::context::Context;
use crate::failure::{Exit, Outcome};
use crate::node_folder::cost_of;
use crate::screen::{print, print_json};

/// Label of a wallet whose owner does not care.
const DEFAULT_LABEL: &str = "main";

/// Arguments of `conet wallet new`.
#[derive(Debug, Args)]
pub(crate) struct NewArgs {
    /// What to call it [default: main].
    label: Option<Label>,
    /// What its certificate is made of.
    #[arg(long, value_enum, default_value_t = OpenPgp::V6)]
    openpgp: OpenPgp,
    /// How many words it comes from.
    #[arg(long, value_enum, default_value_t = Words::Twelve)]
    words: Words,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Words {
    #[value(name = "12")]
    Twelve,
    #[value(name = "24")]
    TwentyFour,
}

/// Makes a wallet.
pub(super) async fn run(context: &Context, args: NewArgs) -> Outcome {
    let home = context.home()?;
    let label = label_or_default(args.label)?;
    let password = context.new_password(&format!("wallet {label}"))?;
    let count = match args.words {
        Words::Twelve => WordCount::Twelve,
        Words::TwentyFour => WordCount::TwentyFour,
    };
    let new = NewWallet {
        label,
        source: Source::Random(count),
        kind: args.openpgp.into(),
        cost: cost_of(&password),
        password,
        restore: false,
    };
    let created = create(&home, new).await?;
    present(context, &created)
}

/// Makes a wallet on a thread where it may take its time.
pub(super) async fn create(home: &Home, new: NewWallet) -> Outcome<Created> {
    let home = home.clone();
    Ok(tokio::task::spawn_blocking(move || home.create(new)).await??)
}

pub(super) fn label_or_default(label: Option<Label>) -> Outcome<Label> {
    match label {
        Some(label) => Ok(label),
        None => Ok(DEFAULT_LABEL.parse()?),
    }
}

/// Shows a new wallet, with its words, which are shown once.
fn present(context: &Context, created: &Created) -> Outcome {
    let head = &created.head;
    let words = created.mnemonic.as_ref().map(|words| words.as_str());
    if context.global.json {
        print_json(&json!({ "label": head.label, "address": head.address, "mnemonic": words }))?;
        return Ok(Exit::Done);
    }
    print(&format!("wallet {} {}", head.label, head.address))?;
    if let Some(words) = words {
        print("")?;
        print(&format!("  {words}"))?;
        print("")?;
        print(
            "Write these words down and keep them away from others: whoever has them has the wallet.",
        )?;
    }
    if head.password_is_empty {
        print("Its password is empty: whoever gets at this disk has the wallet.")?;
    }
    print(&format!(
        "Give it a mailbox: conet --wallet {} route set --mailbox auto",
        head.label
    ))?;
    Ok(Exit::Done)
}
