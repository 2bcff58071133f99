//! Who the person is to services of the network: which wallet signs requests, and for whom.

use std::sync::Arc;

use clap::Args;
use client::home::Home;
use gateway::{DEFAULT_MAX_SPOOLED_BYTES, Signer, SiteIdentity};
use protocol::target::HostName;

use crate::context::Context;
use crate::failure::Outcome;
use crate::screen::notice;

/// What the names of services end with.
const SERVICES: &str = ".conet";

/// Arguments of `conet proxy` on requests without login.
#[derive(Debug, Args)]
pub(super) struct SignInArgs {
    /// Sign requests to services by wallets that derive from this one [default: that of `--wallet`, else the first]. Each
    /// service sees another.
    #[arg(long = "as", value_name = "WALLET")]
    wallet: Option<String>,
    /// Sign nothing for these services: names, separated by commas. `*` means all.
    #[arg(long, value_name = "SITE,…", value_delimiter = ',', value_parser = site)]
    no_sign: Vec<Site>,
    /// Show these services the wallet itself, so that they know who comes.
    #[arg(long, value_name = "SITE,…", value_delimiter = ',', value_parser = site)]
    sign_as_me: Vec<Site>,
}

/// What `--no-sign` and `--sign-as-me` name.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Site {
    All,
    One(HostName),
}

/// Makes who signs. Nobody does where that was asked for, or where no wallet is at hand: the proxy works without one.
pub(super) async fn signer(
    context: &Context,
    home: &Home,
    chain_id: u64,
    args: SignInArgs,
) -> Outcome<Option<Arc<Signer>>> {
    if args.no_sign.contains(&Site::All) {
        return Ok(None);
    }
    let named = args.wallet.as_deref();
    if named.is_none() && !is_open(context, home)? {
        notice(
            context,
            "requests to services are not signed: no wallet is at hand without a password; --as WALLET asks for it",
        );
        return Ok(None);
    }
    let account = context.unlock(home, named).await?;
    let folder = context.home_path().to_owned();
    let mut signer =
        Signer::new(account.key().clone(), chain_id).with_spool(folder, DEFAULT_MAX_SPOOLED_BYTES);
    let nobody = args
        .no_sign
        .into_iter()
        .map(|site| (site, SiteIdentity::Nobody));
    let me = args
        .sign_as_me
        .into_iter()
        .map(|site| (site, SiteIdentity::Person));
    // What is named as both is not signed.
    for (site, identity) in me.chain(nobody) {
        signer = match site {
            Site::One(site) => signer.with_identity(site, identity),
            Site::All => signer.with_default(identity),
        };
    }
    Ok(Some(Arc::new(signer)))
}

/// Whether the wallet that is meant can be unlocked without asking anybody.
fn is_open(context: &Context, home: &Home) -> Outcome<bool> {
    let Ok(head) = context.wallet(home, None) else {
        // One that was named and is not there is an error; none at all is not.
        return match context.global.wallet {
            Some(_) => context.wallet(home, None).map(|_| true),
            None => Ok(false),
        };
    };
    Ok(head.password_is_empty || context.given_password()?.is_some())
}

/// Reads the name of a service, with or without `.conet`.
fn site(text: &str) -> Result<Site, String> {
    if text == "*" {
        return Ok(Site::All);
    }
    let name: HostName = text
        .parse()
        .or_else(|_| format!("{text}{SERVICES}").parse())
        .map_err(|error| format!("{error}"))?;
    match name.as_str() {
        whole if whole.ends_with(SERVICES) => Ok(Site::One(name)),
        label if !label.contains('.') => {
            let name = format!("{label}{SERVICES}").parse();
            name.map(Site::One).map_err(|error| format!("{error}"))
        }
        _ => Err("only services of the network are signed for: NAME.conet".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn site_is_named_with_or_without_its_ending() {
        let notes = || Ok(Site::One("notes.conet".parse().unwrap()));
        assert_eq!(site("notes"), notes());
        assert_eq!(site("Notes.Conet"), notes());
        assert_eq!(site("*"), Ok(Site::All));
        let address = "0x0102030405060708090a0b0c0d0e0f1011121314";
        let named = format!("{address}.conet");
        assert_eq!(site(address), Ok(Site::One(named.parse().unwrap())));
        for text in ["", "example.org", "a b", "notes.conet:80"] {
            assert!(site(text).is_err(), "{text}");
        }
    }
}
