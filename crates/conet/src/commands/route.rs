//! `conet route`: where packets for my wallet go.

use clap::{Args, Subcommand};
use client::Client;
use serde_json::json;
use wallet::{MAX_MAILBOXES, WalletAddress};

use crate::context::Context;
use crate::failure::{Exit, Failure, Outcome};
use crate::screen::{Steps, print, print_json};
use crate::session::{self, Settings};

/// What `conet route` can do.
#[derive(Debug, Subcommand)]
pub(crate) enum RouteCommand {
    /// Choose mailboxes and open accounts there; a mailbox puts the route on the ledger.
    Set(SetArgs),
    /// Show mailboxes, and whether the ledger knows.
    Show,
    /// Leave all mailboxes; within an hour nobody can write to the wallet any more.
    Clear,
}

/// Arguments of `conet route set`.
#[derive(Debug, Args)]
pub(crate) struct SetArgs {
    /// A node's address, at most three times and best first; or auto for one at random.
    #[arg(long, value_name = "auto|NODE", default_value = "auto")]
    mailbox: Vec<String>,
    /// Don't put the route on the ledger: only who has the wallet's contact can write to it.
    #[arg(long)]
    unlisted: bool,
}

/// Does one of them.
pub(crate) async fn run(context: &Context, command: RouteCommand) -> Outcome {
    let client = context.client(Settings::default()).await?;
    match command {
        RouteCommand::Set(args) => {
            let steps = Steps::new(&context.global);
            let done = set(&client, &args, &steps).await;
            steps.end();
            done?;
        }
        RouteCommand::Show => {}
        RouteCommand::Clear => client.clear_route().await?,
    }
    show(context, &client)
}

async fn set(client: &Client, args: &SetArgs, steps: &Steps) -> Outcome<()> {
    if args.mailbox.len() > MAX_MAILBOXES {
        return Err(Failure::new(
            Exit::Usage,
            format!("a wallet has at most {MAX_MAILBOXES} mailboxes"),
        ));
    }
    steps.begin("looking for the network");
    session::ready(client).await?;
    let mut mailboxes: Vec<WalletAddress> = Vec::new();
    for named in args.mailbox.iter().filter(|named| *named != "auto") {
        let node = named
            .parse()
            .map_err(|error| Failure::from(error).in_context(format!("{named} is no node")))?;
        if mailboxes.contains(&node) {
            return Err(Failure::new(Exit::Usage, format!("{node} is named twice")));
        }
        mailboxes.push(node);
    }
    steps.begin("opening the mailbox");
    // Those at random come after those that were named.
    client
        .fill_route(mailboxes, args.mailbox.len(), !args.unlisted)
        .await?;
    Ok(())
}

fn show(context: &Context, client: &Client) -> Outcome {
    let route = client.route()?;
    if context.global.json {
        print_json(&json!({
            "wallet": client.address(),
            "mailboxes": route.mailboxes,
            "announced": route.announced,
            "sequence": route.sequence,
            "listed": route.listed,
            "onLedger": route.on_ledger,
            "former": route.former,
        }))?;
        return Ok(Exit::Done);
    }
    print(&format!("wallet   {}", client.address()))?;
    if route.mailboxes.is_empty() {
        print("mailbox  none: conet route set --mailbox auto")?;
    }
    for mailbox in &route.mailboxes {
        let word = if route.announced.contains(mailbox) {
            ""
        } else {
            " (has not heard of it yet)"
        };
        print(&format!("mailbox  {mailbox}{word}"))?;
    }
    for mailbox in &route.former {
        print(&format!("former   {mailbox} (still collected from)"))?;
    }
    if route.mailboxes.is_empty() {
        return Ok(Exit::Done);
    }
    print(match (route.listed, route.on_ledger) {
        (true, true) => "ledger   knows the route",
        (true, false) => "ledger   does not know the route yet: conet listen goes on trying",
        (false, _) => "ledger   unlisted: share the wallet's contact with conet wallet share",
    })?;
    Ok(Exit::Done)
}
