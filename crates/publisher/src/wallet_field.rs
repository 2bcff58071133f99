//! The field by which a server learns who asks. Only a publisher may say so.

use http::header::{HeaderMap, HeaderName, HeaderValue};
use wallet::WalletAddress;

/// The field: the wallet that signed the request, with the checksum of EIP-55. Where nobody signed it is not there.
pub const CONET_WALLET: HeaderName = HeaderName::from_static("conet-wallet");
/// Its letters, to which servers of many kinds reduce a name: CGI and WSGI take `_` for `-`, others more.
const LETTERS: &[u8] = b"conetwallet";

/// Removes the field in whatever spelling a server could take for it, and puts the true one in.
pub(crate) fn set(fields: &mut HeaderMap, wallet: Option<WalletAddress>) {
    let spelled = fields.keys().filter(|name| is_spelled_alike(name));
    for name in spelled.cloned().collect::<Vec<_>>() {
        fields.remove(name);
    }
    if let Some(wallet) = wallet
        && let Ok(value) = HeaderValue::try_from(wallet.to_string())
    {
        fields.insert(CONET_WALLET, value);
    }
}

fn is_spelled_alike(name: &HeaderName) -> bool {
    let letters = name.as_str().bytes().filter(u8::is_ascii_alphanumeric);
    letters.eq(LETTERS.iter().copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn field_of_a_caller_is_removed_in_every_spelling() {
        let mut fields = HeaderMap::new();
        for name in [
            "Conet-Wallet",
            "conet_wallet",
            "CONET-WALLET",
            "ConetWallet",
            "conet--wallet",
            "-conet.wallet_",
        ] {
            let name: HeaderName = name.parse().unwrap();
            fields.append(name, HeaderValue::from_static("0x1"));
        }
        fields.append("conet-wallets", HeaderValue::from_static("kept"));
        set(&mut fields, None);
        assert_eq!(fields.len(), 1);
        let wallet = WalletAddress::from_bytes([0xab; 20]);
        fields.append(CONET_WALLET, HeaderValue::from_static("0x1"));
        set(&mut fields, Some(wallet));
        let values: Vec<_> = fields.get_all(CONET_WALLET).iter().collect();
        assert_eq!(values, [&wallet.to_string()]);
    }
}
