//! `conet block`: whose messages are dropped.

use clap::Args;
use serde_json::json;

use crate::context::Context;
use crate::failure::{Exit, Outcome};
use crate::screen::{print, print_json};

/// Arguments of `conet block`.
#[derive(Debug, Args)]
pub(crate) struct BlockArgs {
    /// Whom: an address, a contact or its name.
    #[arg(value_name = "WALLET|NAME", required_unless_present = "list")]
    whom: Option<String>,
    /// Don't drop their messages any longer.
    #[arg(long, requires = "whom")]
    remove: bool,
    /// List who is blocked.
    #[arg(long, conflicts_with_all = ["whom", "remove"])]
    list: bool,
}

/// Blocks, unblocks or lists.
pub(crate) fn run(context: &Context, args: &BlockArgs) -> Outcome {
    let home = context.home()?;
    let Some(whom) = &args.whom else {
        let book = home.contacts()?;
        for wallet in book.blocked() {
            let name = book.of(wallet).map(|contact| contact.name.as_str());
            if context.global.json {
                print_json(&json!({ "address": wallet, "name": name }))?;
            } else {
                print(&format!("{wallet} {}", name.unwrap_or_default()))?;
            }
        }
        return Ok(Exit::Done);
    };
    let wallet = home.recipient(whom)?.wallet;
    home.block(wallet, !args.remove)?;
    if context.global.json {
        print_json(&json!({ "address": wallet, "blocked": !args.remove }))?;
    } else if !context.global.quiet {
        let word = if args.remove {
            "no longer blocked"
        } else {
            "blocked: what they send is dropped"
        };
        print(&format!("{wallet} is {word}"))?;
    }
    Ok(Exit::Done)
}
