//! Several processes on one home, and processes that end in the middle.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};

use super::files::only_whole_files;
use crate::devnet::Devnet;
use crate::parcel;
use crate::person::Person;

/// One process listens at a time; the second says so and leaves the first alone.
pub(super) fn second_listener(devnet: &Devnet) -> Result<()> {
    let (alice, bob) = (Person::reachable(devnet)?, Person::reachable(devnet)?);
    let listening = bob.listen(&[])?;
    alice.send(&bob.address, "are you there?", &[])?;
    listening.wait_for_text("are you there?")?;
    for more in [&[][..], &["--once"]] {
        let output = bob.run(&[&["listen"], more].concat())?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(1), "{}: {said}", output.status);
        ensure!(said.contains("another process listens"), "{said}");
    }
    alice.send(&bob.address, "still there?", &[])?;
    listening.wait_for_text("still there?")?;
    // The lock ends with its process, however that ends.
    listening.kill()?;
    alice.send(&bob.address, "and now?", &[])?;
    ensure!(bob.texts()?.contains(&"and now?".into()));
    Ok(())
}

/// Processes that send at once share one outbox, and each message is stored once.
pub(super) fn sending_at_once(devnet: &Devnet) -> Result<()> {
    let (alice, bob) = (Person::reachable(devnet)?, Person::reachable(devnet)?);
    let listening = alice.listen(&[])?;
    let mut sending = Vec::new();
    for n in 0..4 {
        let child = alice
            .command(&["send", &bob.address, &format!("at once {n}"), "--json"])
            .stdout(Stdio::null())
            .spawn()?;
        sending.push(child);
    }
    for mut child in sending {
        ensure!(child.wait()?.success(), "a sender failed");
    }
    drop(listening);
    let mut texts = bob.texts()?;
    texts.sort_unstable();
    let expected: Vec<_> = (0..4).map(|n| format!("at once {n}")).collect();
    ensure!(texts == expected, "{texts:?}");
    ensure!(alice.waiting()? == 0);
    Ok(())
}

/// Names that no honest client sends: they come from a packet made by hand.
pub(super) fn forged_names(devnet: &Devnet) -> Result<()> {
    let bob = Person::reachable(devnet)?;
    let certificate = parcel::certificate_of(&bob)?;
    let intake = &devnet.nodes()?[0].url;
    let saved = bob.home().join("deep/er/saved");
    std::fs::create_dir_all(&saved)?;
    let target = bob.home().join("absolute");
    let names = [
        "../escaped",
        "../../escaped",
        &target.to_string_lossy(),
        "..",
        "",
        "/",
        "a\nb\u{1b}[31m\0c",
        "..\\..\\escaped",
        ".bashrc",
        "same",
        "same",
    ];
    for (n, name) in names.iter().enumerate() {
        let packet = parcel::file(&certificate, name, format!("content {n}").as_bytes())?;
        parcel::deliver(intake, &packet).with_context(|| format!("{name:?}"))?;
    }
    let listening = bob.listen(&["--save", &saved.to_string_lossy()])?;
    for _ in names {
        let event = listening.wait_for("a file", |e| e["file"].is_string())?;
        let path = std::path::Path::new(event["file"].as_str().unwrap_or_default());
        ensure!(path.parent() == Some(&saved), "{event}");
        ensure!(event["verified"] == "unsigned", "{event}");
    }
    let kept = only_whole_files(&saved)?;
    ensure!(kept.len() == names.len(), "{kept:?}");
    for name in &kept {
        ensure!(
            !name.starts_with('.') && !name.chars().any(char::is_control),
            "saved as {name:?}"
        );
    }
    let above = only_whole_files(saved.parent().context("no parent")?)?;
    ensure!(above == ["saved"], "{above:?}");
    ensure!(!target.exists() && !bob.home().join("escaped").exists());
    Ok(())
}

/// For people, not programs: what a stranger writes can't move the cursor or forge a line of another sender.
pub(super) fn control_characters(devnet: &Devnet) -> Result<()> {
    let (alice, bob) = (Person::reachable(devnet)?, Person::reachable(devnet)?);
    alice.send(
        &bob.address,
        "before\u{1b}[2J\u{1b}]0;title\u{7}\r00:00  bob: after",
        &[],
    )?;
    let output = bob.run(&["listen", "--once"])?;
    let shown = BufReader::new(output.stdout.as_slice());
    let lines: Vec<_> = shown.lines().collect::<Result<_, _>>()?;
    let [line] = lines.as_slice() else {
        anyhow::bail!("more than one line: {lines:?}");
    };
    ensure!(
        line.contains("before") && line.contains("after"),
        "{line:?}"
    );
    ensure!(!line.chars().any(char::is_control), "{line:?}");
    Ok(())
}
