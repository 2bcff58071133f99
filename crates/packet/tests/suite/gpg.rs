//! Stock `gpg`: what it encrypts opens here, what is sealed here it decrypts and verifies.
//!
//! Passes without doing anything where `gpg` is not installed.

use std::{
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
};

use packet::{Verified, open, open_with, peek};
use tempfile::TempDir;
use wallet::CertificateKind;

use crate::people::{NOW_S, Person, draft};

/// A home of its own for gpg, with its agent stopped at the end.
struct Gpg(TempDir);

impl Gpg {
    /// `None` where there is no gpg.
    fn new() -> Option<Self> {
        let installed = Command::new("gpg")
            .arg("--version")
            .stdout(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        if !installed {
            eprintln!("gpg is not installed: nothing tested");
            return None;
        }
        // A short path: the agent's socket lies in it.
        let home = TempDir::with_prefix("g").unwrap();
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(home.path(), private).unwrap();
        Some(Self(home))
    }

    fn home(&self) -> &Path {
        self.0.path()
    }

    fn run(&self, arguments: &[&str], input: &[u8]) -> Output {
        let mut child = Command::new("gpg")
            .arg("--homedir")
            .arg(self.home())
            .args(["--batch", "--no-tty", "--trust-model", "always"])
            // The people of these tests live at their own time.
            .args(["--faked-system-time", &(NOW_S + 60).to_string()])
            .args(["--pinentry-mode", "loopback", "--passphrase", ""])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        let writer = std::thread::spawn(move || stdin.write_all(&input));
        let output = child.wait_with_output().unwrap();
        let _ = writer.join();
        assert!(
            output.status.success(),
            "gpg {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        output
    }

    fn import(&self, armored: &str) {
        self.run(&["--import"], armored.as_bytes());
    }
}

impl Drop for Gpg {
    fn drop(&mut self) {
        let _ = Command::new("gpgconf")
            .arg("--homedir")
            .arg(self.home())
            .args(["--kill", "all"])
            .status();
    }
}

#[test]
fn message_encrypted_by_gpg_opens() {
    let Some(gpg) = Gpg::new() else { return };
    let bob = Person::new(2, CertificateKind::V4);
    gpg.import(&bob.certificate().armored());
    let to = bob.certificate().fingerprint().to_string();
    let text = "hello from gpg\n".repeat(1_000);
    for options in [
        &[][..],
        &["--armor"],
        &["--compress-algo", "zip"],
        &["--compress-algo", "zlib", "--armor"],
        &["--rfc4880"],
    ] {
        let arguments = [options, &["--recipient", &to, "--encrypt"]].concat();
        let message = gpg.run(&arguments, text.as_bytes()).stdout;
        assert_eq!(peek(&message), Ok(bob.certificate().subkeys()[0].key_id));
        let opened = open(&message, &bob.secret).unwrap();
        assert_eq!(opened.body, text);
        assert_eq!(opened.verified, Verified::Unsigned);
        assert_eq!(opened.envelope, None);
    }
}

#[test]
fn message_signed_by_gpg_names_its_issuer_and_verifies_if_known() {
    let Some(gpg) = Gpg::new() else { return };
    let alice = Person::new(1, CertificateKind::V4);
    let bob = Person::new(2, CertificateKind::V4);
    gpg.import(&alice.secret.to_openpgp_armored());
    gpg.import(&bob.certificate().armored());
    let to = bob.certificate().fingerprint().to_string();
    let from = alice.certificate().fingerprint();
    for kind in [&["--sign"][..], &["--textmode", "--sign"]] {
        let user = from.to_string();
        let arguments = [
            &["--recipient", &to, "--local-user", &user][..],
            kind,
            &["--encrypt"],
        ]
        .concat();
        let message = gpg.run(&arguments, b"signed by gpg\n").stdout;
        let unknown = open(&message, &bob.secret).unwrap();
        assert_eq!(unknown.verified, Verified::Unsigned);
        assert_eq!(unknown.issuer, Some(from));
        let known = open_with(&message, &bob.secret, |asked| {
            (*asked == from).then(|| alice.certificate().clone())
        });
        assert_eq!(
            known.unwrap().verified,
            Verified::OpenPgp { fingerprint: from }
        );
    }
}

#[test]
fn message_sealed_here_is_decrypted_and_verified_by_gpg() {
    let Some(gpg) = Gpg::new() else { return };
    let alice = Person::new(1, CertificateKind::V4);
    let bob = Person::new(2, CertificateKind::V4);
    gpg.import(&alice.certificate().armored());
    gpg.import(&bob.secret.to_openpgp_armored());
    for length in [5, 5_000, 300_000] {
        let draft = draft("x".repeat(length));
        let packet = alice.seal(&draft, bob.certificate());
        let output = gpg.run(&["--status-fd", "2", "--decrypt"], packet.as_bytes());
        let envelope = packet::Envelope::decode(&output.stdout.into()).unwrap();
        assert_eq!(envelope.body, draft.body);
        let status = String::from_utf8_lossy(&output.stderr);
        for expected in ["DECRYPTION_OKAY", "GOODMDC", "GOODSIG", "VALIDSIG"] {
            assert!(status.contains(expected), "{expected} is missing: {status}");
        }
    }
}
