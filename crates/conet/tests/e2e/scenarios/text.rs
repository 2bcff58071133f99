//! Text messages.

use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};

use crate::devnet::{CONET, Devnet};
use crate::person::Person;

pub(super) fn demo_wallets_talk(devnet: &Devnet) -> Result<()> {
    let conet = |arguments: &[&str]| {
        std::process::Command::new(CONET)
            .arg("--home")
            .arg(devnet.home())
            .args(arguments)
            .env_remove("CONET_HOME")
            .stdin(Stdio::null())
            .output()
    };
    let sent = conet(&["--wallet", "alice", "send", "bob", "hi"])?;
    ensure!(
        sent.status.success(),
        "{}",
        String::from_utf8_lossy(&sent.stderr)
    );
    let heard = conet(&["--wallet", "bob", "listen", "--once", "--json"])?;
    let text = String::from_utf8_lossy(&heard.stdout);
    ensure!(
        text.contains("\"hi\""),
        "bob heard: {text}{}",
        String::from_utf8_lossy(&heard.stderr)
    );
    Ok(())
}

pub(super) fn offline(devnet: &Devnet) -> Result<()> {
    let (alice, bob) = (Person::careful(devnet)?, Person::careful(devnet)?);
    let mut ids = Vec::new();
    for n in 0..5 {
        ids.push(alice.send(&bob.address, &format!("number {n}"), &[])?);
    }
    let heard = bob.listen_once(&[])?;
    let texts: Vec<_> = heard.iter().filter_map(|e| e["text"].as_str()).collect();
    ensure!(
        texts == ["number 0", "number 1", "number 2", "number 3", "number 4"],
        "{heard:?}"
    );
    for (event, id) in heard.iter().filter(|e| e["text"].is_string()).zip(&ids) {
        ensure!(
            event["id"] == **id && event["verified"] == "wallet",
            "{event}"
        );
        ensure!(
            event["from"]
                .as_str()
                .is_some_and(|f| f.eq_ignore_ascii_case(&alice.address)),
            "{event}"
        );
    }
    let again = bob.listen_once(&[])?;
    ensure!(
        !again.iter().any(|e| e["text"].is_string()),
        "shown twice: {again:?}"
    );
    Ok(())
}

pub(super) fn online(devnet: &Devnet) -> Result<()> {
    let (alice, bob) = (Person::reachable(devnet)?, Person::reachable(devnet)?);
    let listening = bob.listen(&[])?;
    let id = alice.send(&bob.address, "are you there?", &[])?;
    let event = listening.wait_for_text("are you there?")?;
    ensure!(
        event["id"] == *id && event["verified"] == "wallet",
        "{event}"
    );
    bob.send(&alice.address, "I am", &[])?;
    let heard = alice.listen_once(&[])?;
    ensure!(heard.iter().any(|e| e["text"] == "I am"), "{heard:?}");
    Ok(())
}

pub(super) fn direct(devnet: &Devnet) -> Result<()> {
    let (alice, bob) = (Person::reachable(devnet)?, Person::reachable(devnet)?);
    alice.send(&bob.address, "straight", &["--privacy", "direct"])?;
    let heard = bob.listen_once(&[])?;
    ensure!(heard.iter().any(|e| e["text"] == "straight"), "{heard:?}");
    Ok(())
}

pub(super) fn to_nobody(devnet: &Devnet) -> Result<()> {
    let alice = Person::reachable(devnet)?;
    let output = alice.run(&[
        "send",
        "0x00000000000000000000000000000000000000aa",
        "hello?",
    ])?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.code() == Some(5),
        "ended with {}: {stderr}",
        output.status
    );
    ensure!(
        stderr.trim().lines().count() == 1,
        "more than one line: {stderr}"
    );
    let mixed = alice.run(&["send", &alice.address, "x", "--privacy", "mixed"])?;
    ensure!(!mixed.status.success(), "`mixed` does not exist yet");
    Ok(())
}

pub(super) fn from_stdin(devnet: &Devnet) -> Result<()> {
    use std::io::Write as _;
    let (alice, bob) = (Person::reachable(devnet)?, Person::reachable(devnet)?);
    let text = "two\nlines, an umlaut ü and 漢字\n";
    let mut child = alice
        .command(&["send", &bob.address, "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()?;
    child
        .stdin
        .take()
        .context("no stdin")?
        .write_all(text.as_bytes())?;
    ensure!(child.wait()?.success(), "send from stdin failed");
    let heard = bob.listen_once(&[])?;
    ensure!(heard.iter().any(|e| e["text"] == text), "{heard:?}");
    Ok(())
}

pub(super) fn unlisted(devnet: &Devnet) -> Result<()> {
    let alice = Person::reachable(devnet)?;
    let bob = Person::stranger(devnet, "v6")?;
    bob.ok(&["route", "set", "--mailbox", "auto", "--unlisted", "--json"])?;
    let shared = bob.ok(&["wallet", "share", "--json"])?;
    let uri = shared["uri"]
        .as_str()
        .with_context(|| format!("`wallet share --json` names no uri: {shared}"))?;
    alice.send(uri, "found you", &[])?;
    let heard = bob.listen_once(&[])?;
    ensure!(heard.iter().any(|e| e["text"] == "found you"), "{heard:?}");
    let by_address = alice.run(&["send", &Person::stranger(devnet, "v6")?.address, "x"])?;
    ensure!(
        by_address.status.code() == Some(5),
        "an unknown wallet was found: {}",
        by_address.status
    );
    Ok(())
}

pub(super) fn rotated(devnet: &Devnet) -> Result<()> {
    let (alice, bob) = (Person::reachable(devnet)?, Person::reachable(devnet)?);
    alice.send(&bob.address, "to the old keys", &[])?;
    let before = bob.ok(&["wallet", "show", "--json"])?;
    bob.ok(&["wallet", "rotate", "--json"])?;
    let after = bob.ok(&["wallet", "show", "--json"])?;
    ensure!(
        before["fingerprint"] == after["fingerprint"],
        "the primary key changed"
    );
    alice.send(&bob.address, "after the rotation", &[])?;
    let heard = bob.listen_once(&[])?;
    let texts: Vec<_> = heard.iter().filter_map(|e| e["text"].as_str()).collect();
    ensure!(
        texts == ["to the old keys", "after the rotation"],
        "{heard:?}"
    );
    Ok(())
}

pub(super) fn killed_listener(devnet: &Devnet) -> Result<()> {
    let (alice, bob) = (Person::reachable(devnet)?, Person::reachable(devnet)?);
    let mut times = std::collections::BTreeMap::new();
    for round in 0..3 {
        let listening = bob.listen(&[])?;
        for n in 0..4 {
            alice.send(&bob.address, &format!("round {round} number {n}"), &[])?;
        }
        let first = format!("round {round} number 0");
        *times.entry(first.clone()).or_insert(0) += 1;
        listening.wait_for_text(&first)?;
        // Killed with the rest shown, stored or still on its way.
        listening.kill()?;
    }
    for event in bob.listen_once(&[])? {
        if let Some(text) = event["text"].as_str() {
            *times.entry(text.to_owned()).or_insert(0) += 1;
        }
    }
    let history = bob.ok(&["history", &alice.address, "--json"]).ok();
    // What was shown before a kill can't be seen here; the inbox holds each message once.
    ensure!(times.values().all(|n| *n <= 2), "{times:?}");
    if let Some(messages) = history.as_ref().and_then(|h| h["messages"].as_array()) {
        ensure!(
            messages.len() == 12,
            "the inbox holds {} of 12 messages",
            messages.len()
        );
    }
    Ok(())
}
