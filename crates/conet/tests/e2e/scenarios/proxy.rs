//! The Web2, through bridges.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::devnet::{Devnet, NodeStatus, get, wait_until};
use crate::person::Person;
use crate::web::{Proxy, ask, sha256_of};

const MIB: usize = 1 << 20;

fn site(devnet: &Devnet) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, devnet.site).into()
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn browsing(devnet: &Devnet) -> Result<(Person, Proxy)> {
    let person = Person::stranger(devnet, "v6")?;
    let proxy = Proxy::start(&person, &[])?;
    Ok((person, proxy))
}

pub(super) fn browse(devnet: &Devnet) -> Result<()> {
    let (_person, proxy) = browsing(devnet)?;
    let site = site(devnet);
    let connect = || {
        proxy
            .connect(site)?
            .map_err(|code| anyhow::anyhow!("SOCKS reply {code}"))
    };
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: {site}\r\n\r\n");

    let (status, body) = ask(connect()?, &get("/bytes/20971520"), &[])?;
    ensure!(
        status.contains("200") && body.len() == 20 * MIB,
        "{status}, {}",
        body.len()
    );
    ensure!(sha256(&body) == sha256_of(20 * MIB), "the download differs");

    let upload = vec![7; 20 * MIB];
    let head = format!(
        "POST / HTTP/1.1\r\nHost: {site}\r\nContent-Length: {}\r\n\r\n",
        upload.len()
    );
    let (_, answer) = ask(connect()?, &head, &upload)?;
    ensure!(answer == sha256(&upload).into_bytes(), "the upload differs");

    let absolute =
        format!("GET http://{site}/x HTTP/1.1\r\nHost: {site}\r\nConnection: close\r\n\r\n");
    let (status, body) = ask(TcpStream::connect(proxy.http)?, &absolute, &[])?;
    ensure!(status.contains("200") && body == b"hello", "{status}");

    let mut tunnel = TcpStream::connect(proxy.http)?;
    tunnel.write_all(format!("CONNECT {site} HTTP/1.1\r\nHost: {site}\r\n\r\n").as_bytes())?;
    let mut granted = [0; 12];
    tunnel.read_exact(&mut granted)?;
    ensure!(
        granted.ends_with(b"200"),
        "{}",
        String::from_utf8_lossy(&granted)
    );
    let mut byte = [0];
    let mut end = Vec::new();
    while !end.ends_with(b"\r\n\r\n") {
        tunnel.read_exact(&mut byte)?;
        end.push(byte[0]);
    }
    let (status, body) = ask(tunnel, &get("/"), &[])?;
    ensure!(status.contains("200") && body == b"hello", "{status}");

    for _ in 0..24 {
        let (_, body) = ask(connect()?, &get("/"), &[])?;
        ensure!(body == b"hello");
    }
    let status = proxy.status()?;
    let bridges = status["traffic"]["bridges"]
        .as_object()
        .map_or(0, |all| all.len());
    ensure!(
        bridges == 2,
        "connections did not go to both bridges: {status}"
    );
    Ok(())
}

pub(super) fn refuse(devnet: &Devnet) -> Result<()> {
    let (_person, proxy) = browsing(devnet)?;
    let not_allowed = 2;
    for target in [
        "127.0.0.1:22",
        "10.0.0.1:80",
        "169.254.169.254:80",
        "192.0.2.1:25",
    ] {
        let refused = proxy.connect(target.parse()?)?.err();
        ensure!(refused == Some(not_allowed), "{target}: {refused:?}");
        let absolute =
            format!("GET http://{target}/ HTTP/1.1\r\nHost: {target}\r\nConnection: close\r\n\r\n");
        let (status, _) = ask(TcpStream::connect(proxy.http)?, &absolute, &[])?;
        ensure!(status.contains("403"), "{target}: {status}");
    }
    let pinned = Person::stranger(devnet, "v6")?.run(&[
        "proxy",
        "--socks",
        "127.0.0.1:0",
        "--http",
        "127.0.0.1:0",
        "--pin",
        "0x00000000000000000000000000000000000000ff",
    ])?;
    ensure!(pinned.status.code() == Some(5), "{pinned:?}");
    Ok(())
}

pub(super) fn datagrams(devnet: &Devnet) -> Result<()> {
    let (_person, proxy) = browsing(devnet)?;
    let (control, socket, relay) = proxy.associate()?;
    let mut head = vec![0, 0, 0, 1, 127, 0, 0, 1];
    head.extend_from_slice(&devnet.site.to_be_bytes());
    for length in [0, 1, 1_200, 30_000] {
        let mut datagram = head.clone();
        datagram.resize(head.len() + length, 7);
        socket.send_to(&datagram, relay)?;
        let mut back = vec![0; 65_535];
        let (bytes, _) = socket.recv_from(&mut back)?;
        ensure!(
            back[..bytes] == datagram,
            "{length} bytes came back otherwise"
        );
    }
    drop(control);
    wait_until("the place is closed", || {
        socket.set_read_timeout(Some(Duration::from_millis(200)))?;
        socket.send_to(&head, relay)?;
        Ok(socket.recv_from(&mut [0; 100]).is_err())
    })
}

fn admin(node: &NodeStatus) -> Result<Value> {
    let text = get(node.admin.trim_start_matches("http://"), "/status")?;
    let body = text.rsplit("\r\n\r\n").next().unwrap_or(&text);
    serde_json::from_str(body).with_context(|| text.clone())
}

/// The nodes that splice a stream now, and those at which one ends.
fn on_the_way(devnet: &Devnet) -> Result<(Vec<String>, Vec<String>)> {
    let (mut splicing, mut ending) = (Vec::new(), Vec::new());
    for node in devnet.nodes()? {
        let Ok(status) = admin(&node) else { continue };
        if status["bridge_streams"].as_u64() > Some(0) {
            ending.push(node.id);
        } else if status["circuits"].as_u64() > Some(0) {
            splicing.push(node.id);
        }
    }
    Ok((splicing, ending))
}

/// Reads what is left of a slow download in a thread of its own.
fn slow_download(
    proxy: &Proxy,
    site: SocketAddr,
    bytes: usize,
) -> Result<std::thread::JoinHandle<Result<Vec<u8>>>> {
    let socket = proxy
        .connect(site)?
        .map_err(|code| anyhow::anyhow!("SOCKS reply {code}"))?;
    let head = format!("GET /slow/{bytes} HTTP/1.1\r\nHost: {site}\r\n\r\n");
    Ok(std::thread::spawn(move || Ok(ask(socket, &head, &[])?.1)))
}

pub(super) fn entry_and_relay_die(devnet: &mut Devnet) -> Result<()> {
    let (_person, proxy) = browsing(devnet)?;
    let bytes = 64 * MIB;
    let download = slow_download(&proxy, site(devnet), bytes)?;
    let mut killed = Vec::new();
    while killed.len() < 2 && !download.is_finished() {
        let (splicing, _) = on_the_way(devnet)?;
        if let [entry_or_relay, ..] = &splicing[..] {
            devnet.kill_node(entry_or_relay)?;
            let revived = devnet.revive_node(entry_or_relay)?;
            killed.push((entry_or_relay.clone(), revived));
        }
        std::thread::sleep(Duration::from_millis(1_500));
    }
    ensure!(killed.len() == 2, "the download ended too early");
    let body = download.join().map_err(|_| anyhow::anyhow!("panicked"))??;
    ensure!(body.len() == bytes, "{} bytes", body.len());
    ensure!(sha256(&body) == sha256_of(bytes), "the download differs");
    drop(killed);
    devnet.stop()?;
    devnet.start()
}

pub(super) fn bridge_dies(devnet: &mut Devnet) -> Result<()> {
    let (_person, proxy) = browsing(devnet)?;
    let download = slow_download(&proxy, site(devnet), 64 * MIB)?;
    let mut ending = Vec::new();
    wait_until("the stream is there", || {
        ending = on_the_way(devnet)?.1;
        Ok(ending.len() == 1)
    })?;
    let bridge = ending.first().context("no bridge")?.clone();
    devnet.kill_node(&bridge)?;
    // Others find the other bridge at once.
    let socket = proxy
        .connect(site(devnet))?
        .map_err(|code| anyhow::anyhow!("SOCKS reply {code}"))?;
    let (status, body) = ask(socket, "GET / HTTP/1.1\r\n\r\n", &[])?;
    ensure!(status.contains("200") && body == b"hello", "{status}");
    // The bridge does not know the stream any more, and says so once it is back.
    let revived = devnet.revive_node(&bridge)?;
    let ended = download.join().map_err(|_| anyhow::anyhow!("panicked"))?;
    ensure!(ended.is_err(), "a download that was cut looked whole");
    drop(revived);
    devnet.stop()?;
    devnet.start()
}

/// The bridges on the ledger: each with its policy and price.
fn announced(person: &Person) -> Result<Vec<(String, String, String)>> {
    let output = person.run(&["node", "bridges", "--json"])?;
    ensure!(output.status.success(), "{output:?}");
    let said: Value = serde_json::from_slice(&output.stdout)?;
    let text = |bridge: &Value, name: &str| bridge[name].as_str().unwrap_or_default().to_owned();
    let bridges = said["bridges"].as_array().context("no bridges")?;
    let bridges = bridges.iter();
    Ok(bridges
        .map(|it| (text(it, "id"), text(it, "policy"), text(it, "price_wei")))
        .collect())
}

pub(super) fn offers(devnet: &mut Devnet) -> Result<()> {
    const USUAL: &str = "reject *:25;accept *:*";
    let person = Person::stranger(devnet, "v6")?;
    let site = site(devnet);
    let both = announced(&person)?;
    let usual = |(_, policy, price): &(String, String, String)| policy == USUAL && price == "0";
    ensure!(both.len() == 2 && both.iter().all(usual), "{both:?}");

    let (bridge, ..) = both.first().context("no bridge")?.clone();
    let become_other = |policy: &str, price: &str| {
        let change = ["--bridge", "--exit-policy", policy, "--price", price];
        let running = devnet.revive_node_with(&bridge, &change)?;
        let expected = (bridge.clone(), policy.to_owned(), price.to_owned());
        wait_until("the ledger says the new offer", || {
            Ok(announced(&person)?.contains(&expected))
        })?;
        Ok::<_, anyhow::Error>(running)
    };
    devnet.kill_node(&bridge)?;
    let running = become_other("accept *:443", "7")?;

    let known = |proxy: &Proxy| -> Result<usize> {
        let status = proxy.status()?;
        Ok(status["outbound"]["bridges"].as_array().map_or(0, Vec::len))
    };
    let proxy = Proxy::start(&person, &[])?;
    let status = proxy.status()?;
    let note = status["outbound"]["note"].as_str().unwrap_or_default();
    ensure!(
        known(&proxy)? == 1 && note.contains("--max-price"),
        "{status}"
    );
    drop(proxy);

    let proxy = Proxy::start(&person, &["--max-price", "7"])?;
    ensure!(known(&proxy)? == 2, "{}", proxy.status()?);
    for _ in 0..20 {
        let socket = proxy.connect(site)?;
        let socket = socket.map_err(|code| anyhow::anyhow!("SOCKS reply {code}"))?;
        let (_, body) = ask(socket, "GET / HTTP/1.1\r\n\r\n", &[])?;
        ensure!(body == b"hello");
    }
    let status = proxy.status()?;
    let used = status["traffic"]["bridges"]
        .as_object()
        .context("no traffic")?;
    ensure!(used.len() == 1 && !used.contains_key(&bridge), "{status}");

    let mail = "GET http://mail.example.org:25/ HTTP/1.1\r\nHost: mail.example.org:25\r\nConnection: close\r\n\r\n";
    let (status, body) = ask(TcpStream::connect(proxy.http)?, mail, &[])?;
    let body = String::from_utf8_lossy(&body).into_owned();
    ensure!(
        status.contains("403") && body.contains("no bridge's policy allows port 25"),
        "{status}: {body}"
    );
    drop(running);
    drop(become_other(USUAL, "0")?);
    devnet.stop()?;
    devnet.start()
}
