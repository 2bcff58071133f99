//! `conet send`: a text, what stdin holds, or a file.

mod spool;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use client::Client;
use client::carrier::Privacy;
use client::home::Recipient;
use client::send::{MAX_COPIES, SendError, SendOptions, SendProgress, Sent};
use serde_json::json;

use crate::context::Context;
use crate::failure::{Context as _, Exit, Failure, Outcome};
use crate::screen::{self, print, print_json};
use crate::session::Settings;
use spool::{Spooled, spool_stdin};

/// Arguments of `conet send`.
#[derive(Debug, Args)]
pub(crate) struct SendArgs {
    /// Whom to: an address, a contact (conet:0x…), the name of a contact, the label of an own wallet, or a name (shop.conet).
    #[arg(value_name = "WALLET|NAME")]
    to: String,
    /// The text; `-` reads it, or a file's content, from stdin.
    #[arg(
        value_name = "TEXT|-",
        required_unless_present = "file",
        conflicts_with = "file"
    )]
    text: Vec<String>,
    /// A file of any size. The same command goes on with a transfer that was interrupted.
    #[arg(long, value_name = "F")]
    file: Option<PathBuf>,
    /// How much of the path is hidden.
    #[arg(long, value_enum, default_value_t = PrivacyLevel::Relayed)]
    privacy: PrivacyLevel,
    /// At how many of the recipient's mailboxes it is stored, before it counts as sent.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=i64::from(MAX_COPIES)))]
    copies: u8,
    /// Don't sign: the recipient does not learn who wrote.
    #[arg(long)]
    anonymous: bool,
    /// How long to go on trying while nothing gets through [default: 90, for a file 600].
    #[arg(long, value_name = "S")]
    patience: Option<u64>,
}

/// Levels of privacy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PrivacyLevel {
    /// The entry passes the packet straight on: fastest; it sees your IP address and the recipient's key ID.
    Direct,
    /// A relay stands between: no node sees both you and the recipient.
    Relayed,
    /// Several relays, delays and cover traffic.
    Mixed,
}

impl PrivacyLevel {
    pub(crate) fn known(self) -> Outcome<Privacy> {
        match self {
            Self::Direct => Ok(Privacy::Direct),
            Self::Relayed => Ok(Privacy::Relayed),
            Self::Mixed => Err(Failure::new(
                Exit::Usage,
                "this version can't do `mixed` yet: use --privacy relayed or direct",
            )),
        }
    }
}

/// What is sent.
#[derive(Debug)]
enum Load {
    Text(String),
    File(PathBuf),
}

/// Sends.
pub(crate) async fn run(context: &Context, args: SendArgs) -> Outcome {
    let privacy = args.privacy.known()?;
    let client = context
        .client(Settings {
            privacy,
            ..Settings::default()
        })
        .await?;
    let to = client.whom(&args.to).await?;
    let mut spooled = None;
    let load = match (&args.file, args.text.as_slice()) {
        (Some(file), _) => Load::File(std::path::absolute(file).context(file.display())?),
        (None, [dash]) if dash == "-" => match spool_stdin(&context.home_path().join("spool"))? {
            Spooled::Text(text) => Load::Text(text),
            Spooled::File(path) => {
                spooled = Some(path.clone());
                Load::File(path)
            }
        },
        (None, words) => match words.join(" ") {
            text if text.is_empty() => {
                return Err(Failure::new(
                    Exit::Usage,
                    "the text is empty: nothing was sent",
                ));
            }
            text => Load::Text(text),
        },
    };
    let sent = send(context, &client, &to, &load, &args).await;
    let sent = match sent {
        Ok(sent) => sent,
        Err(error) => return Err(failure(error)),
    };
    if let Some(path) = spooled {
        // All of it is stored elsewhere now; it lay in a folder of its own.
        let _ = path.parent().map(std::fs::remove_dir_all);
    }
    if context.global.json {
        print_json(
            &json!({ "id": sent.id.to_string(), "to": to.wallet, "storedAt": sent.stored_at }),
        )?;
    } else {
        print(&sent.id.to_string())?;
    }
    Ok(Exit::Done)
}

async fn send(
    context: &Context,
    client: &Client,
    to: &Recipient,
    load: &Load,
    args: &SendArgs,
) -> Result<Sent, SendError> {
    // Programs get the outcome; notices in words are for people.
    let quiet = context.global.quiet || context.global.json;
    let bar = screen::byte_bar(0, quiet || matches!(load, Load::Text(_)));
    let mut options = SendOptions::default();
    options.copies = args.copies;
    options.anonymous = args.anonymous;
    options.patience = args.patience.map(Duration::from_secs);
    let shown = bar.clone();
    options.on_progress = Some(Arc::new(move |progress| match progress {
        SendProgress::Reading { done, total } => {
            shown.set_message("reading");
            shown.set_length(total);
            shown.set_position(done);
        }
        SendProgress::Queued { id, resumed: true } if !quiet => {
            shown.suspend(|| {
                screen::tell(format_args!("going on with the interrupted transfer {id}"))
            });
        }
        SendProgress::Stored { done, total } => {
            shown.set_message("sending");
            shown.set_length(total);
            shown.set_position(done);
        }
        SendProgress::Waiting { reason, retry_in } if !quiet => {
            let reason = screen::one_line(&reason);
            shown.suspend(|| {
                screen::tell(format_args!(
                    "{reason}; trying again in {} s",
                    retry_in.as_secs().max(1)
                ))
            });
        }
        _ => {}
    }));
    let sent = match load {
        Load::Text(text) => client.send_text(to, text, options).await,
        Load::File(path) => client.send_file(to, path, options).await,
    };
    bar.finish_and_clear();
    sent
}

/// A failure that says which message it is of, and whether it is kept.
fn failure(error: SendError) -> Failure {
    let id = match &error {
        SendError::NotYet { id, .. }
        | SendError::Refused { id, .. }
        | SendError::GivenUp { id, .. } => Some(*id),
        _ => None,
    };
    let failure = Failure::from(error);
    match id {
        Some(id) => failure.with_detail("id", id.to_string()),
        None => failure,
    }
}
