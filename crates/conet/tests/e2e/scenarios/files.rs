//! Files.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use sha2::{Digest as _, Sha256};

use crate::devnet::{Devnet, wait_until};
use crate::person::Person;

const MIB: usize = 1 << 20;

/// A file of bytes that don't compress and depend on `seed`.
pub(super) fn make_file(
    at: &Path,
    name: &str,
    bytes: usize,
    seed: u64,
) -> Result<(PathBuf, String)> {
    let mut state = seed | 1;
    let mut content = Vec::with_capacity(bytes + 8);
    while content.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        content.extend_from_slice(&state.to_le_bytes());
    }
    content.truncate(bytes);
    let path = at.join(name);
    std::fs::write(&path, &content)?;
    Ok((path, hex::encode(Sha256::digest(&content))))
}

pub(super) fn has_file(saved: &Path, name: &str, sha256: &str) -> Result<bool> {
    let path = saved.join(name);
    Ok(path.exists() && hex::encode(Sha256::digest(std::fs::read(path)?)) == sha256)
}

pub(super) fn only_whole_files(saved: &Path) -> Result<Vec<String>> {
    Ok(std::fs::read_dir(saved)?
        .filter_map(|e| e.ok()?.file_name().into_string().ok())
        .collect())
}

pub(super) fn large_offline(devnet: &Devnet) -> Result<()> {
    let (alice, bob) = (Person::reachable(devnet)?, Person::reachable(devnet)?);
    let (file, sha256) = make_file(alice.home(), "large.bin", 64 * MIB, 1)?;
    alice.ok(&[
        "send",
        &bob.address,
        "--file",
        &file.to_string_lossy(),
        "--json",
    ])?;
    let saved = bob.home().join("saved");
    let heard = bob.listen_once(&["--save", &saved.to_string_lossy()])?;
    ensure!(
        heard
            .iter()
            .any(|e| e["sha256"] == *sha256 && e["verified"] == "wallet"),
        "{heard:?}"
    );
    ensure!(
        has_file(&saved, "large.bin", &sha256)?,
        "the saved file differs"
    );
    ensure!(
        only_whole_files(&saved)? == ["large.bin"],
        "{:?}",
        only_whole_files(&saved)?
    );
    Ok(())
}

/// Whether a part of a file has reached `person`.
fn has_a_part(person: &Person) -> Result<bool> {
    let accounts = person.home().join("home/accounts");
    if !accounts.exists() {
        return Ok(false);
    }
    for account in std::fs::read_dir(accounts)? {
        let parts = account?.path().join("partial");
        if parts.exists() && std::fs::read_dir(parts)?.next().is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

// A first version killed the sender after 900 ms. A sender that had become faster was done by then, but had not
// ended: the second command then rightly sent another file, and the test failed once on a busy machine.
pub(super) fn interrupted_sender(devnet: &Devnet) -> Result<()> {
    let (alice, bob) = (Person::reachable(devnet)?, Person::reachable(devnet)?);
    let (file, sha256) = make_file(alice.home(), "sent twice.bin", 96 * MIB, 2)?;
    let file = file.to_string_lossy().into_owned();
    let saved = bob.home().join("saved");
    let save = saved.to_string_lossy().into_owned();
    let listening = bob.listen(&["--save", &save])?;
    let mut sending = alice
        .command(&["send", &bob.address, "--file", &file, "--json"])
        .stdout(Stdio::piped())
        .spawn()?;
    wait_until("a part of the file is there", || has_a_part(&bob))?;
    sending.kill()?;
    let sent = sending.wait_with_output()?;
    ensure!(
        sent.stdout.is_empty(),
        "the file was sent before its sender was killed"
    );
    ensure!(
        !saved.join("sent twice.bin").exists(),
        "a part of a file was shown as the file"
    );
    alice.ok(&["send", &bob.address, "--file", &file, "--json"])?;
    listening.wait_for("the file", |e| e["sha256"] == *sha256)?;
    ensure!(
        has_file(&saved, "sent twice.bin", &sha256)?,
        "the saved file differs"
    );
    ensure!(
        only_whole_files(&saved)?.len() == 1,
        "{:?}",
        only_whole_files(&saved)?
    );
    Ok(())
}

pub(super) fn interrupted_recipient(devnet: &Devnet) -> Result<()> {
    let (alice, bob) = (Person::reachable(devnet)?, Person::reachable(devnet)?);
    let (file, sha256) = make_file(alice.home(), "kept.bin", 48 * MIB, 3)?;
    alice.ok(&[
        "send",
        &bob.address,
        "--file",
        &file.to_string_lossy(),
        "--json",
    ])?;
    let saved = bob.home().join("saved");
    let save = saved.to_string_lossy().into_owned();
    for wait_ms in [300, 700] {
        let listening = bob.listen(&["--save", &save])?;
        std::thread::sleep(Duration::from_millis(wait_ms));
        listening.kill()?;
    }
    bob.listen_once(&["--save", &save])?;
    ensure!(
        has_file(&saved, "kept.bin", &sha256)?,
        "the saved file is missing or differs"
    );
    ensure!(
        only_whole_files(&saved)? == ["kept.bin"],
        "{:?}",
        only_whole_files(&saved)?
    );
    Ok(())
}

pub(super) fn hostile_name(devnet: &Devnet) -> Result<()> {
    let (alice, bob) = (Person::reachable(devnet)?, Person::reachable(devnet)?);
    let (file, sha256) = make_file(alice.home(), ".ssh\u{202e}gnp", 1000, 4)?;
    let saved = bob.home().join("deep/saved");
    std::fs::create_dir_all(&saved)?;
    std::fs::write(saved.join("taken.txt"), "mine")?;
    let (taken, taken_sha256) = make_file(alice.home(), "taken.txt", 500, 5)?;
    alice.ok(&[
        "send",
        &bob.address,
        "--file",
        &file.to_string_lossy(),
        "--json",
    ])?;
    alice.ok(&[
        "send",
        &bob.address,
        "--file",
        &taken.to_string_lossy(),
        "--json",
    ])?;
    let listening = bob.listen(&["--save", &saved.to_string_lossy()])?;
    listening.wait_for("the hostile file", |e| e["sha256"] == *sha256)?;
    listening.wait_for("the other file", |e| e["sha256"] == *taken_sha256)?;
    wait_until("both files are saved", || {
        Ok(only_whole_files(&saved)?.len() == 3)
    })?;
    ensure!(
        std::fs::read_to_string(saved.join("taken.txt"))? == "mine",
        "an existing file was overwritten"
    );
    for name in only_whole_files(&saved)? {
        ensure!(
            !name.starts_with('.') && !name.contains('\u{202e}'),
            "saved as {name:?}"
        );
    }
    let outside: Vec<_> = only_whole_files(saved.parent().context("no parent")?)?;
    ensure!(outside == ["saved"], "{outside:?}");
    Ok(())
}
