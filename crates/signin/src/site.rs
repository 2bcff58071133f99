//! A wallet for each site, so that no two sites can tell that their visitors are one person.

use protocol::target::HostName;
use wallet::WalletKey;

/// Tries to find a secret in the range of secp256k1. Already the second is needed once in 2^128.
const MAX_TRIES: u32 = 4;

/// Derives the wallet that a person shows to one site.
///
/// The same person and host name always give the same one; nobody without the person's wallet can tell that two of them
/// belong together, or to whom. Source: `docs/wire-format.md`, section 13.
#[must_use]
pub fn site_wallet(person: &WalletKey, site: &HostName) -> WalletKey {
    let infos = (0..MAX_TRIES).map(|attempt| match attempt {
        0 => format!("signin/site/{}", site.as_str()),
        again => format!("signin/site/{}/{again}", site.as_str()),
    });
    let mut found = infos.filter_map(|info| WalletKey::from_bytes(*person.derive(&info)).ok());
    #[expect(clippy::expect_used, reason = "fails once in 2^512")]
    found.next().expect("one of four numbers is in range")
}
