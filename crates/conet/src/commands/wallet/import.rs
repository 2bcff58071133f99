//! `conet wallet import`

use std::fs::File;
use std::io::{IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};

use clap::Args;
use client::home::{Home, Label, NewWallet, Source};
use serde_json::json;
use wallet::{Mnemonic, WalletKey, keystore};
use zeroize::Zeroizing;

use super::OpenPgp;
use super::new::{create, label_or_default};
use crate::context::Context;
use crate::failure::{Context as _, Exit, Failure, Outcome};
use crate::node_folder::cost_of;
use crate::screen::{print, print_json};

/// The longest file that is read, bytes: an export holds at most a contact book.
const MAX_BYTES: u64 = 32 << 20;
/// Environment variable with the passphrase of a mnemonic, for scripts.
const PASSPHRASE_VARIABLE: &str = "CONET_PASSPHRASE";

/// Arguments of `conet wallet import`.
///
/// Secrets come from a file, from stdin or from a prompt, never from the command line, where others could see them.
#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// File with words, a private key in hex, a Web3 keystore or an export; `-` for stdin [default: words from a prompt].
    #[arg(value_name = "FILE|-")]
    file: Option<PathBuf>,
    /// What to call it [default: as in the export, or main].
    #[arg(long)]
    label: Option<Label>,
    /// Which of the words' wallets (the last number of m/44'/60'/0'/0/i).
    #[arg(long, default_value_t = 0, value_name = "I")]
    index: u32,
    /// The words are used with a passphrase: ask for it, or take it from the variable CONET_PASSPHRASE.
    #[arg(long)]
    passphrase: bool,
    /// What its certificate is made of: as it was, or senders won't accept it.
    #[arg(long, value_enum, default_value_t = OpenPgp::V6)]
    openpgp: OpenPgp,
}

/// Brings a wallet in.
pub(super) async fn run(context: &Context, args: ImportArgs) -> Outcome {
    let home = context.home()?;
    let text = read(args.file.as_deref())?;
    let created = if Home::is_export(&text) {
        let password = context.password("the export")?;
        let (home, label) = (home.clone(), args.label);
        tokio::task::spawn_blocking(move || home.import(&text, label, &password)).await??
    } else {
        let label = label_or_default(args.label.clone())?;
        let (source, password) = source(context, &args, &label, text).await?;
        let new = NewWallet {
            label,
            source,
            kind: args.openpgp.into(),
            cost: cost_of(&password),
            password,
            restore: true,
        };
        create(&home, new).await?
    };
    let head = &created.head;
    if context.global.json {
        print_json(&json!({ "label": head.label, "address": head.address }))?;
    } else {
        print(&format!("wallet {} {}", head.label, head.address))?;
    }
    Ok(Exit::Done)
}

/// What the text is, and the password that the wallet gets.
async fn source(
    context: &Context,
    args: &ImportArgs,
    label: &Label,
    text: Zeroizing<String>,
) -> Outcome<(Source, Zeroizing<String>)> {
    let text = Zeroizing::new(text.trim().to_owned());
    if text.starts_with('{') {
        let password = context.password("the keystore")?;
        let (opened, again) = (password.clone(), text);
        let key = tokio::task::spawn_blocking(move || keystore::decrypt(&again, &opened)).await??;
        return Ok((Source::Key(key), password));
    }
    let source = if text.split_whitespace().count() > 1 {
        Source::Mnemonic(mnemonic(args, &text)?, args.index)
    } else {
        let mut secret = Zeroizing::new([0; 32]);
        hex::decode_to_slice(text.trim_start_matches("0x"), secret.as_mut_slice())
            .map_err(|_| unknown())?;
        Source::Key(WalletKey::from_bytes(*secret)?)
    };
    Ok((source, context.new_password(&format!("wallet {label}"))?))
}

fn mnemonic(args: &ImportArgs, words: &str) -> Outcome<Mnemonic> {
    if !args.passphrase {
        return Ok(Mnemonic::parse(words)?);
    }
    let passphrase = match std::env::var(PASSPHRASE_VARIABLE) {
        Ok(passphrase) => passphrase,
        Err(_) => rpassword::prompt_password("Passphrase of the words: ")
            .context("asking for the passphrase")?,
    };
    Ok(Mnemonic::parse_with_passphrase(
        words,
        &Zeroizing::new(passphrase),
    )?)
}

fn read(file: Option<&Path>) -> Outcome<Zeroizing<String>> {
    let mut bytes = Zeroizing::new(Vec::new());
    match file {
        None if std::io::stdin().is_terminal() => {
            return Ok(Zeroizing::new(rpassword::prompt_password(
                "The words, separated by spaces: ",
            )?));
        }
        None => {
            std::io::stdin().take(MAX_BYTES).read_to_end(&mut bytes)?;
        }
        Some(path) if path == Path::new("-") => {
            std::io::stdin().take(MAX_BYTES).read_to_end(&mut bytes)?;
        }
        Some(path) => {
            let file = File::open(path).context(path.display())?;
            file.take(MAX_BYTES)
                .read_to_end(&mut bytes)
                .context(path.display())?;
        }
    }
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(_) => Err(unknown()),
    }
}

fn unknown() -> Failure {
    Failure::error("this is neither words, nor a private key, a keystore or an export")
}
