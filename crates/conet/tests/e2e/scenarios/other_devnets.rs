//! Devnets of another make: small mailboxes, slow blocks, more nodes, one process.

use std::io::Write as _;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::files::{has_file, make_file};
use crate::devnet::{Devnet, wait_until};
use crate::parcel;
use crate::person::Person;

/// Room for two of the largest packets, and no more.
const QUOTA: &str = "2097152";
/// A text that takes one of the largest packets.
const LONG_TEXT_BYTES: usize = 500_000;

/// Wallets that set their route at the same time.
const ROUTES_AT_ONCE: u64 = 8;

/// Sends a long text that begins with `mark` from stdin; returns the exit code.
fn send_long(from: &Person, to: &Person, mark: &str) -> Result<Option<i32>> {
    let mut child = from
        .command(&["send", &to.address, "-", "--patience", "1", "--json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let text = format!("{mark} {}", "x".repeat(LONG_TEXT_BYTES));
    let mut stdin = child.stdin.take().context("no stdin")?;
    stdin.write_all(text.as_bytes())?;
    drop(stdin);
    Ok(child.wait()?.code())
}

fn marks(texts: &[String]) -> Vec<&str> {
    let words = texts.iter().filter_map(|t| t.split_whitespace().next());
    words.collect()
}

/// A mailbox that is full refuses; the outbox keeps what waits and goes on, in order, once the owner has collected.
pub(super) fn full_mailbox(_: &Devnet) -> Result<()> {
    let devnet = Devnet::up(&["--quota", QUOTA, "--in-process"])?;
    let (alice, bob) = (Person::reachable(&devnet)?, Person::reachable(&devnet)?);
    let codes: Vec<_> = (0..5)
        .map(|n| send_long(&alice, &bob, &format!("no{n}")))
        .collect::<Result<_>>()?;
    ensure!(
        codes == [Some(0), Some(0), Some(4), Some(4), Some(4)],
        "{codes:?}"
    );
    ensure!(alice.waiting()? == 3);
    let listed = alice.ok(&["outbox", "list", "--json"])?;
    ensure!(
        listed["trouble"]
            .as_str()
            .is_some_and(|t| t.contains("full")),
        "{listed}"
    );
    ensure!(marks(&bob.texts()?) == ["no0", "no1"], "before");
    // Two fit now; the third has to wait for bob once more.
    let flushed = alice.run(&["outbox", "flush", "--json"])?;
    ensure!(flushed.status.code() == Some(4), "{}", flushed.status);
    let texts = bob.texts()?;
    ensure!(marks(&texts) == ["no2", "no3"], "{:?}", marks(&texts));
    // Whoever listens goes on by themselves.
    let listening = alice.listen(&[])?;
    wait_until("the outbox is empty", || Ok(alice.waiting()? == 0))?;
    drop(listening);
    ensure!(marks(&bob.texts()?) == ["no4"], "the last one");

    // A file larger than the mailbox gets through while the recipient collects.
    let (file, sha256) = make_file(alice.home(), "larger.bin", 6 << 20, 9)?;
    let saved = bob.home().join("saved");
    let listening = bob.listen(&["--save", &saved.to_string_lossy()])?;
    let file = file.to_string_lossy();
    alice.ok(&["send", &bob.address, "--file", &file, "--json"])?;
    listening.wait_for("the file", |e| e["sha256"] == *sha256)?;
    ensure!(has_file(&saved, "larger.bin", &sha256)?);
    Ok(())
}

/// Stopped in the middle of a file, then the same command again: the transfer goes on where it was, under its id.
/// The mailbox is too small for it, so that it can't end before it is stopped.
pub(super) fn interrupted_by_the_user(_: &Devnet) -> Result<()> {
    let devnet = Devnet::up(&["--quota", QUOTA, "--in-process"])?;
    let (alice, bob) = (Person::reachable(&devnet)?, Person::reachable(&devnet)?);
    let (file, sha256) = make_file(alice.home(), "half.bin", 6 << 20, 6)?;
    let file = file.to_string_lossy().into_owned();
    let command = ["send", &bob.address, "--file", &file];
    let mut sending = alice.command(&command).stdout(Stdio::null()).spawn()?;
    let pid = Pid::from_raw(sending.id() as i32);
    wait_until("no more of the file fits", || {
        let listed = alice.run(&["outbox", "list", "--json"])?;
        let is_full = String::from_utf8_lossy(&listed.stdout).contains("full");
        Ok(is_full || sending.try_wait()?.is_some())
    })?;
    // What a shell starts in the background ignores SIGINT, and these tests may have been started so.
    kill(pid, Signal::SIGTERM)?;
    let status = sending.wait()?;
    ensure!(!status.success(), "the file was sent before it was stopped");
    let kept = alice.ok(&["outbox", "list", "--json"])?;
    let id = kept["id"].as_str().context("the transfer is not kept")?;

    let saved = bob.home().join("saved");
    let listening = bob.listen(&["--save", &saved.to_string_lossy()])?;
    let again = alice.command(&command).stderr(Stdio::piped()).output()?;
    let said = String::from_utf8_lossy(&again.stderr);
    ensure!(again.status.success(), "{said}");
    ensure!(said.contains("going on") && said.contains(id), "{said}");
    let event = listening.wait_for("the file", |e| e["id"].is_string())?;
    ensure!(event["id"] == *id && event["sha256"] == *sha256, "{event}");
    drop(listening);
    let more = bob.listen_once(&["--save", &saved.to_string_lossy()])?;
    ensure!(more.is_empty(), "{more:?}");
    ensure!(has_file(&saved, "half.bin", &sha256)?, "the file differs");
    ensure!(alice.waiting()? == 0);
    Ok(())
}

/// Blocks every two seconds, as on a real chain: nothing here may count on a transaction being in a block at once.
pub(super) fn slow_blocks(_: &Devnet) -> Result<()> {
    let mut devnet = Devnet::up(&["--block-time", "2", "--nodes", "7"])?;
    ensure!(devnet.nodes()?.len() == 7);
    let (alice, bob) = (Person::reachable(&devnet)?, Person::reachable(&devnet)?);
    let route = bob.ok(&["route", "show", "--json"])?;
    ensure!(route["onLedger"] == true, "{route}");
    alice.send(&bob.address, "over slow blocks", &[])?;
    ensure!(bob.texts()? == ["over slow blocks"]);
    bob.ok(&["wallet", "rotate", "--json"])?;
    alice.send(&bob.address, "after the rotation", &[])?;
    ensure!(bob.texts()? == ["after the rotation"]);
    let rotated = bob.ok(&["route", "show", "--json"])?;
    ensure!(rotated["onLedger"] == true, "{rotated}");
    // Whoever moves to another mailbox is found there.
    let other = devnet.nodes()?;
    let mailbox = bob.mailboxes()?.remove(0);
    let other = (other.iter())
        .find(|n| !n.id.eq_ignore_ascii_case(&mailbox))
        .context("no other node")?;
    bob.ok(&["route", "set", "--mailbox", &other.id, "--json"])?;
    alice.send(&bob.address, "at the other mailbox", &[])?;
    ensure!(bob.texts()? == ["at the other mailbox"]);
    batched_routes(&devnet)?;
    devnet.stop()
}

/// Routes that come to a node while its transaction waits for a block go together under one root, and packets find
/// their way by them as by any other.
fn batched_routes(devnet: &Devnet) -> Result<()> {
    let nodes = devnet.nodes()?;
    let (mailbox, elsewhere) = (&nodes[0], &nodes[1]);
    let status = devnet.status()?;
    let rpc = status["chain"]["rpc"].as_str().context("no RPC URL")?;
    let before = parcel::transactions_of(rpc, &mailbox.id)?;
    let people: Vec<_> = (0..ROUTES_AT_ONCE)
        .map(|_| Person::stranger(devnet, "v6-classic"))
        .collect::<Result<_>>()?;
    let setting: Vec<_> = (people.iter())
        .map(|person| {
            let arguments = ["route", "set", "--mailbox", &mailbox.id, "--json"];
            Ok(person.command(&arguments).stdout(Stdio::null()).spawn()?)
        })
        .collect::<Result<_>>()?;
    for mut child in setting {
        ensure!(child.wait()?.success(), "a route was not set");
    }
    let transactions = parcel::transactions_of(rpc, &mailbox.id)? - before;
    ensure!(
        transactions < ROUTES_AT_ONCE,
        "each route had a transaction of its own"
    );
    for person in &people {
        let certificate = parcel::certificate_of(person)?;
        let key_id = *certificate.key_ids().first().context("no subkey")?;
        let blind = parcel::plain_text(&certificate, key_id, "by a batched route")?;
        parcel::deliver(&elsewhere.url, &blind)?;
        ensure!(person.texts()? == ["by a batched route"]);
    }
    Ok(())
}
