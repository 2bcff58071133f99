//! `conet chat`: a conversation on the terminal.
//!
//! [`conversation`] is what was said and how far it has come; [`dispatch`] sends in order without waiting;
//! [`hearing`] hears what comes, by listening, or by reading the history where another process listens.
//! [`screen`] shows it all on a terminal, [`plain`] line by line where there is none.

mod conversation;
mod dispatch;
mod entry_line;
mod hearing;
mod plain;
mod screen;

use std::path::PathBuf;

use clap::Args;

use super::send::PrivacyLevel;
use crate::context::Context;
use crate::failure::{Context as _, Outcome};
use crate::names::Names;
use crate::screen::is_terminal;
use crate::session::Settings;
use conversation::Conversation;
use dispatch::Dispatch;
use hearing::Hearing;

/// Lines of the past that are shown.
const HISTORY_LINES: u32 = 500;

/// Arguments of `conet chat`.
#[derive(Debug, Args)]
pub(crate) struct ChatArgs {
    /// With whom: an address, a contact (conet:0x…), the name of a contact or the label of an own wallet.
    #[arg(value_name = "WALLET|NAME")]
    with: String,
    /// Where to put files [default: received in the wallet's folder of the home].
    #[arg(long, value_name = "DIR")]
    save: Option<PathBuf>,
    /// How much of the path is hidden.
    #[arg(long, value_enum, default_value_t = PrivacyLevel::Relayed)]
    privacy: PrivacyLevel,
    /// Don't tell contacts that their messages have come.
    #[arg(long)]
    no_receipts: bool,
}

/// Chats until the user leaves.
pub(crate) async fn run(context: &Context, args: &ChatArgs) -> Outcome {
    let settings = Settings {
        privacy: args.privacy.known()?,
        receipts: !args.no_receipts,
    };
    let client = context.client(settings).await?;
    let with = client.whom(&args.with).await?;
    let save = args
        .save
        .as_ref()
        .map(|dir| std::path::absolute(dir).context(dir.display()))
        .transpose()?;
    let past = client.history(Some(&with), HISTORY_LINES).await?;
    let names = Names::of(client.home())?;
    let conversation = Conversation::new(&with, client.account().head().label.as_str(), past);
    let hearing = Hearing::begin(&client, &with, save, names).await?;
    let dispatch = Dispatch::start(client, with);
    if is_terminal() && !context.global.json {
        screen::run(conversation, hearing, dispatch).await
    } else {
        plain::run(context, conversation, hearing, dispatch).await
    }
}
