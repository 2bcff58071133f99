//! `conet wallet export`

use std::io::Write as _;
use std::path::PathBuf;

use clap::Args;

use crate::context::Context;
use crate::failure::{Context as _, Exit, Failure, Outcome};
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
    let which = args.which.as_deref();
    let text = if args.what.keystore {
        home.keystore(&context.wallet(&home, which)?)?.into()
    } else {
        let account = context.unlock(&home, which).await?;
        if args.what.mnemonic {
            let words = account.mnemonic()?;
            words.ok_or_else(|| {
                Failure::new(
                    Exit::NotFound,
                    "this wallet came without words: export its keystore",
                )
            })?
        } else if args.what.certificate {
            account.certificate()?.armored().into()
        } else if args.what.openpgp_secret {
            account.openpgp_secret()?
        } else {
            home.export(&account)?.into()
        }
    };
    match args.output {
        Some(path) => {
            write_private(&path, text.as_bytes()).context(path.display())?;
            if !context.global.quiet {
                eprintln!("written to {}", path.display());
            }
        }
        None => {
            let mut stdout = std::io::stdout().lock();
            stdout.write_all(text.trim_end().as_bytes())?;
            stdout.write_all(b"\n")?;
        }
    }
    Ok(Exit::Done)
}
