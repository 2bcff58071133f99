//! `conet wallet show` and `conet wallet share`

use clap::Args;
use serde_json::json;

use super::qr;
use crate::context::Context;
use crate::failure::{Exit, Outcome};
use crate::moment;
use crate::screen::{print, print_json, tell};

/// Arguments of `conet wallet share`.
#[derive(Debug, Args)]
pub(crate) struct ShareArgs {
    /// The wallet's label or address [default: that of --wallet].
    #[arg(value_name = "WALLET")]
    which: Option<String>,
    /// Print the text only.
    #[arg(long)]
    no_qr: bool,
}

/// Shows a wallet.
pub(super) async fn run(context: &Context, which: Option<&str>) -> Outcome {
    let home = context.home()?;
    let account = context.unlock(&home, which).await?;
    let (head, binding) = (account.head(), account.binding()?);
    let certificate = account.certificate()?;
    let key_ids: Vec<String> = certificate
        .key_ids()
        .iter()
        .map(ToString::to_string)
        .collect();
    if context.global.json {
        print_json(&json!({
            "label": head.label,
            "address": head.address,
            "certificate": serde_json::to_value(head)?.get("certificate"),
            "fingerprint": binding.fingerprint,
            "keyIds": key_ids,
            "sequence": binding.sequence,
            "mailboxes": binding.mailboxes,
            "created": moment::rfc3339(head.created_ms),
            "index": head.index,
            "passwordIsEmpty": head.password_is_empty,
        }))?;
        return Ok(Exit::Done);
    }
    let kind = serde_json::to_value(head)?
        .get("certificate")
        .and_then(|kind| kind.as_str().map(str::to_owned));
    print(&format!("label         {}", head.label))?;
    print(&format!("address       {}", head.address))?;
    print(&format!(
        "certificate   OpenPGP {}, {}",
        kind.unwrap_or_default(),
        binding.fingerprint
    ))?;
    print(&format!("key IDs       {}", key_ids.join(", ")))?;
    match binding.mailboxes.as_slice() {
        [] => print("mailboxes     none: conet route set --mailbox auto")?,
        mailboxes => {
            for mailbox in mailboxes {
                print(&format!("mailbox       {mailbox}"))?;
            }
        }
    }
    print(&format!("here since    {}", moment::short(head.created_ms)))?;
    if let Some(index) = head.index {
        print(&format!("derived at    m/44'/60'/0'/0/{index}"))?;
    }
    if head.password_is_empty {
        print("password      empty")?;
    }
    Ok(Exit::Done)
}

/// Shows how to write to a wallet.
pub(super) async fn share(context: &Context, args: &ShareArgs) -> Outcome {
    let home = context.home()?;
    let account = context.unlock(&home, args.which.as_deref()).await?;
    let uri = account.contact_uri()?;
    if context.global.json {
        print_json(&json!({
            "uri": uri.to_string(), "address": uri.wallet, "fingerprint": uri.fingerprint, "mailboxes": uri.mailboxes,
        }))?;
        return Ok(Exit::Done);
    }
    if !args.no_qr {
        print(&qr::blocks(&uri.to_string())?)?;
    }
    print(&uri.to_string())?;
    if uri.mailboxes.is_empty() && !context.global.quiet {
        tell("this wallet has no mailbox yet: conet route set --mailbox auto");
    }
    Ok(Exit::Done)
}
