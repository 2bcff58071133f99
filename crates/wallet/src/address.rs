//! Wallet addresses.

use std::{fmt, str::FromStr};

use sha3::{Digest, Keccak256};

use crate::text_codec::{cbor_as_bytes, serde_as_text};

/// The EVM address of a wallet: 20 bytes, the last of the Keccak-256 of its public key.
///
/// Shown with the mixed-case checksum of EIP-55. Serde writes it as that text, CBOR as a byte string
/// of 20.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WalletAddress([u8; 20]);

/// Why a text is no wallet address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// The text does not begin with `0x`.
    #[error("an address begins with 0x")]
    MissingPrefix,
    /// The text is not 40 digits long.
    #[error("an address has 40 hexadecimal digits after 0x, this one has {digits}")]
    WrongLength {
        /// How many bytes follow the prefix.
        digits: usize,
    },
    /// The text holds something other than hexadecimal digits.
    #[error("an address has only hexadecimal digits after 0x")]
    NotHexadecimal,
    /// The text mixes cases, but not as EIP-55 says.
    #[error("the checksum of the address is wrong: check it for a typing error")]
    WrongChecksum,
}

impl WalletAddress {
    /// Wraps the 20 bytes of an address.
    pub const fn from_bytes(bytes: [u8; 20]) -> Self {
        Self(bytes)
    }

    /// The 20 bytes of the address.
    pub const fn as_bytes(&self) -> &[u8; 20] {
        &self.0
    }

    /// The 40 digits with the letter cases of EIP-55, without `0x`.
    fn checksummed_digits(&self) -> String {
        let digits = hex::encode(self.0);
        let hash = Keccak256::digest(digits.as_bytes());
        let nibbles = hash.iter().flat_map(|byte| [byte >> 4, byte & 0x0f]);
        digits
            .chars()
            .zip(nibbles)
            .map(|(digit, nibble)| {
                if nibble >= 8 {
                    digit.to_ascii_uppercase()
                } else {
                    digit
                }
            })
            .collect()
    }
}

impl fmt::Display for WalletAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("0x{}", self.checksummed_digits()))
    }
}

impl fmt::Debug for WalletAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for WalletAddress {
    type Err = AddressError;

    /// Reads `0x` and 40 digits, all lower case, all upper case or with the right EIP-55 checksum.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let digits = text.strip_prefix("0x").ok_or(AddressError::MissingPrefix)?;
        if digits.len() != 40 {
            return Err(AddressError::WrongLength {
                digits: digits.len(),
            });
        }
        let mut bytes = [0; 20];
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| AddressError::NotHexadecimal)?;
        let address = Self(bytes);
        let has_lower = digits.bytes().any(|digit| digit.is_ascii_lowercase());
        let has_upper = digits.bytes().any(|digit| digit.is_ascii_uppercase());
        if has_lower && has_upper && address.checksummed_digits() != digits {
            return Err(AddressError::WrongChecksum);
        }
        Ok(address)
    }
}

impl From<[u8; 20]> for WalletAddress {
    fn from(bytes: [u8; 20]) -> Self {
        Self(bytes)
    }
}

impl AsRef<[u8]> for WalletAddress {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

serde_as_text!(WalletAddress);
cbor_as_bytes!(WalletAddress, 20);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The example addresses of EIP-55.
    const EIP_55: [&str; 8] = [
        "0x52908400098527886E0F7030069857D2E4169EE7",
        "0x8617E340B3D01FA5F11F306F4090FD50E238070D",
        "0xde709f2102306220921060314715629080e2fb77",
        "0x27b1fdb04752bbc536007a920d24acb045561c26",
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
        "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
        "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
    ];

    #[test]
    fn address_of_eip_55_displays_as_published() {
        for text in EIP_55 {
            let address: WalletAddress = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
            let lower: WalletAddress = text.to_lowercase().parse().unwrap();
            assert_eq!(lower, address);
        }
    }

    #[test]
    fn address_with_one_wrong_case_is_refused() {
        let wrong = "0x5aaeb6053F3E94C9b9A09f33669435E7Ef1BeAed";
        assert_eq!(
            wrong.parse::<WalletAddress>(),
            Err(AddressError::WrongChecksum)
        );
    }

    #[test]
    fn address_without_prefix_or_length_or_digits_is_refused() {
        let bare = EIP_55[0].strip_prefix("0x").unwrap();
        assert_eq!(
            bare.parse::<WalletAddress>(),
            Err(AddressError::MissingPrefix)
        );
        assert_eq!(
            "0x12".parse::<WalletAddress>(),
            Err(AddressError::WrongLength { digits: 2 })
        );
        let odd = format!("0x{}", "g".repeat(40));
        assert_eq!(
            odd.parse::<WalletAddress>(),
            Err(AddressError::NotHexadecimal)
        );
    }

    #[test]
    fn address_in_cbor_is_a_byte_string_of_20() {
        let address = WalletAddress::from_bytes([7; 20]);
        let bytes = minicbor::to_vec(address).unwrap();
        assert_eq!(bytes[0], 0x54);
        assert_eq!(minicbor::decode::<WalletAddress>(&bytes).unwrap(), address);
        assert!(minicbor::decode::<WalletAddress>(&[0x41, 1]).is_err());
    }

    proptest! {
        #[test]
        fn address_in_every_accepted_case_round_trips(bytes: [u8; 20]) {
            let address = WalletAddress::from_bytes(bytes);
            let text = address.to_string();
            prop_assert_eq!(text.parse::<WalletAddress>(), Ok(address));
            let upper = format!("0x{}", hex::encode_upper(bytes));
            prop_assert_eq!(upper.parse::<WalletAddress>(), Ok(address));
            let json = serde_json::to_string(&address).unwrap();
            prop_assert_eq!(serde_json::from_str::<WalletAddress>(&json).unwrap(), address);
        }

        #[test]
        fn address_parser_survives_any_text(text in ".{0,64}") {
            let _ = text.parse::<WalletAddress>();
            let _ = format!("0x{text}").parse::<WalletAddress>();
        }
    }
}
