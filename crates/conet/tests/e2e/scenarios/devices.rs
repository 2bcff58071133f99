//! One wallet on several machines.

use anyhow::{Context as _, Result, ensure};

use crate::devnet::{Devnet, wait_until};
use crate::person::Person;

fn fingerprint(person: &Person) -> Result<String> {
    let shown = person.ok(&["wallet", "show", "--json"])?;
    Ok(shown["fingerprint"]
        .as_str()
        .context("no fingerprint")?
        .into())
}

/// The mailbox keeps a packet until each device that it knows has acknowledged it.
pub(super) fn two_devices(devnet: &Devnet) -> Result<()> {
    let (alice, bob) = (Person::reachable(devnet)?, Person::careful(devnet)?);
    bob.ok(&["contact", "add", "alice", &alice.contact()?])?;
    let phone = bob.second_device()?;
    ensure!(fingerprint(&phone)? == fingerprint(&bob)?);
    // A mailbox knows a device from its first visit on.
    ensure!(bob.texts()?.is_empty() && phone.texts()?.is_empty());
    for n in 0..3 {
        alice.send(&bob.address, &format!("for both {n}"), &[])?;
    }
    let expected = ["for both 0", "for both 1", "for both 2"];
    ensure!(bob.texts()? == expected, "the first device");
    ensure!(bob.texts()?.is_empty(), "shown twice on the first device");
    let (heard, _) = phone.hear_all(&[])?;
    let texts: Vec<_> = heard.iter().filter_map(|e| e["text"].as_str()).collect();
    ensure!(texts == expected, "the second device: {heard:?}");
    // The contacts came with the export.
    ensure!(heard.iter().all(|e| e["name"] == "alice"), "{heard:?}");
    ensure!(
        phone.texts()?.is_empty(),
        "shown twice on the second device"
    );

    phone.send(&alice.address, "from the phone", &[])?;
    bob.send(&alice.address, "from the desk", &[])?;
    let heard = alice.listen_once(&[])?;
    let texts: Vec<_> = heard.iter().filter_map(|e| e["text"].as_str()).collect();
    ensure!(texts == ["from the phone", "from the desk"], "{heard:?}");
    ensure!(
        heard
            .iter()
            .all(|e| e["from"] == *bob.address && e["verified"] == "wallet"),
        "{heard:?}"
    );
    Ok(())
}

/// Who rotates tells the others, by a message to the wallet itself, what only the wallet can read.
pub(super) fn rotation_reaches_the_other(devnet: &Devnet) -> Result<()> {
    let (alice, bob) = (Person::reachable(devnet)?, Person::reachable(devnet)?);
    let phone = bob.second_device()?;
    ensure!(bob.texts()?.is_empty() && phone.texts()?.is_empty());
    let at_the_phone = phone.listen(&[])?;
    let rotated = bob.ok(&["wallet", "rotate", "--json"])?;
    wait_until("the other device has the new keys", || {
        let shown = phone.ok(&["wallet", "show", "--json"])?;
        Ok(shown["keyIds"] == rotated["keyIds"])
    })?;
    alice.send(&bob.address, "to the new keys", &[])?;
    at_the_phone.wait_for_text("to the new keys")?;
    ensure!(bob.texts()? == ["to the new keys"]);

    // And the other way round.
    let rotated = phone.ok(&["wallet", "rotate", "--json"])?;
    alice.send(&bob.address, "to the newest keys", &[])?;
    at_the_phone.wait_for_text("to the newest keys")?;
    ensure!(bob.texts()? == ["to the newest keys"]);
    let shown = bob.ok(&["wallet", "show", "--json"])?;
    ensure!(shown["keyIds"] == rotated["keyIds"], "{shown} {rotated}");
    Ok(())
}

/// A device that was made from an export of before the last rotation can't read what is sealed to newer
/// keys. It must say so, and what to do, and not take the others' keys away by a rotation of its own.
pub(super) fn outdated_export(devnet: &Devnet) -> Result<()> {
    let bob = Person::reachable(devnet)?;
    let export = bob.home().join("old.json");
    bob.ok(&["wallet", "export", "--output", &export.to_string_lossy()])?;
    ensure!(bob.texts()?.is_empty());
    bob.ok(&["wallet", "rotate", "--json"])?;
    let newest = bob.ok(&["wallet", "show", "--json"])?;
    // The message about the new keys has been collected by the only device that the mailbox knew.
    ensure!(bob.texts()?.is_empty());
    let phone = bob.device_from(&export)?;
    let output = phone.run(&["wallet", "rotate"])?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(!output.status.success(), "it rotated: {said}");
    ensure!(said.contains("export"), "{said}");
    let (_, notices) = phone.hear_all(&[])?;
    ensure!(
        notices
            .iter()
            .any(|n| n["event"] == "warning" && n["reason"].to_string().contains("export")),
        "{notices:?}"
    );
    let after = bob.ok(&["wallet", "show", "--json"])?;
    ensure!(after["keyIds"] == newest["keyIds"], "{after}");

    // What it advises works.
    let again = bob.home().join("new.json").to_string_lossy().into_owned();
    bob.ok(&["wallet", "export", "--output", &again])?;
    phone.ok(&["wallet", "import", &again])?;
    let alice = Person::reachable(devnet)?;
    alice.send(&bob.address, "for both", &[])?;
    ensure!(phone.texts()? == ["for both"] && bob.texts()? == ["for both"]);
    Ok(())
}

/// Twelve words on a new machine bring the wallet back: the same certificate, the same mailboxes, new keys at once,
/// and the honest word that mail to the old ones is lost.
pub(super) fn restored(devnet: &Devnet) -> Result<()> {
    let (alice, bob) = (Person::reachable(devnet)?, Person::reachable(devnet)?);
    let before = bob.ok(&["wallet", "show", "--json"])?;
    let mailboxes = bob.mailboxes()?;
    // Alice knows the old keys, and somebody's mail is still there when the machine is lost.
    alice.send(&bob.address, "never collected", &[])?;

    let anew = bob.restored()?;
    let shown = anew.ok(&["wallet", "show", "--json"])?;
    ensure!(shown["fingerprint"] == before["fingerprint"], "{shown}");
    ensure!(shown["keyIds"] != before["keyIds"], "the keys are the old");
    let (heard, notices) = anew.hear_all(&[])?;
    ensure!(heard.is_empty(), "{heard:?}");
    let warned = |about: &str| {
        notices
            .iter()
            .any(|n| n["event"] == "warning" && n["reason"].to_string().contains(about))
    };
    ensure!(warned("was restored"), "{notices:?}");
    ensure!(warned("can't be read"), "{notices:?}");
    ensure!(anew.mailboxes()? == mailboxes, "other mailboxes");
    alice.send(&bob.address, "after the restoration", &[])?;
    ensure!(anew.texts()? == ["after the restoration"]);
    anew.send(&alice.address, "it is me again", &[])?;
    let heard = alice.listen_once(&[])?;
    ensure!(
        heard
            .iter()
            .any(|e| e["text"] == "it is me again" && e["verified"] == "wallet"),
        "{heard:?}"
    );
    Ok(())
}

/// Whoever does something else first after a restoration than listening must hear of lost mail all the same.
pub(super) fn restored_and_rotated(devnet: &Devnet) -> Result<()> {
    let (alice, bob) = (Person::reachable(devnet)?, Person::reachable(devnet)?);
    let anew = bob.restored()?;
    anew.ok(&["wallet", "rotate", "--json"])?;
    alice.send(&bob.address, "to the rotated", &[])?;
    let (heard, notices) = anew.hear_all(&[])?;
    ensure!(
        heard.iter().any(|e| e["text"] == "to the rotated"),
        "{heard:?} {notices:?}"
    );
    ensure!(
        notices
            .iter()
            .any(|n| n["reason"].to_string().contains("was restored")),
        "{notices:?}"
    );
    let (_, notices) = anew.hear_all(&[])?;
    ensure!(
        !notices
            .iter()
            .any(|n| n["reason"].to_string().contains("was restored")),
        "said again: {notices:?}"
    );
    Ok(())
}

/// The words were used on a second machine while the first still runs: the first can't read what is sealed to keys
/// that it does not have, and must say what to do.
pub(super) fn restored_beside_the_first(devnet: &Devnet) -> Result<()> {
    let (alice, bob) = (Person::reachable(devnet)?, Person::reachable(devnet)?);
    ensure!(bob.texts()?.is_empty());
    let anew = bob.restored()?;
    ensure!(anew.texts()?.is_empty());
    alice.send(&bob.address, "to the new machine", &[])?;
    ensure!(anew.texts()? == ["to the new machine"]);
    let (heard, notices) = bob.hear_all(&[])?;
    ensure!(heard.is_empty(), "{heard:?}");
    ensure!(
        notices
            .iter()
            .any(|n| n["event"] == "warning" && n["reason"].to_string().contains("export")),
        "{notices:?}"
    );
    Ok(())
}
