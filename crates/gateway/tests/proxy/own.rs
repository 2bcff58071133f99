//! The proxy's own pages, and who may not read them.

use std::net::SocketAddr;
use std::process::{Command, Stdio};

use gateway::{Bypass, Config};
use protocol::target::Host;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::http::ask;
use crate::scene::{Scene, config, read_all};

async fn page(scene: &Scene, path: &str, host: &str, more: &str) -> String {
    ask(
        scene,
        &format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{more}Connection: close\r\n\r\n"),
    )
    .await
}

#[tokio::test]
async fn pages_are_served_to_who_names_the_listener() {
    let scene = Scene::start().await;
    let port = scene.http.port();
    for host in [
        format!("127.0.0.1:{port}"),
        format!("localhost:{port}"),
        format!("LOCALHOST.:{port}"),
        format!("[::1]:{port}"),
    ] {
        for (path, kind, says) in [
            ("/", "text/html", "CONET proxy: up"),
            ("/status.json", "application/json", "\"is_up\":true"),
            (
                "/proxy.pac",
                "application/x-ns-proxy-autoconfig",
                "FindProxyForURL",
            ),
        ] {
            let answer = page(&scene, path, &host, "Sec-Fetch-Site: none\r\n").await;
            assert!(
                answer.starts_with("HTTP/1.1 200 "),
                "{host}{path}: {answer}"
            );
            assert!(answer.contains(kind) && answer.contains(says), "{answer}");
            assert!(
                answer.contains("nosniff")
                    && answer.contains("no-store")
                    && answer.contains("default-src 'none'")
            );
            assert!(!answer.to_lowercase().contains("access-control"));
        }
    }
    let same = format!("Origin: http://127.0.0.1:{port}\r\nSec-Fetch-Site: same-origin\r\n");
    let answer = page(&scene, "/status.json", &format!("127.0.0.1:{port}"), &same).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn page_of_another_site_reads_nothing() {
    let scene = Scene::start().await;
    let port = scene.http.port();
    let own = format!("127.0.0.1:{port}");
    for path in ["/", "/status.json", "/proxy.pac"] {
        for host in [
            format!("evil.example:{port}"),
            format!("localhost.evil.example:{port}"),
            format!("user@127.0.0.1:{port}"),
            format!("192.0.2.1:{port}"),
            "127.0.0.1".into(),
            "127.0.0.1:1".into(),
            String::new(),
            format!("{own}\r\nHost: {own}"),
        ] {
            let answer = page(&scene, path, &host, "").await;
            assert!(answer.starts_with("HTTP/1.1 4"), "{host}: {answer}");
        }
        for more in [
            "Origin: http://evil.example\r\n",
            "Origin: null\r\n",
            "Origin: http://127.0.0.1:1\r\n",
            "Sec-Fetch-Site: cross-site\r\n",
            "Sec-Fetch-Site: same-site\r\n",
            "Sec-Fetch-Site: none\r\nSec-Fetch-Site: cross-site\r\n",
        ] {
            let answer = page(&scene, path, &own, more).await;
            assert!(answer.starts_with("HTTP/1.1 403 "), "{more}: {answer}");
            assert!(!answer.contains("is_up") && !answer.contains("FindProxy"));
        }
    }
}

#[tokio::test]
async fn pages_are_only_read_and_no_others_are_there() {
    let scene = Scene::start().await;
    let own = format!("Host: {}\r\nConnection: close\r\n", scene.http);
    for (request, status) in [
        ("POST /", 405),
        ("OPTIONS *", 405),
        ("GET /x", 404),
        ("GET /../", 404),
    ] {
        let answer = ask(&scene, &format!("{request} HTTP/1.1\r\n{own}\r\n")).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{request}: {answer}"
        );
    }
    let answer = ask(&scene, &format!("HEAD /proxy.pac HTTP/1.1\r\n{own}\r\n")).await;
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\n"),
        "{answer}"
    );
    let answer = ask(&scene, "GET / HTTP/1.0\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.0 403 "), "{answer}");
}

#[tokio::test]
async fn status_counts_and_names_no_destination() {
    let scene = Scene::start().await;
    let (mut client, mut server) = scene.pair().await;
    client.write_all(b"12345").await.unwrap();
    client.shutdown().await.unwrap();
    read_all(&mut server).await.unwrap();
    let own = scene.http.to_string();
    let answer = page(&scene, "/status.json", &own, "").await;
    let (_, json) = answer.split_once("\r\n\r\n").unwrap();
    let status: serde_json::Value = serde_json::from_str(json).unwrap();
    assert_eq!(status["traffic"]["total"]["up_bytes"], 5);
    assert_eq!(status["traffic"]["total"]["open"], 1);
    let bridge = crate::scene::bridge().to_string();
    assert_eq!(status["traffic"]["bridges"][&bridge]["opened"], 1);
    assert_eq!(status["outbound"]["bridges"][0]["latency_ms"], 42);
    let html = page(&scene, "/", &own, "").await;
    assert!(html.contains(&bridge) && html.contains("42 ms"), "{html}");
    assert!(
        html.contains("two &lt; three &amp; &quot;four&quot;"),
        "{html}"
    );
    for page in [answer, html] {
        assert!(!page.contains("pair.example"), "{page}");
    }
}

#[tokio::test]
async fn remote_client_gets_the_pac_file_by_an_address_and_never_the_status() {
    let every = Some(SocketAddr::from(([0, 0, 0, 0], 0)));
    let remote = Config {
        http: every,
        socks: every,
        allow_remote: true,
        ..config()
    };
    let scene = Scene::start_with(remote).await;
    // As if it were another machine: an address of this one that is not a loopback one, where there is any.
    let probe = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    let outside = probe
        .connect("192.0.2.1:9")
        .and_then(|()| probe.local_addr());
    let Ok(outside) = outside.map(|address| SocketAddr::new(address.ip(), scene.http.port()))
    else {
        return;
    };
    for (path, status) in [("/proxy.pac", "200"), ("/status.json", "403"), ("/", "403")] {
        let mut client = TcpStream::connect(outside).await.unwrap();
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {outside}\r\nConnection: close\r\n\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        let answer = String::from_utf8(read_all(&mut client).await.unwrap()).unwrap();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
        assert_eq!(
            answer.contains(&format!("PROXY {outside}")),
            status == "200",
            "{answer}"
        );
    }
}

/// Runs the PAC file in a JavaScript engine that the machine may have; nothing where it has none.
fn evaluate(pac: &str, calls: &[(String, String)]) -> Option<Vec<String>> {
    let calls = serde_json::to_string(calls).unwrap();
    let program = format!(
        "{pac}\nconsole.log(JSON.stringify({calls}.map(function (c) {{ return FindProxyForURL(c[0], c[1]); }})));"
    );
    let output = Command::new("node")
        .arg("-e")
        .arg(program)
        .stdin(Stdio::null())
        .output()
        .ok()?;
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

#[tokio::test]
async fn pac_file_lets_the_same_hosts_bypass_as_the_gateway() {
    let rules = "<local>, example.org, .lan, *.below.example, 10.0.0.0/8, 192.0.2.128/25, 0.0.0.0/32, fd00::/8, \
        2001:db8:8000::/33, ::ffff:198.51.100.0/120, 203.0.113.7";
    let bypass: Bypass = rules.parse().unwrap();
    let scene = Scene::start_with(Config {
        bypass: bypass.clone(),
        ..config()
    })
    .await;
    let answer = page(&scene, "/proxy.pac", &scene.http.to_string(), "").await;
    let (_, pac) = answer.split_once("\r\n\r\n").unwrap();
    let hosts = [
        "localhost",
        "printer",
        "a.localhost",
        "example.org",
        "a.example.org",
        "xexample.org",
        "lan",
        "a.lan",
        "plan.x",
        "below.example",
        "a.below.example",
        "a.b.below.example",
        "xbelow.example",
        "10.0.0.1",
        "11.0.0.1",
        "127.0.0.1",
        "127.255.0.1",
        "128.0.0.1",
        "192.0.2.127",
        "192.0.2.128",
        "192.0.2.255",
        "0.0.0.0",
        "0.0.0.1",
        "::1",
        "::2",
        "::",
        "fd00::1",
        "fdff:ffff::",
        "fe00::1",
        "2001:db8:8000::1",
        "2001:db8:7fff::1",
        "2001:db8:ffff:1:2:3:4:5",
        "::ffff:10.1.2.3",
        "::ffff:a01:203",
        "::ffff:11.1.2.3",
        "198.51.100.9",
        "::ffff:198.51.100.9",
        "203.0.113.7",
        "203.0.113.8",
        "10.0.0.1.example",
        "shop.conet",
        "conet.example",
        "1::10.0.0.1",
    ];
    let urls = hosts.map(|host| {
        let url_host = if host.contains(':') {
            format!("[{host}]")
        } else {
            host.to_owned()
        };
        (format!("http://{url_host}/"), host.to_owned())
    });
    let Some(found) = evaluate(pac, &urls) else {
        eprintln!("no node here: the PAC file was not run");
        return;
    };
    let (socks, http) = (
        format!("SOCKS5 {}", scene.socks),
        format!("PROXY {}", scene.http),
    );
    for (host, found) in hosts.iter().zip(&found) {
        let expected = match bypass.matches(&host.parse::<Host>().unwrap()) {
            true => "DIRECT".to_owned(),
            false if host.ends_with(".conet") => format!("{http}; {socks}"),
            false => format!("{socks}; {http}"),
        };
        assert_eq!(*found, expected, "{host}");
    }
    let odd = [
        "[fd00::1]",
        "A.LAN.",
        "fd00:::1",
        "1:2:3",
        ":::",
        "256.0.0.1",
        "https.conet",
    ];
    let odd = odd.map(|host| ("https://x/".to_owned(), host.to_owned()));
    let usual = format!("{socks}; {http}");
    let found = evaluate(pac, &odd).unwrap();
    assert_eq!(found[..2], ["DIRECT", "DIRECT"]);
    // A browser gives no such hosts; what it may not do is let them out directly.
    assert_eq!(found[5..], [usual.clone(), usual]);
    assert!(answer.contains("application/x-ns-proxy-autoconfig"));
}
