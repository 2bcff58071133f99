//! The secrets of a node on disk.

use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use node::NodeKeys;
use rand::rngs::OsRng;
use wallet::keystore::{self, ScryptCost};
use wallet::{CertificateKind, SecretCertificate, WalletKey};

use crate::failure::{Context as _, Failure, Outcome};
use crate::sealed_file;

const WALLET: &str = "wallet.json";
const CERTIFICATE: &str = "certificate";
/// What the certificate file's key is derived for.
const PURPOSE: &str = "node/certificate-file";

/// Makes a node's wallet and certificate and writes both.
pub(super) fn create(folder: &Path, password: &str) -> Outcome<NodeKeys> {
    let wallet = WalletKey::generate(&mut OsRng);
    let now_s = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    // Layers are sealed to the X25519 subkey: its packets are small, and their content is short-lived.
    let certificate =
        SecretCertificate::create(&wallet, CertificateKind::V6Classic, now_s, &mut OsRng)?;
    let cost = cost_of(password);
    let keystore = keystore::encrypt(&wallet, password, cost, &mut OsRng)?;
    sealed_file::write_private(&folder.join(WALLET), keystore.as_bytes())?;
    sealed_file::write(
        &folder.join(CERTIFICATE),
        &certificate.to_bytes(),
        &wallet,
        PURPOSE,
    )?;
    Ok(NodeKeys {
        wallet,
        certificate,
    })
}

/// Opens the secrets of the node in that folder.
pub(crate) fn unlock(folder: &Path, password: &str) -> Outcome<NodeKeys> {
    let path = folder.join(WALLET);
    let keystore = fs::read_to_string(&path).context(path.display())?;
    let wallet = keystore::decrypt(&keystore, password).context(path.display())?;
    let path = folder.join(CERTIFICATE);
    let certificate = sealed_file::read(&path, &wallet, PURPOSE).context(path.display())?;
    let certificate = SecretCertificate::from_bytes(&certificate).context(path.display())?;
    if certificate.certificate().wallet() != Some(wallet.address()) {
        return Err(Failure::error(format!(
            "{} is of another wallet",
            path.display()
        )));
    }
    Ok(NodeKeys {
        wallet,
        certificate,
    })
}

/// What is under an empty password is not worth a second of work.
pub(crate) fn cost_of(password: &str) -> ScryptCost {
    if password.is_empty() {
        ScryptCost::Light
    } else {
        ScryptCost::Standard
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_keys_come_back_with_their_password_only() {
        let folder = tempfile::tempdir().unwrap();
        let made = create(folder.path(), "").unwrap();
        let read = unlock(folder.path(), "").unwrap();
        assert_eq!(read.wallet.address(), made.wallet.address());
        assert_eq!(read.transport_key(), made.transport_key());
        assert!(unlock(folder.path(), "guess").is_err());
    }

    #[test]
    fn node_certificate_fits_the_ledger() {
        let folder = tempfile::tempdir().unwrap();
        let keys = create(folder.path(), "").unwrap();
        let bytes = keys.certificate.certificate().to_bytes();
        assert!(
            bytes.len() <= ledger::MAX_NODE_CERTIFICATE_BYTES,
            "{}",
            bytes.len()
        );
    }
}
