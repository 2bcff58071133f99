//! `conet wallet export`

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use zeroize::Zeroizing;

use crate::context::Context;
use crate::failure::{Context as _, Exit, Failure, Outcome};
use crate::screen::{print, print_json, tell};
use crate::sealed_file::write_private;

/// Arguments of `conet wallet export`.
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// The wallet's label or address [default: that of --wallet].
    #[arg(value_name = "WALLET")]
    which: Option<String>,
    #[command(flatten)]
    what: What,
    /// Write into this file, which only you can read, instead of stdout.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// What to export; all of it, if nothing is said.
#[derive(Debug, Args)]
#[group(multiple = false)]
struct What {
    /// The words that the wallet comes from, readable by whoever sees them.
    #[arg(long)]
    mnemonic: bool,
    /// Its key as Web3 keystore, under the wallet's password.
    #[arg(long)]
    keystore: bool,
    /// Its public OpenPGP certificate, armored, to write to it with gpg and others.
    #[arg(long)]
    certificate: bool,
    /// Its secret OpenPGP key, armored and under no password, to read with gpg and others.
    #[arg(long)]
    openpgp_secret: bool,
}

/// Exports.
pub(super) async fn run(context: &Context, args: ExportArgs) -> Outcome {
    let home = context.home()?;
    let head = context.wallet(&home, args.which.as_deref())?;
    let what = args.what;
    let (name, text): (_, Zeroizing<String>) = if what.keystore {
        ("keystore", home.keystore(&head)?.into())
    } else {
        let account = context.unlock(&home, args.which.as_deref()).await?;
        if what.mnemonic {
            let words = account.mnemonic()?.ok_or_else(|| {
                Failure::new(
                    Exit::NotFound,
                    "this wallet came without words: export its keystore",
                )
            })?;
            ("mnemonic", words)
        } else if what.certificate {
            ("certificate", account.certificate()?.armored().into())
        } else if what.openpgp_secret {
            ("openpgpSecret", account.openpgp_secret()?)
        } else {
            ("export", home.export(&account)?.into())
        }
    };
    let mut told = serde_json::Map::new();
    told.insert("label".to_owned(), json!(head.label));
    told.insert("address".to_owned(), json!(head.address));
    match args.output {
        Some(path) => {
            write_private(&path, text.as_bytes()).context(path.display())?;
            if context.global.json {
                told.insert("file".to_owned(), json!(std::path::absolute(&path)?));
                print_json(&told.into())?;
            } else if !context.global.quiet {
                tell(format_args!("written to {}", path.display()));
            }
        }
        None if context.global.json => {
            // What is JSON already stays readable as such.
            let value = serde_json::from_str(&text).unwrap_or_else(|_| json!(text.as_str()));
            told.insert(name.to_owned(), value);
            print_json(&told.into())?;
        }
        None => print(text.trim_end())?,
    }
    Ok(Exit::Done)
}
