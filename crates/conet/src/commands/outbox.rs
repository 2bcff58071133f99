//! `conet outbox`: what waits to be sent.

use clap::Subcommand;
use client::Client;
use client::send::{Waiting, WaitingBody};
use packet::MessageId;
use serde_json::json;

use crate::context::Context;
use crate::failure::{Exit, Failure, Outcome};
use crate::moment;
use crate::names::Names;
use crate::screen::{Steps, one_line, print, print_json};
use crate::session::{self, Settings};

/// Characters of a text that are listed.
const MAX_TEXT_CHARS: usize = 60;

/// What `conet outbox` can do.
#[derive(Debug, Subcommand)]
pub(crate) enum OutboxCommand {
    /// List what waits, and why.
    List,
    /// Try to send all of it now.
    Flush,
    /// Give messages up.
    Drop {
        /// Their ids, as `conet send` and `conet outbox list` show them.
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
    },
}

/// Does one of them.
pub(crate) async fn run(context: &Context, command: OutboxCommand) -> Outcome {
    let client = context.client(Settings::default()).await?;
    match command {
        OutboxCommand::List => list(context, &client).await,
        OutboxCommand::Flush => flush(context, &client).await,
        OutboxCommand::Drop { ids } => drop_all(context, &client, &ids).await,
    }
}

async fn list(context: &Context, client: &Client) -> Outcome {
    let names = Names::of(client.home())?;
    for waiting in client.outbox().await? {
        if context.global.json {
            print_json(&json!({
                "id": waiting.id.to_string(),
                "to": waiting.to,
                "what": brief(&waiting.what),
                "since": moment::rfc3339(waiting.since_ms),
                "attempts": waiting.attempts,
                "nextAttempt": moment::rfc3339(waiting.next_attempt_ms),
                "trouble": waiting.trouble,
            }))?;
        } else {
            print(&line(&waiting, &names))?;
        }
    }
    Ok(Exit::Done)
}

fn line(waiting: &Waiting, names: &Names) -> String {
    let Waiting {
        id,
        to,
        what,
        since_ms,
        ..
    } = waiting;
    let trouble = waiting
        .trouble
        .as_ref()
        .map(|why| format!(" ({})", one_line(why)))
        .unwrap_or_default();
    format!(
        "{id}  {}  {}: {}{trouble}",
        moment::short(*since_ms),
        names.name(to),
        brief(what)
    )
}

fn brief(what: &WaitingBody) -> String {
    match what {
        WaitingBody::Text(text) => one_line(text).chars().take(MAX_TEXT_CHARS).collect(),
        WaitingBody::File { path, size } => {
            format!("{} ({size} bytes)", one_line(&path.display().to_string()))
        }
        _ => "a receipt".to_owned(),
    }
}

async fn flush(context: &Context, client: &Client) -> Outcome {
    let steps = Steps::new(&context.global);
    steps.begin("sending what waits");
    session::ready(client).await?;
    let report = client.flush_outbox_now().await;
    steps.end();
    let report = report?;
    if context.global.json {
        print_json(
            &json!({ "stored": report.stored, "failed": report.failed, "waiting": report.waiting }),
        )?;
    } else {
        let (stored, failed, waiting) = (report.stored, report.failed, report.waiting);
        print(&format!(
            "{stored} sent, {failed} given up, {waiting} still waiting"
        ))?;
    }
    Ok(if report.waiting > 0 {
        Exit::Kept
    } else {
        Exit::Done
    })
}

async fn drop_all(context: &Context, client: &Client, ids: &[String]) -> Outcome {
    for text in ids {
        let mut bytes = [0; 16];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| {
            Failure::new(
                Exit::Usage,
                format!("{text} is no message id: it has 32 hex digits"),
            )
        })?;
        if !client
            .drop_from_outbox(MessageId::from_bytes(bytes))
            .await?
        {
            return Err(Failure::new(
                Exit::NotFound,
                format!("{text} is not in the outbox"),
            ));
        }
        if context.global.json {
            print_json(&json!({ "dropped": text }))?;
        }
    }
    Ok(Exit::Done)
}
