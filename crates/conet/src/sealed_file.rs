//! A secret on disk, encrypted under a key that only its owner's wallet gives.
//!
//! Format: version 1 (1 byte), nonce (12 bytes), AES-256-GCM ciphertext with its tag.

use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rand::RngCore as _;
use rand::rngs::OsRng;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use wallet::WalletKey;
use zeroize::Zeroizing;

const VERSION: u8 = 1;
/// The longest file that is read, bytes: a secret certificate takes a few KiB.
const MAX_BYTES: u64 = 512 * 1024;

/// Encrypts `content` under `key` for that `purpose` and writes it, whole or not at all.
pub(crate) fn write(path: &Path, content: &[u8], key: &WalletKey, purpose: &str) -> io::Result<()> {
    let mut nonce = [0; NONCE_LEN];
    OsRng.fill_bytes(&mut nonce);
    let mut sealed = content.to_vec();
    cipher(key, purpose)?
        .seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from([VERSION]),
            &mut sealed,
        )
        .map_err(|_| io::Error::other("encryption failed"))?;
    let mut bytes = vec![VERSION];
    bytes.extend(nonce);
    bytes.extend(sealed);
    write_private(path, &bytes)
}

/// Reads what [`write()`] wrote.
pub(crate) fn read(path: &Path, key: &WalletKey, purpose: &str) -> io::Result<Zeroizing<Vec<u8>>> {
    let damaged = || {
        io::Error::new(
            io::ErrorKind::InvalidData,
            "the file is damaged or of another wallet",
        )
    };
    let mut bytes = Zeroizing::new(Vec::new());
    fs::File::open(path)?
        .take(MAX_BYTES)
        .read_to_end(&mut bytes)?;
    let (head, sealed) = bytes
        .split_at_mut_checked(1 + NONCE_LEN)
        .ok_or_else(damaged)?;
    let (version, nonce) = head.split_first().ok_or_else(damaged)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| damaged())?;
    let opened = cipher(key, purpose)?.open_in_place(nonce, Aad::from([*version]), sealed);
    opened
        .map(|content| Zeroizing::new(content.to_vec()))
        .map_err(|_| damaged())
}

fn cipher(key: &WalletKey, purpose: &str) -> io::Result<LessSafeKey> {
    let key = key.derive(purpose);
    let key = UnboundKey::new(&AES_256_GCM, key.as_slice())
        .map_err(|_| io::Error::other("no such key"))?;
    Ok(LessSafeKey::new(key))
}

/// Writes a file that only its owner may read, whole or not at all.
pub(crate) fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let temporary = Path::new(&name);
    let written = (|| {
        let _ = fs::remove_file(temporary);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(temporary)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(temporary, path)
    })();
    if written.is_err() {
        let _ = fs::remove_file(temporary);
    }
    written
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn sealed_file_opens_for_its_wallet_and_purpose_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let (mine, other) = (
            WalletKey::generate(&mut OsRng),
            WalletKey::generate(&mut OsRng),
        );
        write(&path, b"content", &mine, "a").unwrap();
        assert_eq!(read(&path, &mine, "a").unwrap().as_slice(), b"content");
        assert!(read(&path, &other, "a").is_err());
        assert!(read(&path, &mine, "b").is_err());
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        fs::write(&path, [VERSION; 5]).unwrap();
        assert!(read(&path, &mine, "a").is_err());
    }
}
