//! Stock `gpg` and our v4 certificates; each test passes at once where there is no `gpg`.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "openpgp_support/openpgp.rs"]
mod openpgp;

use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output, Stdio};

use pgp::composed::{Message, MessageBuilder};
use pgp::crypto::sym::SymmetricKeyAlgorithm;
use rand::SeedableRng;
use rand::rngs::StdRng;
use wallet::{Certificate, CertificateKind};

use openpgp::{create, open, wallet};

/// A home of its own for `gpg`; its agent ends with it.
struct Gpg {
    home: tempfile::TempDir,
}

impl Gpg {
    /// `None` where there is no `gpg`.
    fn new() -> Option<Self> {
        let home = tempfile::Builder::new()
            .permissions(Permissions::from_mode(0o700))
            .tempdir()
            .unwrap();
        let gpg = Self { home };
        gpg.command("gpg", &["--version"]).output().ok()?;
        Some(gpg)
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .env("GNUPGHOME", self.home.path())
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn run(&self, arguments: &[&str], input: &[u8]) -> Vec<u8> {
        let fixed = ["--batch", "--no-tty", "--trust-model", "always"];
        let mut child = self
            .command("gpg", &[&fixed[..], arguments].concat())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let Output {
            status,
            stdout,
            stderr,
        } = child.wait_with_output().unwrap();
        assert!(
            status.success(),
            "gpg {arguments:?}: {}",
            String::from_utf8_lossy(&stderr)
        );
        stdout
    }
}

impl Drop for Gpg {
    fn drop(&mut self) {
        let _ = self.command("gpgconf", &["--kill", "all"]).output();
    }
}

#[test]
fn v4_certificate_is_imported_by_gpg_which_encrypts_to_it() {
    let Some(gpg) = Gpg::new() else { return };
    let secret = create(CertificateKind::V4, 1);
    let certificate = secret.certificate();
    gpg.run(&["--import"], certificate.armored().as_bytes());

    // gpg takes a bare 0x… for a fingerprint, so the user ID is named exactly.
    let by_user_id = format!("={}", wallet().address());
    let by_fingerprint = certificate.fingerprint().to_string();
    for recipient in [by_user_id, by_fingerprint] {
        let sealed = gpg.run(&["--encrypt", "-r", &recipient], b"from gpg");
        let subkey = certificate.end_to_end_subkey();
        assert_eq!(open(&secret, subkey, &sealed).unwrap(), b"from gpg");
    }
}

#[test]
fn v4_certificate_that_gpg_exports_is_read() {
    let Some(gpg) = Gpg::new() else { return };
    let secret = create(CertificateKind::V4, 1);
    gpg.run(&["--import"], &secret.certificate().to_bytes());
    for arguments in [&["--export"][..], &["--export", "--armor"]] {
        let exported = gpg.run(arguments, b"");
        let certificate = Certificate::parse(&exported).unwrap();
        assert_eq!(
            certificate.fingerprint(),
            secret.certificate().fingerprint()
        );
        assert_eq!(certificate.subkeys(), secret.certificate().subkeys());
        assert_eq!(certificate.wallet(), Some(wallet().address()));
    }
}

#[test]
fn v4_secret_key_in_gpg_opens_and_signs() {
    let Some(gpg) = Gpg::new() else { return };
    let mut secret = create(CertificateKind::V4, 1);
    let old = secret.certificate().clone();
    let mut rng = StdRng::seed_from_u64(2);
    secret.rotate(openpgp::NOW_S, &mut rng).unwrap();
    gpg.run(&["--import"], secret.to_openpgp_armored().as_bytes());

    for certificate in [&old, secret.certificate()] {
        let mut builder = MessageBuilder::from_bytes("", &b"to gpg"[..])
            .seipd_v1(&mut rng, SymmetricKeyAlgorithm::AES256);
        builder
            .encrypt_to_key(&mut rng, certificate.end_to_end_subkey())
            .unwrap();
        let sealed = builder.to_vec(&mut rng).unwrap();
        let opened = gpg.run(&["--decrypt"], &sealed);
        assert_eq!(opened, b"to gpg");
    }
    let signed = gpg.run(&["--sign"], b"signed by gpg");
    let mut message = Message::from_bytes(signed.as_slice()).unwrap();
    if message.is_compressed() {
        message = message.decompress().unwrap();
    }
    assert_eq!(message.as_data_vec().unwrap(), b"signed by gpg");
    let primary = &secret.certificate().as_openpgp().primary_key;
    message.verify(primary).unwrap();
}
