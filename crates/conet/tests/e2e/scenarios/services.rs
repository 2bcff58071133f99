//! Servers on the network: reached, shared, lost and found.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::devnet::{Devnet, get, wait_until};
use crate::person::Person;
use crate::service::{Running, greeted, start_echo};
use crate::web::{Proxy, ask, sha256_of, start_site};

const MIB: usize = 1 << 20;
/// Exit codes of the command line.
const REFUSED: i32 = 3;
const NOT_FOUND: i32 = 5;

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Somebody who serves the web site of the devnet under a name.
fn publisher(devnet: &Devnet, name: &str) -> Result<(Person, Running)> {
    let person = Person::stranger(devnet, "v6")?;
    person.ok(&["name", "register", name, "--json"])?;
    let to = format!("http://127.0.0.1:{}", devnet.site);
    let serving = Running::start(&person, &["serve", "--to", &to, "--name", name])?;
    Ok((person, serving))
}

fn caller(devnet: &Devnet) -> Result<(Person, Proxy)> {
    let person = Person::stranger(devnet, "v6")?;
    let proxy = Proxy::start(&person, &[])?;
    Ok((person, proxy))
}

/// What curl prints, and its status.
fn curl(arguments: &[&str]) -> Result<(String, Option<i32>)> {
    let output = Command::new("curl")
        .args(["-sS", "--max-time", "90"])
        .args(arguments)
        .env_remove("http_proxy")
        .output()
        .context("curl")?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    Ok((said, output.status.code()))
}

/// Connects to a service's port 80 through SOCKS5.
fn connect(proxy: &Proxy, host: &str) -> Result<TcpStream> {
    let connected = proxy.connect_to(host, 80)?;
    connected.map_err(|code| anyhow::anyhow!("{host}: SOCKS reply {code}"))
}

pub(super) fn served(devnet: &Devnet) -> Result<()> {
    let (person, serving) = publisher(devnet, "first-shop")?;
    let addresses = serving.said["services"][0]["addresses"].to_string();
    ensure!(
        addresses.contains("http://first-shop.conet/"),
        "{addresses}"
    );
    let (_caller, proxy) = caller(devnet)?;
    let socks = format!("socks5h://{}", proxy.socks);
    let http = format!("http://{}", proxy.http);
    let own = format!("http://{}.conet/", person.address.to_lowercase());
    for way in [&socks, &http] {
        for url in [
            "http://first-shop.conet/",
            "http://First-Shop.Conet/x",
            &own,
        ] {
            let (said, code) = curl(&["-x", way, url])?;
            ensure!(code == Some(0) && said == "hello", "{way} {url}: {said}");
        }
    }
    // What comes piece by piece is passed on piece by piece.
    let mut slow = connect(&proxy, "first-shop.conet")?;
    slow.write_all(b"GET /slow/33554432 HTTP/1.1\r\nHost: first-shop.conet\r\n\r\n")?;
    slow.set_read_timeout(Some(Duration::from_secs(60)))?;
    let mut early = vec![0; 4_096];
    slow.read_exact(&mut early)?;
    ensure!(early.starts_with(b"HTTP/1.1 200"));
    drop(slow);
    // A connection that became something else, and is idle now and then.
    let mut socket = TcpStream::connect(proxy.http)?;
    socket.set_read_timeout(Some(Duration::from_secs(60)))?;
    socket.write_all(
        b"GET http://first-shop.conet/ HTTP/1.1\r\nHost: first-shop.conet\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n",
    )?;
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        socket.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    ensure!(
        head.starts_with(b"HTTP/1.1 101"),
        "{}",
        String::from_utf8_lossy(&head)
    );
    for word in ["one", "two", "three"] {
        socket.write_all(word.as_bytes())?;
        let mut heard = vec![0; word.len()];
        socket.read_exact(&mut heard)?;
        ensure!(heard == word.as_bytes());
        std::thread::sleep(Duration::from_millis(300));
    }
    let traffic = &proxy.status()?["traffic"];
    ensure!(
        traffic["services"]["opened"].as_u64() >= Some(8) && traffic["direct"]["opened"] == 0,
        "{traffic}"
    );
    Ok(())
}

/// The wallet that a page of notes says its visitor is.
fn visitor(page: &str) -> Option<&str> {
    let rest = page.split("You are <code>").nth(1)?;
    rest.split("</code>").next()
}

pub(super) fn notes(devnet: &Devnet) -> Result<()> {
    const URL: &str = "http://notes.conet/";
    let (person, proxy) = caller(devnet)?;
    let way = format!("http://{}", proxy.http);
    let (page, _) = curl(&["-x", &way, URL])?;
    let wallet = visitor(&page).with_context(|| page.clone())?.to_owned();
    ensure!(
        !page.contains(&person.address),
        "sites see wallets of their own"
    );
    let note = "text=buy milk";
    let (page, _) = curl(&[
        "-x",
        &way,
        "-L",
        "--data-urlencode",
        note,
        &format!("{URL}notes"),
    ])?;
    ensure!(page.contains("buy milk"), "{page}");
    // What another page of the same browser would cause.
    let foreign = [
        "-H",
        "Origin: http://evil.test",
        "--data-urlencode",
        "text=evil",
    ];
    let (page, _) = curl(&[&["-x", &way][..], &foreign, &[&format!("{URL}notes")]].concat())?;
    ensure!(visitor(&page).is_none(), "{page}");
    drop(proxy);
    let again = Proxy::start(&person, &[])?;
    let way = format!("http://{}", again.http);
    let (page, _) = curl(&["-x", &way, URL])?;
    ensure!(
        visitor(&page) == Some(&wallet) && page.contains("buy milk"),
        "{page}"
    );
    ensure!(!page.contains("evil"), "{page}");
    let unsigned = Proxy::start(&person, &["--no-sign", "notes.conet"])?;
    let (page, _) = curl(&["-x", &format!("http://{}", unsigned.http), URL])?;
    ensure!(
        visitor(&page).is_none() && !page.contains("buy milk"),
        "{page}"
    );
    let (_other, proxy) = caller(devnet)?;
    let (page, _) = curl(&["-x", &format!("http://{}", proxy.http), URL])?;
    let other = visitor(&page).with_context(|| page.clone())?;
    ensure!(other != wallet && !page.contains("buy milk"), "{page}");
    Ok(())
}

pub(super) fn large_bodies(devnet: &Devnet) -> Result<()> {
    let (_person, _serving) = publisher(devnet, "large-shop")?;
    let (_caller, proxy) = caller(devnet)?;
    let bytes = 64 * MIB;
    let get = format!(
        "GET /bytes/{bytes} HTTP/1.1\r\nHost: large-shop.conet\r\nConnection: close\r\n\r\n"
    );
    let (status, body) = ask(connect(&proxy, "large-shop.conet")?, &get, &[])?;
    ensure!(
        status.contains("200") && body.len() == bytes,
        "{status} {}",
        body.len()
    );
    ensure!(sha256(&body) == sha256_of(bytes), "the download differs");
    let head = format!(
        "POST / HTTP/1.1\r\nHost: large-shop.conet\r\nContent-Length: {bytes}\r\nConnection: close\r\n\r\n"
    );
    let (_, answer) = ask(connect(&proxy, "large-shop.conet")?, &head, &body)?;
    ensure!(answer == sha256(&body).into_bytes(), "the upload differs");
    Ok(())
}

pub(super) fn forwarded(devnet: &Devnet) -> Result<()> {
    let owner = Person::stranger(devnet, "v6")?;
    let friend = Person::stranger(devnet, "v6")?;
    let (open, closed) = (start_echo("open!")?, start_echo("closed")?);
    let open = format!("7=127.0.0.1:{open}");
    let closed = format!("9=127.0.0.1:{closed}");
    let _open = Running::start(&owner, &["serve", "--tcp", &open])?;
    let _closed = Running::start(
        &owner,
        &["serve", "--tcp", &closed, "--allow", &friend.address],
    )?;
    let service = format!("0:{}.conet", owner.address);

    let stranger = Person::stranger(devnet, "v6")?;
    let forward = Running::start(&stranger, &["forward", &format!("{service}:7")])?;
    let (mut socket, word) = greeted(forward.port()?, 5)?;
    ensure!(word == "open!", "{word}");
    let sent: Vec<u8> = (0..3 * MIB).map(|n| (n % 251) as u8).collect();
    let mut writer = socket.try_clone()?;
    let back = std::thread::scope(|scope| {
        let sent = &sent;
        scope.spawn(move || {
            writer.write_all(sent)?;
            writer.shutdown(Shutdown::Write)
        });
        let mut back = Vec::new();
        socket.read_to_end(&mut back).map(|_| back)
    })?;
    ensure!(back == sent, "{} bytes came back", back.len());

    // Nobody, and somebody else, are kept out; whom the list names gets in.
    let anonymous = Running::start(&friend, &["forward", &format!("{service}:9")])?;
    ensure!(greeted(anonymous.port()?, 6).is_err(), "nobody got in");
    let other = Running::start(
        &stranger,
        &["forward", "--as", "me", &format!("{service}:9")],
    )?;
    ensure!(greeted(other.port()?, 6).is_err(), "a stranger got in");
    let known = Running::start(&friend, &["forward", "--as", "me", &format!("{service}:9")])?;
    ensure!(greeted(known.port()?, 6)?.1 == "closed");
    Ok(())
}

pub(super) fn members_only(devnet: &Devnet) -> Result<()> {
    const URL: &str = "http://members.conet/";
    let owner = Person::stranger(devnet, "v6")?;
    let friend = Person::stranger(devnet, "v6")?;
    let to = format!("http://127.0.0.1:{}", devnet.site);
    let mut serve = vec!["serve", "--to", &to, "--name", "members", "--register"];
    serve.extend(["--allow", &friend.address]);
    let _serving = Running::start(&owner, &serve)?;
    let answer = |person: &Person, options: &[&str]| -> Result<String> {
        let proxy = Proxy::start(person, options)?;
        let way = format!("http://{}", proxy.http);
        let forged = format!("Conet-Wallet: {}", friend.address);
        Ok(curl(&["-x", &way, "-H", &forged, "-w", " %{http_code}", URL])?.0)
    };
    let said = answer(&friend, &["--sign-as-me", "members.conet"])?;
    ensure!(said == "hello 200", "{said}");
    // As somebody who has no name but for this site, and as nobody.
    let said = answer(&friend, &[])?;
    ensure!(said.ends_with(" 403"), "{said}");
    let said = answer(&friend, &["--no-sign", "*"])?;
    ensure!(said.ends_with(" 401"), "{said}");
    let stranger = Person::stranger(devnet, "v6")?;
    let said = answer(&stranger, &["--sign-as-me", "members.conet"])?;
    ensure!(said.ends_with(" 403"), "{said}");
    Ok(())
}

pub(super) fn processes(devnet: &Devnet) -> Result<()> {
    let (person, mut web) = publisher(devnet, "two-doors")?;
    let echo = format!("7=127.0.0.1:{}", start_echo("echo")?);
    let _tcp = Running::start(&person, &["serve", "--tcp", &echo, "--name", "two-doors"])?;
    let (caller, proxy) = caller(devnet)?;
    let forward = Running::start(&caller, &["forward", "0:two-doors.conet:7"])?;
    let hello = |socket| -> Result<bool> {
        let head = "GET / HTTP/1.1\r\nHost: two-doors.conet\r\nConnection: close\r\n\r\n";
        Ok(ask(socket, head, &[])?.1 == b"hello")
    };
    for _ in 0..4 {
        ensure!(hello(connect(&proxy, "two-doors.conet")?)?);
        ensure!(greeted(forward.port()?, 4)?.1 == "echo");
    }
    web.kill()?;
    // The other process goes on as if nothing had been.
    ensure!(greeted(forward.port()?, 4)?.1 == "echo");
    let to = format!("http://127.0.0.1:{}", devnet.site);
    let _again = Running::start(&person, &["serve", "--to", &to, "--name", "two-doors"])?;
    wait_until("the service is back", || {
        match proxy.connect_to("two-doors.conet", 80)? {
            Ok(socket) => hello(socket),
            Err(_) => Ok(false),
        }
    })
}

pub(super) fn two_publishers(devnet: &Devnet) -> Result<()> {
    let first = Person::reachable(devnet)?;
    let second = first.second_device()?;
    let serve = |person: &Person, word| -> Result<Running> {
        let tcp = format!("7=127.0.0.1:{}", start_echo(word)?);
        Running::start(person, &["serve", "--tcp", &tcp])
    };
    let mut one = serve(&first, "one")?;
    let _two = serve(&second, "two")?;
    let caller = Person::stranger(devnet, "v6")?;
    let service = format!("0:{}.conet:7", first.address);
    let forward = Running::start(&caller, &["forward", &service])?;
    let open: Vec<(TcpStream, String)> = (0..8)
        .map(|_| greeted(forward.port()?, 3))
        .collect::<Result<_>>()?;
    for word in ["one", "two"] {
        let count = open.iter().filter(|(_, said)| said == word).count();
        ensure!(count >= 2, "{word} got {count} of {}", open.len());
    }
    one.kill()?;
    for _ in 0..4 {
        ensure!(greeted(forward.port()?, 3)?.1 == "two");
    }
    // Those of the dead one are told so; those of the other go on.
    for (mut socket, said) in open {
        socket.set_read_timeout(Some(Duration::from_secs(120)))?;
        let mut back = [0; 12];
        let written = socket.write_all(b"still there?");
        let heard = written.and_then(|()| socket.read_exact(&mut back));
        ensure!(heard.is_ok() == (said == "two"), "{said}: {heard:?}");
        if let Err(error) = heard {
            // Neither an end that looks orderly, nor silence.
            let kind = error.kind();
            ensure!(
                matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe),
                "{error}"
            );
        }
    }
    Ok(())
}

pub(super) fn nowhere(devnet: &Devnet) -> Result<()> {
    let offline = Person::reachable(devnet)?;
    offline.ok(&["name", "register", "offline-shop", "--json"])?;
    let (caller, proxy) = caller(devnet)?;
    let http = format!("http://{}", proxy.http);
    for (host, reply, status, words) in [
        ("nobodys-shop.conet", 4, "502", "leads to no wallet"),
        ("offline-shop.conet", 4, "503", "nobody serves it now"),
        ("xn--shp-ted.conet", 4, "400", "can be no .conet name"),
    ] {
        ensure!(proxy.connect_to(host, 80)?.err() == Some(reply), "{host}");
        let url = format!("http://{host}/");
        let (said, _) = curl(&["-x", &http, "-w", "%{http_code}", &url])?;
        ensure!(
            said.contains(words) && said.ends_with(status),
            "{host}: {said}"
        );
    }
    // Its server is down, which is another thing than that nobody serves it.
    let closed = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
    let tcp = format!("80={closed}");
    let _serving = Running::start(
        &offline,
        &["serve", "--tcp", &tcp, "--name", "offline-shop"],
    )?;
    let refused = 5;
    ensure!(proxy.connect_to("offline-shop.conet", 80)?.err() == Some(refused));

    let to = format!("http://127.0.0.1:{}", devnet.site);
    let exit = |person: &Person, arguments: &[&str]| -> Result<(Option<i32>, String)> {
        let output = person.run(arguments)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        Ok((output.status.code(), said))
    };
    let (code, said) = exit(&caller, &["serve", "--to", &to, "--name", "nobodys-shop"])?;
    ensure!(
        code == Some(NOT_FOUND) && said.contains("conet name register"),
        "{said}"
    );
    let (code, said) = exit(&caller, &["serve", "--to", &to, "--name", "offline-shop"])?;
    ensure!(
        code == Some(REFUSED) && said.contains(&offline.address),
        "{said}"
    );
    let (code, said) = exit(&caller, &["forward", "0:nobodys-shop.conet:7"])?;
    ensure!(code == Some(NOT_FOUND), "{said}");
    Ok(())
}

/// The nodes that splice a stream now.
fn on_the_way(devnet: &Devnet) -> Result<Vec<String>> {
    let mut busy = Vec::new();
    for node in devnet.nodes()? {
        let Ok(text) = get(node.admin.trim_start_matches("http://"), "/status") else {
            continue;
        };
        let body = text.rsplit("\r\n\r\n").next().unwrap_or(&text);
        let status: Value = serde_json::from_str(body)?;
        if status["circuits"].as_u64() > Some(0) {
            busy.push(node.id);
        }
    }
    Ok(busy)
}

pub(super) fn nodes_die(devnet: &mut Devnet) -> Result<()> {
    // A site of its own: the devnet's may have other callers.
    let site = start_site()?;
    let person = Person::reachable(devnet)?;
    let mailbox = person.mailboxes()?.first().context("no mailbox")?.clone();
    let to = format!("http://127.0.0.1:{site}");
    let _serving = Running::start(&person, &["serve", "--to", &to])?;
    let (_caller, proxy) = caller(devnet)?;
    let host = format!("{}.conet", person.address.to_lowercase());
    let bytes = 160 * MIB;
    let socket = connect(&proxy, &host)?;
    let head = format!("GET /slow/{bytes} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    let download = std::thread::spawn(move || ask(socket, &head, &[]));
    wait_until("the stream is under way", || {
        Ok(on_the_way(devnet)?.len() >= 3)
    })?;
    // Entries and relay first, the mailbox last: it is the one that can't be avoided.
    let mut revived = Vec::new();
    let mut others: Vec<String> = on_the_way(devnet)?;
    others.retain(|id| !id.eq_ignore_ascii_case(&mailbox));
    others.push(mailbox);
    for node in &others {
        ensure!(!download.is_finished(), "the download ended too early");
        devnet.kill_node(node)?;
        revived.push(devnet.revive_node(node)?);
        std::thread::sleep(Duration::from_millis(1_500));
    }
    let (status, body) = download.join().map_err(|_| anyhow::anyhow!("panicked"))??;
    ensure!(
        status.contains("200") && body.len() == bytes,
        "{status} {}",
        body.len()
    );
    ensure!(sha256(&body) == sha256_of(bytes), "the download differs");
    drop(revived);
    devnet.stop()?;
    devnet.start()
}
