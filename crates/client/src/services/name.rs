//! What people call services, and the wallets that it stands for.

use ledger::{Name, NameError, ResolveError};
use protocol::target::HostName;
use wallet::WalletAddress;

use crate::network::Network;

/// Letters of an address with its `0x`.
const ADDRESS_CHARS: usize = 42;

/// Why a host name leads to no wallet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceNameError {
    /// It can be no name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The name says no wallet.
    #[error(transparent)]
    Unresolved(#[from] ResolveError),
}

impl Network {
    /// The wallet whose services a host name below `.conet` stands for: a name of the ledger, or an address, as in
    /// `0x….conet`. Nobody is asked.
    ///
    /// # Errors
    /// [`ServiceNameError`] says why it stands for none.
    ///
    /// # Security
    /// A host name that is not how its name is written is refused, and not brought into a normal form.
    pub async fn resolve_service(
        &self,
        host: &HostName,
    ) -> Result<WalletAddress, ServiceNameError> {
        if let Some(wallet) = wallet_of(host.as_str()) {
            return Ok(wallet);
        }
        let name = Name::of_host(host.as_str())?;
        Ok(self.resolve(&name).await?)
    }
}

/// The wallet of `0x….conet`; none of another name.
fn wallet_of(host: &str) -> Option<WalletAddress> {
    let label = host.strip_suffix(".conet")?;
    let is_address = label.len() == ADDRESS_CHARS && label.starts_with("0x");
    // A host name is in small letters, which are no checksum.
    is_address.then(|| label.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_below_conet_is_read_and_what_only_begins_so_is_a_name() {
        let host = "0x00000000000000000000000000000000000000ff.conet";
        let mut bytes = [0; 20];
        bytes[19] = 0xff;
        assert_eq!(wallet_of(host), Some(WalletAddress::from_bytes(bytes)));
        for host in [
            "0x00000000000000000000000000000000000000f.conet",
            "0x00000000000000000000000000000000000000fg.conet",
            "www.0x00000000000000000000000000000000000000ff.conet",
            "0x00000000000000000000000000000000000000ff.conet.example",
            "shop.conet",
        ] {
            assert_eq!(wallet_of(host), None, "{host}");
        }
    }
}
