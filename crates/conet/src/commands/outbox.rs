//! `conet outbox`: what waits to be sent.

use clap::Subcommand;
use client::history::{HistoryEntry, MessageStatus};
use client::receive::Body;
use client::{Client, MAX_HISTORY_READ};
use serde_json::json;

use crate::context::Context;
use crate::failure::{Exit, Outcome};
use crate::moment;
use crate::screen::{Steps, one_line, print, print_json};
use crate::session::{self, Settings};

/// What `conet outbox` can do.
#[derive(Debug, Subcommand)]
pub(crate) enum OutboxCommand {
    /// List what waits.
    List,
    /// Try to send all of it now.
    Flush,
}

/// Does one of them.
pub(crate) async fn run(context: &Context, command: OutboxCommand) -> Outcome {
    let client = context.client(Settings::default()).await?;
    match command {
        OutboxCommand::List => list(context, &client).await,
        OutboxCommand::Flush => flush(context, &client).await,
    }
}

async fn list(context: &Context, client: &Client) -> Outcome {
    let history = client.history(None, MAX_HISTORY_READ).await?;
    for entry in history
        .iter()
        .filter(|entry| entry.status == MessageStatus::Waiting)
    {
        let HistoryEntry {
            id,
            peer,
            time_ms,
            body,
            ..
        } = entry;
        let what = match body {
            Body::Text(text) => one_line(text).chars().take(60).collect(),
            Body::File(file) => format!("{} ({} bytes)", file.name, file.size),
            _ => String::new(),
        };
        if context.global.json {
            let time = moment::rfc3339(*time_ms);
            print_json(
                &json!({ "id": id.to_string(), "to": peer.wallet, "time": time, "what": what }),
            )?;
        } else {
            let to = peer
                .wallet
                .map(|wallet| wallet.to_string())
                .unwrap_or_default();
            let to = peer.name.as_ref().unwrap_or(&to);
            print(&format!("{id}  {}  {to}: {what}", moment::short(*time_ms)))?;
        }
    }
    Ok(Exit::Done)
}

async fn flush(context: &Context, client: &Client) -> Outcome {
    let steps = Steps::new(context.global.quiet);
    steps.begin("sending what waits");
    session::ready(client).await?;
    let report = client.flush_outbox().await;
    steps.end();
    let report = report?;
    if context.global.json {
        print_json(
            &json!({ "stored": report.stored, "failed": report.failed, "waiting": report.waiting }),
        )?;
    } else {
        print(&format!(
            "{} sent, {} given up, {} still waiting",
            report.stored, report.failed, report.waiting
        ))?;
    }
    Ok(if report.waiting > 0 {
        Exit::Kept
    } else {
        Exit::Done
    })
}
