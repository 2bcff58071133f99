//! Names: had, used, prolonged, handed on, refused.

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::devnet::Devnet;
use crate::person::Person;

/// Exit codes of the command line.
const USAGE: i32 = 2;
const REFUSED: i32 = 3;
const NOT_FOUND: i32 = 5;

fn refused(person: &Person, arguments: &[&str], code: i32) -> Result<String> {
    let output = person.run(arguments)?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(
        output.status.code() == Some(code),
        "{arguments:?} ended with {:?}: {said}",
        output.status.code()
    );
    Ok(said)
}

fn ok(person: &Person, arguments: &[&str]) -> Result<Value> {
    person.ok(&[arguments, &["--json"]].concat())
}

/// What is sent to a name arrives at the wallet that the name says, in letters of either case.
pub(super) fn used(devnet: &Devnet) -> Result<()> {
    let (alice, bob) = (Person::reachable(devnet)?, Person::reachable(devnet)?);
    let had = ok(&bob, &["name", "register", "Bobs-Shop", "--main"])?;
    ensure!(
        had["name"] == "bobs-shop.conet" && had["owner"] == *bob.address,
        "{had}"
    );
    let listening = bob.listen(&[])?;
    alice.send("bobs-shop.conet", "to the name", &[])?;
    listening.wait_for_text("to the name")?;
    alice.send("BOBS-SHOP.conet", "to the name, loudly", &[])?;
    listening.wait_for_text("to the name, loudly")?;

    let found = ok(&alice, &["name", "resolve", "bobs-shop"])?;
    ensure!(found["wallet"] == *bob.address, "{found}");
    let called = ok(&alice, &["name", "resolve", &bob.address])?;
    ensure!(called["name"] == "bobs-shop.conet", "{called}");
    let listed = ok(&bob, &["name", "list"])?;
    ensure!(
        listed["name"] == "bobs-shop.conet" && listed["main"] == true,
        "{listed}"
    );
    Ok(())
}

/// A name is its owner's: nobody else gets, changes or gives it.
pub(super) fn guarded(devnet: &Devnet) -> Result<()> {
    let alice = Person::stranger(devnet, "v6")?;
    let mallory = Person::stranger(devnet, "v6")?;
    ok(&alice, &["name", "register", "guarded"])?;
    for arguments in [
        &["name", "register", "guarded"][..],
        &["name", "transfer", "guarded", &mallory.address],
        &["name", "set", "guarded"],
    ] {
        let said = refused(&mallory, arguments, REFUSED)?;
        ensure!(said.contains(&alice.address), "{said}");
    }
    // Anybody may pay for more of it, which changes nothing else.
    let before = ok(&mallory, &["name", "resolve", "guarded"])?;
    let after = ok(&mallory, &["name", "renew", "guarded"])?;
    ensure!(
        after["owner"] == *alice.address && after["expires"].as_str() > before["expires"].as_str(),
        "{before} {after}"
    );
    Ok(())
}

/// A name that is given away says what it said until its new owner says otherwise.
pub(super) fn given(devnet: &Devnet) -> Result<()> {
    let alice = Person::stranger(devnet, "v6")?;
    let bob = Person::stranger(devnet, "v6")?;
    ok(&alice, &["name", "register", "present"])?;
    let given = ok(&alice, &["name", "transfer", "present.conet", &bob.address])?;
    ensure!(
        given["owner"] == *bob.address && given["wallet"] == *alice.address,
        "{given}"
    );
    refused(&alice, &["name", "set", "present"], REFUSED)?;
    let set = ok(&bob, &["name", "set", "present"])?;
    ensure!(set["wallet"] == *bob.address, "{set}");
    Ok(())
}

/// What leads nowhere, or only looks like a name, is said in words.
pub(super) fn nowhere(devnet: &Devnet) -> Result<()> {
    let alice = Person::reachable(devnet)?;
    let said = refused(&alice, &["send", "nobodys-name.conet", "hi"], NOT_FOUND)?;
    ensure!(said.contains("nobody has registered"), "{said}");
    for text in ["sh\u{43e}p.conet", "a..conet", "xn--shp-ula.conet"] {
        refused(&alice, &["send", text, "hi"], USAGE)?;
        refused(&alice, &["name", "resolve", text], USAGE)?;
    }
    refused(&alice, &["name", "register", "ab"], USAGE)?;
    refused(&alice, &["name", "register", "a.shop.conet"], USAGE)?;
    ensure!(
        alice.waiting()? == 0,
        "nothing was sent, yet something waits"
    );
    Ok(())
}
