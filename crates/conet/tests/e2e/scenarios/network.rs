//! What happens to nodes, the chain and the devnet itself.

use anyhow::{Context as _, Result, ensure};

use crate::devnet::{Devnet, wait_until};
use crate::person::Person;

pub(super) fn dead_mailbox(devnet: &mut Devnet) -> Result<()> {
    let alice = Person::reachable(devnet)?;
    let bob = Person::stranger(devnet, "v6")?;
    let nodes = devnet.nodes()?;
    let (first, second) = (nodes[0].id.clone(), nodes[1].id.clone());
    bob.ok(&[
        "route",
        "set",
        "--mailbox",
        &first,
        "--mailbox",
        &second,
        "--json",
    ])?;
    alice.send(&bob.address, "two copies", &["--copies", "2"])?;
    devnet.kill_node(&first)?;
    alice.send(&bob.address, "with one dead", &[])?;
    let listening = bob.listen(&[])?;
    listening.wait_for_text("two copies")?;
    listening.wait_for_text("with one dead")?;
    drop(listening);
    let revived = devnet.revive_node(&first)?;
    let again = bob.listen_once(&[])?;
    ensure!(
        !again.iter().any(|e| e["text"].is_string()),
        "the second copy was shown: {again:?}"
    );
    drop(revived);
    devnet.stop()?;
    devnet.start()
}

pub(super) fn sixth_node(devnet: &mut Devnet) -> Result<()> {
    let operator = Person::stranger(devnet, "v6")?;
    let folder = operator.home().join("node");
    let before = devnet.nodes()?.len();
    let made = operator.ok(&["node", "init", "--dir", &folder.to_string_lossy(), "--json"])?;
    let id = made["id"]
        .as_str()
        .with_context(|| format!("`node init --json` names no id: {made}"))?
        .to_owned();
    let child = operator
        .command(&["node", "run", "--dir", &folder.to_string_lossy()])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()?;
    let running = crate::devnet::Revived(child);
    let bob = Person::stranger(devnet, "v6")?;
    wait_until("the sixth node keeps a mailbox", || {
        Ok(bob
            .run(&["route", "set", "--mailbox", &id, "--json"])?
            .status
            .success())
    })?;
    let alice = Person::reachable(devnet)?;
    alice.send(&bob.address, "over the sixth", &[])?;
    let heard = bob.listen_once(&[])?;
    ensure!(
        heard.iter().any(|e| e["text"] == "over the sixth"),
        "{heard:?}"
    );
    ensure!(before >= 5);
    drop(running);
    Ok(())
}

pub(super) fn dead_chain(devnet: &mut Devnet) -> Result<()> {
    let (alice, bob) = (Person::reachable(devnet)?, Person::reachable(devnet)?);
    // Both have read the ledger once.
    alice.send(&bob.address, "before", &[])?;
    bob.send(&alice.address, "before", &[])?;
    devnet.kill_chain()?;
    alice.send(&bob.address, "with the chain dead", &[])?;
    let heard = bob.listen_once(&[])?;
    ensure!(
        heard.iter().any(|e| e["text"] == "with the chain dead"),
        "{heard:?}"
    );
    devnet.stop()?;
    devnet.start()?;
    Person::reachable(devnet)?;
    Ok(())
}

pub(super) fn restarted_mailbox(devnet: &mut Devnet) -> Result<()> {
    let (alice, bob) = (Person::reachable(devnet)?, Person::reachable(devnet)?);
    let mailbox = bob
        .mailboxes()?
        .into_iter()
        .next()
        .context("bob has no mailbox")?;
    for n in 0..10 {
        alice.send(&bob.address, &format!("kept {n}"), &[])?;
    }
    devnet.kill_node(&mailbox)?;
    let unsent = alice.run(&["send", &bob.address, "to a dead mailbox", "--patience", "3"])?;
    ensure!(
        unsent.status.code() == Some(4),
        "ended with {}",
        unsent.status
    );
    let revived = devnet.revive_node(&mailbox)?;
    // The links of others to it heal within seconds.
    wait_until("the message is stored", || {
        alice.run(&["outbox", "flush", "--json"])?;
        Ok(alice.waiting()? == 0)
    })?;
    let heard = bob.listen_once(&[])?;
    let texts: Vec<_> = heard.iter().filter_map(|e| e["text"].as_str()).collect();
    let mut expected: Vec<String> = (0..10).map(|n| format!("kept {n}")).collect();
    expected.push("to a dead mailbox".into());
    ensure!(texts == expected, "{texts:?}");
    drop(revived);
    devnet.stop()?;
    devnet.start()
}

pub(super) fn resume(devnet: &mut Devnet) -> Result<()> {
    let (alice, bob) = (Person::reachable(devnet)?, Person::reachable(devnet)?);
    alice.send(&bob.address, "before the stop", &[])?;
    let before = devnet.status()?;
    devnet.stop()?;
    devnet.start()?;
    let after = devnet.status()?;
    ensure!(
        before["chain"]["contracts"] == after["chain"]["contracts"],
        "the contracts moved"
    );
    let heard = bob.listen_once(&[])?;
    ensure!(
        heard.iter().any(|e| e["text"] == "before the stop"),
        "{heard:?}"
    );
    alice.send(&bob.address, "after it", &[])?;
    let heard = bob.listen_once(&[])?;
    ensure!(heard.iter().any(|e| e["text"] == "after it"), "{heard:?}");
    Ok(())
}

pub(super) fn ephemeral(_: &Devnet) -> Result<()> {
    let mut other = Devnet::up(&["--ephemeral"])?;
    let (home, state) = (other.home(), other.state());
    ensure!(
        home.join("networks/devnet.json").exists(),
        "no network file while it ran"
    );
    other.stop()?;
    ensure!(!state.exists(), "its state is left");
    let left: Vec<_> = walk(&home)?;
    ensure!(left.is_empty(), "left in the home: {left:?}");
    Ok(())
}

fn walk(folder: &std::path::Path) -> Result<Vec<std::path::PathBuf>> {
    let mut files = Vec::new();
    if !folder.exists() {
        return Ok(files);
    }
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(walk(&path)?)
        } else {
            files.push(path)
        }
    }
    Ok(files)
}
