//! `conet contact`: the contact book.

use clap::Subcommand;
use client::home::{Contact, Label};
use serde_json::json;
use wallet::{ContactUri, WalletAddress};

use crate::context::Context;
use crate::failure::{Context as _, Exit, Failure, Outcome};
use crate::screen::{print, print_json};

/// What `conet contact` can do.
#[derive(Debug, Subcommand)]
pub(crate) enum ContactCommand {
    /// Add somebody, or change what is known of them.
    Add {
        /// What to call them.
        name: Label,
        /// Their contact (conet:0x…?fp=…, as `conet wallet share` shows it) or their address.
        contact: String,
    },
    /// List all.
    List,
    /// Remove somebody.
    Remove {
        /// What they are called.
        name: String,
    },
}

/// Does one of them.
pub(crate) fn run(context: &Context, command: ContactCommand) -> Outcome {
    let home = context.home()?;
    match command {
        ContactCommand::Add { name, contact } => {
            let uri = read(&contact)?;
            home.add_contact(Contact {
                name: name.clone(),
                uri: uri.clone(),
            })?;
            if context.global.json {
                print_json(
                    &json!({ "name": name, "contact": uri.to_string(), "address": uri.wallet }),
                )?;
            } else if !context.global.quiet {
                print(&format!("{name} is {}", uri.wallet))?;
            }
        }
        ContactCommand::List => {
            let book = home.contacts()?;
            for Contact { name, uri } in book.contacts() {
                if context.global.json {
                    let blocked = book.is_blocked(&uri.wallet);
                    let contact = uri.to_string();
                    print_json(
                        &json!({ "name": name, "contact": contact, "address": uri.wallet, "blocked": blocked }),
                    )?;
                } else {
                    print(&format!("{name:<16} {uri}"))?;
                }
            }
        }
        ContactCommand::Remove { name } => {
            let removed = home.remove_contact(&name)?;
            if context.global.json {
                print_json(&json!({ "removed": removed.name, "address": removed.uri.wallet }))?;
            } else if !context.global.quiet {
                print(&format!("{} is removed", removed.name))?;
            }
        }
    }
    Ok(Exit::Done)
}

fn read(contact: &str) -> Outcome<ContactUri> {
    let contact = contact.trim();
    if contact.starts_with("0x") {
        let wallet: WalletAddress = contact.parse().context("this is no wallet address")?;
        return Ok(ContactUri {
            wallet,
            fingerprint: None,
            mailboxes: Vec::new(),
        });
    }
    contact.parse().map_err(|error| {
        Failure::from(error).in_context("this is neither a contact nor an address")
    })
}
