//! The real binary with wallets and contacts, without a network.

#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

fn conet(home: &Path, password: &str, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_conet"))
        .arg("--home")
        .arg(home)
        .args(arguments)
        .env("CONET_PASSWORD", password)
        .output()
        .unwrap()
}

/// Runs it with `--json`; it must succeed with one line.
fn json(home: &Path, arguments: &[&str]) -> Value {
    let arguments: Vec<&str> = ["--json"]
        .into_iter()
        .chain(arguments.iter().copied())
        .collect();
    let output = conet(home, "", &arguments);
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A node whose log lay on a full disk ended with a panic, since `eprintln!` and the log itself panic where stderr
/// takes nothing.
#[test]
fn stderr_that_takes_nothing_changes_no_outcome() {
    let home = tempfile::tempdir().unwrap();
    let full = || std::fs::OpenOptions::new().write(true).open("/dev/full");
    let Ok(stderr) = full() else {
        return; // Linux has it.
    };
    let ended = Command::new(env!("CARGO_BIN_EXE_conet"))
        .arg("--home")
        .arg(home.path())
        .args(["wallet", "show", "nobody"])
        .stderr(stderr)
        .status()
        .unwrap();
    assert_eq!(ended.code(), Some(5), "there is no such wallet");

    let mut chain = Command::new(env!("CARGO_BIN_EXE_conet"))
        .args(["devnet", "chain", "--kind", "revm", "--block-time", "0"])
        .args(["--listen", "127.0.0.1:0", "--dir"])
        .arg(home.path().join("chain"))
        .env("CONET_LOG", "trace")
        .stdin(Stdio::piped())
        .stderr(full().unwrap())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(chain.try_wait().unwrap(), None, "it goes on");
    // It ends with its stdin.
    drop(chain.stdin.take());
    assert_eq!(chain.wait().unwrap().code(), Some(0));
}

#[test]
fn wallet_imported_from_its_words_is_the_same_wallet() {
    let (home, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let made = json(home.path(), &["wallet", "new", "alice"]);
    let words = other.path().join("words");
    std::fs::write(&words, made["mnemonic"].as_str().unwrap()).unwrap();
    let imported = json(
        other.path(),
        &["wallet", "import", words.to_str().unwrap(), "--label", "me"],
    );
    assert_eq!(imported["address"], made["address"]);
    let (shown, again) = (
        json(home.path(), &["wallet", "show"]),
        json(other.path(), &["wallet", "show", "me"]),
    );
    assert_eq!(shown["fingerprint"], again["fingerprint"]);
    assert_ne!(
        shown["keyIds"], again["keyIds"],
        "encryption keys are random and new"
    );
}

#[test]
fn wallet_exported_whole_brings_its_keys_and_contacts() {
    let (home, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    json(home.path(), &["wallet", "new", "alice"]);
    let friend = json(other.path(), &["wallet", "new", "friend"]);
    let uri = json(other.path(), &["wallet", "share"])["uri"].clone();
    json(
        home.path(),
        &["contact", "add", "bob", uri.as_str().unwrap()],
    );
    let bundle = home.path().join("bundle");
    let exported = conet(
        home.path(),
        "",
        &["wallet", "export", "--output", bundle.to_str().unwrap()],
    );
    assert!(exported.status.success());

    let third = tempfile::tempdir().unwrap();
    json(
        third.path(),
        &["wallet", "import", bundle.to_str().unwrap()],
    );
    let (shown, again) = (
        json(home.path(), &["wallet", "show"]),
        json(third.path(), &["wallet", "show", "alice"]),
    );
    assert_eq!(shown["keyIds"], again["keyIds"]);
    let contact = json(third.path(), &["contact", "list"]);
    assert_eq!(
        (&contact["name"], &contact["address"]),
        (&Value::from("bob"), &friend["address"])
    );
}

#[test]
fn keystore_of_a_wallet_opens_with_its_password_elsewhere() {
    let (home, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    assert!(
        conet(home.path(), "geheim", &["wallet", "new"])
            .status
            .success()
    );
    let keystore = other.path().join("keystore.json");
    let exported = conet(
        home.path(),
        "",
        &[
            "wallet",
            "export",
            "--keystore",
            "-o",
            keystore.to_str().unwrap(),
        ],
    );
    assert!(exported.status.success(), "{}", stderr(&exported));
    let file = keystore.to_str().unwrap();
    let wrong = conet(other.path(), "geheimer", &["wallet", "import", file]);
    assert_eq!(
        (wrong.status.code(), stderr(&wrong).as_str()),
        (Some(3), "error: wrong password\n")
    );
    assert!(
        conet(other.path(), "geheim", &["wallet", "import", file])
            .status
            .success()
    );
    assert_eq!(
        json(home.path(), &["wallet", "list"])["address"],
        json(other.path(), &["wallet", "list"])["address"]
    );
}

#[test]
fn certificate_of_each_kind_is_armored_openpgp() {
    let home = tempfile::tempdir().unwrap();
    for kind in ["v6", "v6-classic", "v4"] {
        json(home.path(), &["wallet", "new", kind, "--openpgp", kind]);
        let exported = conet(
            home.path(),
            "",
            &["wallet", "export", kind, "--certificate"],
        );
        let text = String::from_utf8(exported.stdout).unwrap();
        assert!(
            text.starts_with("-----BEGIN PGP PUBLIC KEY BLOCK-----\n"),
            "{text}"
        );
        assert!(
            text.ends_with("-----END PGP PUBLIC KEY BLOCK-----\n"),
            "{text}"
        );
    }
}

#[test]
fn discarded_wallet_is_gone_and_is_asked_for_first() {
    let home = tempfile::tempdir().unwrap();
    json(home.path(), &["wallet", "new", "alice"]);
    assert_eq!(
        conet(home.path(), "", &["wallet", "discard", "alice"])
            .status
            .code(),
        Some(3)
    );
    json(home.path(), &["wallet", "discard", "alice", "--yes"]);
    assert_eq!(
        conet(home.path(), "", &["wallet", "show"]).status.code(),
        Some(5)
    );
    assert_eq!(
        std::fs::read_dir(home.path().join("accounts"))
            .unwrap()
            .count(),
        0
    );
}

#[test]
fn block_list_is_kept_by_name_and_address() {
    let home = tempfile::tempdir().unwrap();
    let address = "0x00000000000000000000000000000000000000ab";
    json(home.path(), &["contact", "add", "mallory", address]);
    json(home.path(), &["block", "mallory"]);
    let listed = json(home.path(), &["block", "--list"]);
    assert_eq!(listed["name"], "mallory");
    json(home.path(), &["block", "--remove", address]);
    assert!(
        conet(home.path(), "", &["block", "--list"])
            .stdout
            .is_empty()
    );
}

#[test]
fn mistakes_have_their_exit_codes_and_say_what_to_do_in_one_line() {
    let home = tempfile::tempdir().unwrap();
    json(home.path(), &["wallet", "new", "alice"]);
    let cases: [(&[&str], i32, &str); 6] = [
        (
            &["--network", "nowhere", "send", "bob", "hi"],
            5,
            "there is no network nowhere here",
        ),
        (&["send", "bob", "hi"], 5, "conet devnet up"),
        (&["contact", "remove", "bob"], 5, "conet contact list"),
        (&["wallet", "new", "alice"], 1, "choose another label"),
        (&["devnet", "status"], 5, "conet devnet up"),
        (&["node", "run"], 5, "conet node init"),
    ];
    for (arguments, code, advice) in cases {
        let output = conet(home.path(), "", arguments);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
        assert!(
            text.contains(advice) && text.lines().count() == 1,
            "{arguments:?}: {text}"
        );
        assert!(output.stdout.is_empty());
    }
    assert_eq!(conet(home.path(), "", &["send"]).status.code(), Some(2));
    let output = conet(home.path(), "", &["--json", "contact", "remove", "bob"]);
    let error: Value = serde_json::from_str(&stderr(&output)).unwrap();
    assert_eq!(error["exit"], 5);
}

#[test]
fn password_is_never_asked_for_without_a_terminal() {
    let home = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_conet"))
        .arg("--home")
        .arg(home.path())
        .args(["wallet", "new"])
        .env_remove("CONET_PASSWORD")
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(
        stderr(&output).contains("--password-file"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn completions_know_the_commands() {
    let home = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let output = conet(home.path(), "", &["completions", shell]);
        assert!(
            String::from_utf8(output.stdout).unwrap().contains("devnet"),
            "{shell}"
        );
    }
}
