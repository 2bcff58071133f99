//! Who hears from whom: receipts, the block list, senders that nobody knows.

use anyhow::{Context as _, Result, ensure};

use crate::devnet::Devnet;
use crate::parcel;
use crate::person::Person;

/// Receipts go to contacts only, sealed as any message, after a while; `--no-receipts` sends none.
pub(super) fn receipts(devnet: &Devnet) -> Result<()> {
    let (alice, carol) = (Person::reachable(devnet)?, Person::reachable(devnet)?);
    let (bob, dave) = (Person::reachable(devnet)?, Person::reachable(devnet)?);
    // Bob and dave know alice; nobody knows carol.
    bob.ok(&["contact", "add", "alice", &alice.address])?;
    dave.ok(&["contact", "add", "alice", &alice.contact()?])?;
    let (at_alice, at_carol) = (alice.listen(&[])?, carol.listen(&[])?);
    let at_bob = bob.listen(&[])?;
    let at_dave = dave.listen(&["--no-receipts"])?;
    carol.send(&bob.address, "from a stranger", &[])?;
    at_bob.wait_for_text("from a stranger")?;
    alice.send(&dave.address, "to the silent", &[])?;
    at_dave.wait_for_text("to the silent")?;
    let id = alice.send(&bob.address, "from a friend", &[])?;
    at_bob.wait_for_text("from a friend")?;
    let receipt = at_alice.wait_for_notice("a receipt", |n| n["event"] == "receipt")?;
    ensure!(
        receipt["from"] == *bob.address && receipt["ids"] == serde_json::json!([id]),
        "{receipt}"
    );
    // What is owed to the others would have been queued before, and is not.
    ensure!(bob.waiting()? == 0 && dave.waiting()? == 0);
    for notice in [at_alice.notices(), at_carol.notices()].concat() {
        ensure!(notice["event"] != "receipt", "{notice}");
    }
    Ok(())
}

/// What a blocked wallet sends is dropped unseen; what it sends after that is over is shown.
pub(super) fn blocked(devnet: &Devnet) -> Result<()> {
    let (alice, bob) = (Person::reachable(devnet)?, Person::reachable(devnet)?);
    let mallory = Person::reachable(devnet)?;
    bob.ok(&["block", &mallory.address])?;
    let listening = bob.listen(&[])?;
    mallory.send(&bob.address, "you don't want to read this", &[])?;
    alice.send(&bob.address, "you do want to read this", &[])?;
    let first = listening.wait_for("a message", |e| e["text"].is_string())?;
    ensure!(first["text"] == "you do want to read this", "{first}");
    bob.ok(&["block", &mallory.address, "--remove"])?;
    mallory.send(&bob.address, "forgiven", &[])?;
    let next = listening.wait_for("a message", |e| e["text"].is_string())?;
    ensure!(next["text"] == "forgiven", "{next}");
    Ok(())
}

/// What nobody signed is shown as such, and what was tampered with is not shown at all.
pub(super) fn unsigned(devnet: &Devnet) -> Result<()> {
    let (alice, bob) = (Person::reachable(devnet)?, Person::reachable(devnet)?);
    let listening = bob.listen(&[])?;
    let id = alice.send(&bob.address, "guess who", &["--anonymous"])?;
    let event = listening.wait_for_text("guess who")?;
    ensure!(
        event["id"] == *id && event["verified"] == "unsigned" && event["from"].is_null(),
        "{event}"
    );
    let certificate = parcel::certificate_of(&bob)?;
    let key_id = *certificate.key_ids().first().context("no subkey")?;
    let intake = &devnet.nodes()?[0].url;
    let mut broken = parcel::plain_text(&certificate, key_id, "tampered with")?;
    let middle = broken.len() - 20;
    broken[middle] ^= 1;
    parcel::deliver(intake, &broken)?;
    let whole = parcel::plain_text(&certificate, key_id, "by hand")?;
    parcel::deliver(intake, &whole)?;
    let event = listening.wait_for("a message", |e| e["id"].is_string())?;
    ensure!(
        event["text"] == "by hand" && event["verified"] == "unsigned" && event["from"].is_null(),
        "{event}"
    );
    listening.wait_for_notice("a warning", |n| n["event"] == "warning")?;
    Ok(())
}

/// A wallet off the ledger is reached by its contact only: neither by its address, nor by a blind packet at a node
/// that does not keep its mailbox, unless somebody pays for a broadcast.
pub(super) fn unlisted(devnet: &Devnet) -> Result<()> {
    let (alice, bob) = (
        Person::reachable(devnet)?,
        Person::stranger(devnet, "v6-classic")?,
    );
    bob.ok(&["route", "set", "--mailbox", "auto", "--unlisted", "--json"])?;
    let uri = bob.contact()?;
    let (without_mailbox, _) = uri
        .split_once("&mailbox")
        .context("no mailbox in the uri")?;
    for to in [bob.address.as_str(), without_mailbox] {
        let output = alice.run(&["send", to, "where are you?"])?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(5), "{to}: {said}");
        ensure!(said.contains("conet wallet share"), "{said}");
    }
    let certificate = parcel::certificate_of(&bob)?;
    let key_id = *certificate.key_ids().first().context("no subkey")?;
    let mailbox = bob.mailboxes()?.remove(0);
    for node in devnet.nodes()? {
        let keeps_it = node.id.eq_ignore_ascii_case(&mailbox);
        let blind = parcel::plain_text(&certificate, key_id, &format!("at {}", node.id))?;
        let (status, said) = parcel::hand_in(&node.url, &blind)?;
        ensure!(status == if keeps_it { 200 } else { 402 }, "{said}");
    }
    for privacy in ["direct", "relayed"] {
        alice.send(&uri, privacy, &["--privacy", privacy])?;
    }
    let texts = bob.texts()?;
    ensure!(
        texts == [&format!("at {mailbox}"), "direct", "relayed"],
        "{texts:?}"
    );
    Ok(())
}

/// A listener runs while its wallet rotates twice; senders that know the first certificate get through, and blind
/// packets to the newest subkey find their way from any node, since a node has put the new route on the ledger.
pub(super) fn rotated_while_listening(devnet: &Devnet) -> Result<()> {
    let (alice, bob) = (Person::reachable(devnet)?, Person::reachable(devnet)?);
    let old = parcel::certificate_of(&bob)?;
    alice.send(&bob.address, "first", &[])?;
    let listening = bob.listen(&[])?;
    listening.wait_for_text("first")?;
    for turn in ["second", "third"] {
        bob.ok(&["wallet", "rotate", "--json"])?;
        alice.send(&bob.address, turn, &[])?;
        listening.wait_for_text(turn)?;
    }
    let new = parcel::certificate_of(&bob)?;
    ensure!(old.fingerprint() == new.fingerprint());
    let nodes = devnet.nodes()?;
    // The old keys still open what is under way, and route for a day.
    let keys = [(&old, "old"), (&new, "new")];
    for ((certificate, age), node) in keys.into_iter().zip(nodes.iter().cycle()) {
        for key_id in certificate.key_ids() {
            let text = format!("blind to {age} {key_id}");
            let blind = parcel::plain_text(certificate, key_id, &text)?;
            parcel::deliver(&node.url, &blind)?;
            listening.wait_for_text(&text)?;
        }
    }
    Ok(())
}
