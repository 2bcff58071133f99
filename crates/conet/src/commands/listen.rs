//! `conet listen`: messages and files as they come.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::Args;
use client::history::HistoryEntry;
use client::receive::{Body, Event, ListenOptions, Message, Sender, Verification, Warning};
use serde_json::{Value, json};

use crate::context::Context;
use crate::failure::{Context as _, Exit, Failure, Outcome};
use crate::moment;
use crate::names::Names;
use crate::screen::{self, behind, one_line, print, print_json};
use crate::session::Settings;
use crate::stopping;

/// Arguments of `conet listen`.
#[derive(Debug, Args)]
pub(crate) struct ListenArgs {
    /// End when everything that is kept has come.
    #[arg(long)]
    once: bool,
    /// Where to put files [default: received in the wallet's folder of the home].
    #[arg(long, value_name = "DIR")]
    save: Option<PathBuf>,
    /// Don't tell contacts that their messages have come.
    #[arg(long)]
    no_receipts: bool,
}

/// Listens.
pub(crate) async fn run(context: &Context, args: ListenArgs) -> Outcome {
    let stop = stopping::on_signal()?;
    let client = context
        .client(Settings {
            receipts: !args.no_receipts,
            ..Settings::default()
        })
        .await?;
    let mut options = ListenOptions::default();
    options.stay = !args.once;
    options.save_dir = args
        .save
        .map(|dir| std::path::absolute(&dir).context(dir.display()))
        .transpose()?;
    if let Some(dir) = &options.save_dir {
        check_writable(dir)?;
    }
    let names = Names::of(client.home())?;
    let mut silent = BTreeSet::new();
    let mut listener = client.listen(options).await?;
    loop {
        let event = tokio::select! {
            biased;
            () = stop.cancelled() => None,
            event = listener.next() => event?,
        };
        let Some(mut event) = event else {
            break;
        };
        names.complete(&mut event);
        match &event {
            Event::Warning(Warning::MailboxUnreachable { mailbox, .. }) => silent.insert(*mailbox),
            Event::Warning(Warning::MailboxBack { mailbox }) => silent.remove(mailbox),
            _ => false,
        };
        tell(context, &event)?;
    }
    // What was printed last is not handed over again.
    listener.done().await?;
    // Former mailboxes may be gone for good.
    let current = client.route()?.mailboxes;
    match current.iter().find(|mailbox| silent.contains(*mailbox)) {
        Some(mailbox) if args.once => Err(Failure::new(
            Exit::Unreachable,
            format!("not all may have come, mailbox {mailbox} can't be reached: try again later"),
        )),
        _ => Ok(Exit::Done),
    }
}

/// Finds out now rather than with the first file that a folder can't take files.
fn check_writable(dir: &Path) -> Outcome<()> {
    std::fs::create_dir_all(dir)
        .and_then(|()| tempfile::tempfile_in(dir))
        .map(drop)
        .context(format!("files can't be saved in {}", dir.display()))
}

/// Prints messages on stdout, all else on stderr.
fn tell(context: &Context, event: &Event) -> Outcome<()> {
    match event {
        Event::Message(message) if context.global.json => return print_json(&describe(message)),
        Event::Message(message) => return print(&line(message)),
        _ => {}
    }
    if context.global.quiet {
        return Ok(());
    }
    if context.global.json {
        screen::tell(describe_other(event));
    } else if let Some(line) = notice(event) {
        screen::tell(line);
    }
    Ok(())
}

/// A message for programs.
pub(crate) fn describe(message: &Message) -> Value {
    let mut value = json!({
        "id": message.id.to_string(),
        "from": from(&message.from),
        "name": message.from.name,
        "claimed": message.claimed.map(|claimed| claimed.to_string()),
        "verified": message.verified.as_str(),
        "time": moment::rfc3339(message.time_ms),
        "received": moment::rfc3339(message.received_ms),
    });
    describe_body(&mut value, &message.body);
    value
}

/// A message for programs, as another process heard it.
pub(crate) fn describe_past(entry: &HistoryEntry) -> Value {
    // What is told of a conversation with a wallet was verified before it was written down.
    let mut value = json!({
        "id": entry.id.to_string(),
        "from": from(&entry.peer),
        "name": entry.peer.name,
        "claimed": null,
        "verified": Verification::Wallet.as_str(),
        "time": moment::rfc3339(entry.time_ms),
        "received": null,
    });
    describe_body(&mut value, &entry.body);
    value
}

fn describe_body(value: &mut Value, body: &Body) {
    let Some(fields) = value.as_object_mut() else {
        return;
    };
    match body {
        Body::Text(text) => {
            fields.insert("text".to_owned(), json!(text));
        }
        Body::File(file) => {
            fields.insert("file".to_owned(), json!(file.path));
            fields.insert("fileName".to_owned(), json!(file.name));
            fields.insert("size".to_owned(), json!(file.size));
            fields.insert("sha256".to_owned(), json!(hex::encode(file.sha256)));
            fields.insert("contentType".to_owned(), json!(file.content_type));
        }
        _ => {}
    }
}

fn from(sender: &Sender) -> Value {
    match (&sender.wallet, &sender.fingerprint) {
        (Some(wallet), _) => json!(wallet),
        (None, Some(fingerprint)) => json!(fingerprint.to_string()),
        (None, None) => Value::Null,
    }
}

/// A message for people.
fn line(message: &Message) -> String {
    let time = moment::short(message.time_ms);
    let who = sender_of(message);
    match &message.body {
        Body::Text(text) => behind(&format!("{time}  {who}: "), text),
        Body::File(file) => {
            let place = file
                .path
                .as_ref()
                .map_or_else(|| file.name.clone(), |path| path.display().to_string());
            let hash: String = hex::encode(file.sha256).chars().take(16).collect();
            format!(
                "{time}  {who}: file {} ({} bytes, SHA-256 {hash}…)",
                one_line(&place),
                file.size
            )
        }
        _ => format!("{time}  {who}: something that this version does not know"),
    }
}

/// Who sent a message, for people, with how well that is proved.
pub(crate) fn sender_of(message: &Message) -> String {
    let who = who(&message.from, message.verified);
    match &message.claimed {
        Some(claimed) => format!("{who} [claims to be OpenPGP key {claimed}]"),
        None => who,
    }
}

/// A sender for people, with how well they are proved.
fn who(sender: &Sender, verified: Verification) -> String {
    let known = match (&sender.name, &sender.wallet, &sender.fingerprint) {
        (Some(name), ..) => name.clone(),
        (None, Some(wallet), _) => wallet.to_string(),
        (None, None, Some(fingerprint)) => fingerprint.to_string(),
        (None, None, None) => "somebody".to_owned(),
    };
    match verified {
        Verification::Wallet => known,
        Verification::OpenPgp => format!("{known} [OpenPGP signature, no wallet]"),
        Verification::Unsigned => format!("{known} [unsigned]"),
    }
}

/// What else happens, for people; nothing for what only matters to programs.
pub(crate) fn notice(event: &Event) -> Option<String> {
    let name = |sender: &Sender| who(sender, Verification::Wallet);
    Some(match event {
        Event::Receipt { from, ids } => {
            format!("{} has {} of your messages", name(from), ids.len())
        }
        Event::Gap { from, missing } => format!("{missing} messages of {} are missing", name(from)),
        Event::Warning(warning) => return Some(warn(warning)),
        _ => return None,
    })
}

fn warn(warning: &Warning) -> String {
    let text = match warning {
        Warning::MailboxUnreachable { mailbox, reason } => {
            format!("mailbox {mailbox} can't be reached, trying again: {reason}")
        }
        Warning::MailboxBack { mailbox } => format!("mailbox {mailbox} is back"),
        Warning::Unreadable { reason } => format!("a packet can't be read: {reason}"),
        Warning::FileRefused { name, reason, .. } => format!("file {name} is refused: {reason}"),
        Warning::FileNotPlaced { name, reason } => {
            format!("file {name} can't be saved, trying again: {reason}")
        }
        Warning::NotDurable { reason } => {
            format!("what came can't be written down, trying again: {reason}")
        }
        Warning::Restored => {
            "this wallet was restored: what was sent to its former keys can't be read".to_owned()
        }
        Warning::Upkeep { reason } => {
            format!("the wallet's route can't be kept up, trying again: {reason}")
        }
        _ => "something is wrong that this version has no words for".to_owned(),
    };
    one_line(&text)
}

/// What else happens, for programs.
fn describe_other(event: &Event) -> Value {
    match event {
        Event::Receipt { from: sender, ids } => {
            let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
            json!({ "event": "receipt", "from": from(sender), "ids": ids })
        }
        Event::Gap {
            from: sender,
            missing,
        } => json!({ "event": "gap", "from": from(sender), "missing": missing }),
        Event::CaughtUp => json!({ "event": "caught-up" }),
        Event::Warning(warning) => json!({ "event": "warning", "reason": warn(warning) }),
        _ => json!({ "event": "unknown" }),
    }
}
