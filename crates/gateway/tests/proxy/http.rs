//! Requests in absolute form: what arrives at the origin, and what comes back.

use std::sync::atomic::Ordering;
use std::time::Duration;

use gateway::{Config, Isolation};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::scene::{FAILURES, Scene, config, in_time, read, read_all};

/// A head, to its empty line.
pub(crate) async fn head(from: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        bytes.extend_from_slice(&read(from, 1).await);
    }
    String::from_utf8(bytes).unwrap()
}

/// Sends a request and reads all that comes until the connection is closed.
pub(crate) async fn ask(scene: &Scene, request: &str) -> String {
    let mut client = TcpStream::connect(scene.http).await.unwrap();
    client.write_all(request.as_bytes()).await.unwrap();
    String::from_utf8(read_all(&mut client).await.unwrap()).unwrap()
}

pub(crate) async fn accept(listener: &TcpListener) -> TcpStream {
    in_time("a connection", listener.accept()).await.unwrap().0
}

#[tokio::test]
async fn request_in_absolute_form_arrives_as_one_to_an_origin() {
    let scene = Scene::start().await;
    let listener = scene.server("site.example").await;
    let mut client = TcpStream::connect(scene.http).await.unwrap();
    let request = "DELETE http://user:secret@Site.example:8080/a?b=c HTTP/1.1\r\nHost: elsewhere.example\r\n\
        Proxy-Authorization: Basic Ym9iOng=\r\nProxy-Connection: keep-alive\r\nConnection: X-Hop, keep-alive\r\n\
        X-Hop: 1\r\nTE: trailers\r\nX-End-To-End: 2\r\n\r\n";
    client.write_all(request.as_bytes()).await.unwrap();
    let mut origin = accept(&listener).await;
    let arrived = head(&mut origin).await;
    let mut lines: Vec<_> = arrived.trim_end().split("\r\n").collect();
    assert_eq!(lines.remove(0), "DELETE /a?b=c HTTP/1.1");
    lines.sort_unstable();
    assert_eq!(lines, ["Host: Site.example:8080", "X-End-To-End: 2"]);
    let answer = "HTTP/1.1 203 Fine\r\nContent-Length: 2\r\nConnection: X-Hop\r\nX-Hop: 1\r\n\
        Proxy-Authenticate: Basic\r\nX-End-To-End: 3\r\n\r\nok";
    origin.write_all(answer.as_bytes()).await.unwrap();
    let answered = head(&mut client).await;
    assert!(answered.starts_with("HTTP/1.1 203 "), "{answered}");
    let mut lines: Vec<_> = answered.trim_end().split("\r\n").skip(1).collect();
    lines.sort_unstable();
    assert_eq!(lines, ["Content-Length: 2", "X-End-To-End: 3"]);
    assert_eq!(read(&mut client, 2).await, b"ok");
    let ask = scene.script.asks.lock()[0].clone();
    assert_eq!(ask.target.to_string(), "site.example:8080");
    assert_eq!(ask.isolation, Isolation::from_user(b"bob"));
}

#[tokio::test]
async fn requests_of_one_client_to_one_site_share_a_connection_and_no_others() {
    let scene = Scene::start().await;
    let listener = scene.server("site.example").await;
    scene.name("other.example", listener.local_addr().unwrap());
    tokio::spawn(async move {
        for number in 0_u32.. {
            let mut origin = accept(&listener).await;
            tokio::spawn(async move {
                loop {
                    let mut first = [0];
                    if !matches!(origin.read(&mut first).await, Ok(1)) {
                        return;
                    }
                    head(&mut origin).await;
                    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{number}");
                    origin.write_all(answer.as_bytes()).await.unwrap();
                }
            });
        }
    });
    let mut client = TcpStream::connect(scene.http).await.unwrap();
    for (site, login, connection) in [
        ("site.example", "", b"0"),
        ("site.example", "", b"0"),
        ("other.example", "", b"1"),
        (
            "other.example",
            "Proxy-Authorization: Basic Ym9iOng=\r\n",
            b"2",
        ),
        (
            "other.example",
            "Proxy-Authorization: Basic Ym9iOnk=\r\n",
            b"2",
        ),
        (
            "other.example",
            "Proxy-Authorization: Basic am9lOnk=\r\n",
            b"3",
        ),
    ] {
        let request = format!("GET http://{site}/ HTTP/1.1\r\nHost: {site}\r\n{login}\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        head(&mut client).await;
        assert_eq!(read(&mut client, 1).await, connection, "{site} {login}");
    }
}

#[tokio::test]
async fn connection_that_the_origin_has_closed_is_replaced() {
    let scene = Scene::start().await;
    let listener = scene.server("site.example").await;
    tokio::spawn(async move {
        loop {
            let mut origin = accept(&listener).await;
            head(&mut origin).await;
            origin
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n!")
                .await
                .unwrap();
        }
    });
    let mut client = TcpStream::connect(scene.http).await.unwrap();
    for _ in 0..5 {
        client
            .write_all(b"GET http://site.example/ HTTP/1.1\r\nHost: x\r\n\r\n")
            .await
            .unwrap();
        assert!(head(&mut client).await.starts_with("HTTP/1.1 200 "));
        assert_eq!(read(&mut client, 1).await, b"!");
        scene
            .until("the close", |scene| scene.counters.read().total.open == 0)
            .await;
    }
}

#[tokio::test]
async fn bodies_pass_as_they_come() {
    let scene = Scene::start().await;
    let listener = scene.server("site.example").await;
    let mut client = TcpStream::connect(scene.http).await.unwrap();
    let request = "POST http://site.example/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n";
    client.write_all(request.as_bytes()).await.unwrap();
    let mut origin = accept(&listener).await;
    assert!(
        head(&mut origin)
            .await
            .to_lowercase()
            .contains("transfer-encoding: chunked")
    );
    assert_eq!(read(&mut origin, 8).await, b"3\r\none\r\n");
    let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n";
    origin.write_all(answer.as_bytes()).await.unwrap();
    head(&mut client).await;
    assert_eq!(read(&mut client, 10).await, b"5\r\nfirst\r\n");
    client.write_all(b"3\r\ntwo\r\n0\r\n\r\n").await.unwrap();
    assert_eq!(read(&mut origin, 13).await, b"3\r\ntwo\r\n0\r\n\r\n");
    origin.write_all(b"6\r\nsecond\r\n0\r\n\r\n").await.unwrap();
    assert_eq!(read(&mut client, 16).await, b"6\r\nsecond\r\n0\r\n\r\n");
}

#[tokio::test]
async fn answer_that_breaks_off_does_not_look_whole() {
    let scene = Scene::start().await;
    for framing in ["Content-Length: 100", "Transfer-Encoding: chunked"] {
        let listener = scene.server("site.example").await;
        let mut client = TcpStream::connect(scene.http).await.unwrap();
        client
            .write_all(b"GET http://site.example/ HTTP/1.1\r\nHost: x\r\n\r\n")
            .await
            .unwrap();
        let mut origin = accept(&listener).await;
        head(&mut origin).await;
        let answer = format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n5\r\nhello\r\n");
        origin.write_all(answer.as_bytes()).await.unwrap();
        drop(origin);
        let answered = read_all(&mut client).await.unwrap_or_default();
        let answered = String::from_utf8(answered).unwrap();
        assert!(!answered.ends_with("0\r\n\r\n"), "{answered}");
        assert!(
            answered.is_empty() || answered.contains(framing),
            "{answered}"
        );
    }
}

#[tokio::test]
async fn failure_is_told_by_the_status_that_fits_and_a_page() {
    let scene = Scene::start().await;
    for (host, error) in FAILURES {
        let status = format!("HTTP/1.1 {} ", error.http_status().as_u16());
        let tunnel =
            format!("CONNECT {host}:443 HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let answer = ask(&scene, &tunnel).await;
        assert!(answer.starts_with(&status), "{host}: {answer}");
        let plain =
            format!("GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let answer = ask(&scene, &plain).await;
        assert!(
            answer.starts_with(&status) && answer.contains(&error.to_string()),
            "{answer}"
        );
        assert!(
            answer.contains(error.advice()) && answer.contains("text/plain"),
            "{answer}"
        );
        let shown = plain.replace("Host:", "Accept: text/html\r\nHost:");
        let answer = ask(&scene, &shown).await;
        assert!(
            answer.starts_with(&status) && answer.contains("<h1>"),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn request_that_is_none_of_a_proxy_says_why() {
    let scene = Scene::start().await;
    for (request, status, says) in [
        ("GET https://site.example/", 400, "CONNECT"),
        ("GET ftp://site.example/", 400, "CONNECT"),
        ("GET http://127.1/", 400, "number"),
        ("GET http://a..b/", 400, "empty"),
        ("GET http://site.example:0/", 400, "port"),
        ("CONNECT site.example", 400, "port"),
        ("CONNECT 2130706433:80", 400, "number"),
    ] {
        let answer = ask(
            &scene,
            &format!("{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
        )
        .await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{request}: {answer}"
        );
        assert!(answer.contains(says), "{request}: {answer}");
    }
    let login = "Proxy-Authorization: Negotiate abc\r\nConnection: close\r\n";
    let answer = ask(
        &scene,
        &format!("GET http://site.example/ HTTP/1.1\r\nHost: x\r\n{login}\r\n"),
    )
    .await;
    assert!(
        answer.starts_with("HTTP/1.1 407 ") && answer.contains("proxy-authenticate: Basic"),
        "{answer}"
    );
    assert!(scene.script.asks.lock().is_empty());
}

#[tokio::test]
async fn origin_that_answers_nothing_that_could_be_one_is_told_so() {
    let scene = Scene::start().await;
    let endless = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(1 << 20));
    for answer in [
        "",
        "SSH-2.0-OpenSSH\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        &endless,
    ] {
        let listener = scene.server("site.example").await;
        let said = answer.to_owned();
        tokio::spawn(async move {
            let mut origin = accept(&listener).await;
            head(&mut origin).await;
            let _cut_off = origin.write_all(said.as_bytes()).await;
        });
        let heard = ask(
            &scene,
            "GET http://site.example/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        )
        .await;
        assert!(heard.starts_with("HTTP/1.1 502 "), "{heard}");
    }
}

#[tokio::test]
async fn head_without_an_end_is_refused_at_a_bound() {
    let scene = Scene::start().await;
    let long = format!(
        "GET http://site.example/ HTTP/1.1\r\nX: {}",
        "x".repeat(1 << 20)
    );
    let many = format!(
        "GET http://site.example/ HTTP/1.1\r\n{}",
        "X: y\r\n".repeat(10_000)
    );
    for request in [long, many] {
        let client = TcpStream::connect(scene.http).await.unwrap();
        let (mut from, mut to) = client.into_split();
        let writing = tokio::spawn(async move {
            let _cut_off = to.write_all(request.as_bytes()).await;
            to
        });
        let mut answer = Vec::new();
        // Cut off in mid-sentence the system may call the end a reset.
        let _reset = in_time("the answer", from.read_to_end(&mut answer)).await;
        let answer = String::from_utf8(answer).unwrap();
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 431 "),
            "{answer}"
        );
        in_time("the end", writing).await.unwrap();
    }
    assert!(scene.script.asks.lock().is_empty());
}

#[tokio::test]
async fn head_that_never_ends_is_cut_off() {
    let head_timeout = Duration::from_millis(200);
    let scene = Scene::start_with(Config {
        head_timeout,
        ..config()
    })
    .await;
    for said in [
        "",
        "GET http://site.exa",
        "GET http://site.example/ HTTP/1.1\r\nHost: x\r\nX:",
    ] {
        let mut client = TcpStream::connect(scene.http).await.unwrap();
        client.write_all(said.as_bytes()).await.unwrap();
        let dripping = async {
            loop {
                tokio::time::sleep(Duration::from_millis(50)).await;
                if client.write_all(b"x").await.is_err() {
                    return;
                }
            }
        };
        in_time("the end", dripping).await;
    }
}

#[tokio::test]
async fn client_that_leaves_takes_its_request_along() {
    let scene = Scene::start().await;
    for request in ["GET http://never.example/", "CONNECT never.example:80"] {
        let mut client = TcpStream::connect(scene.http).await.unwrap();
        client
            .write_all(format!("{request} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes())
            .await
            .unwrap();
        scene
            .until("the attempt", |scene| {
                scene.script.waiting.load(Ordering::SeqCst) == 1
            })
            .await;
        drop(client);
        scene
            .until("its end", |scene| {
                scene.script.waiting.load(Ordering::SeqCst) == 0
            })
            .await;
    }
}

#[tokio::test]
async fn bypassed_request_does_not_ask_the_way_out() {
    let bypass = "<local>".parse().unwrap();
    let scene = Scene::start_with(Config { bypass, ..config() }).await;
    let listener = TcpListener::bind(crate::scene::loopback()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut client = TcpStream::connect(scene.http).await.unwrap();
    let request = format!("GET http://{address}/ HTTP/1.1\r\nHost: x\r\n\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
    let mut origin = accept(&listener).await;
    assert!(head(&mut origin).await.contains(&address.to_string()));
    assert!(scene.script.asks.lock().is_empty());
    assert_eq!(scene.counters.read().direct.open, 1);
}

#[tokio::test]
async fn answer_without_a_body_stays_one() {
    let scene = Scene::start().await;
    for (method, answer) in [
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"),
        ("GET", "HTTP/1.1 204 Nothing\r\n\r\n"),
        (
            "GET",
            "HTTP/1.1 304 As Before\r\nContent-Length: 1000\r\nETag: \"a\"\r\n\r\n",
        ),
    ] {
        let listener = scene.server("site.example").await;
        let mut client = TcpStream::connect(scene.http).await.unwrap();
        let request = format!("{method} http://site.example/ HTTP/1.1\r\nHost: x\r\n\r\n");
        client
            .write_all(request.repeat(2).as_bytes())
            .await
            .unwrap();
        let mut origin = accept(&listener).await;
        for _ in 0..2 {
            head(&mut origin).await;
            origin.write_all(answer.as_bytes()).await.unwrap();
            let answered = head(&mut client).await;
            assert!(answered.starts_with(&answer[..13]), "{answered}");
            let has_length = answered.contains("Content-Length: 1000");
            assert_eq!(has_length, method == "HEAD", "{answered}");
        }
    }
}

#[tokio::test]
async fn answer_that_ends_with_its_connection_is_framed_for_the_client() {
    let scene = Scene::start().await;
    let listener = scene.server("site.example").await;
    let mut client = TcpStream::connect(scene.http).await.unwrap();
    client
        .write_all(b"GET http://site.example/ HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let mut origin = accept(&listener).await;
    head(&mut origin).await;
    origin
        .write_all(b"HTTP/1.0 200 OK\r\n\r\nold")
        .await
        .unwrap();
    drop(origin);
    let answered = head(&mut client).await.to_lowercase();
    assert!(
        answered.contains("transfer-encoding: chunked"),
        "{answered}"
    );
    assert_eq!(read(&mut client, 13).await, b"3\r\nold\r\n0\r\n\r\n");
}

#[tokio::test]
async fn body_in_an_unknown_coding_is_not_passed_on() {
    let scene = Scene::start().await;
    let coded = "Transfer-Encoding: gzip, chunked\r\n";
    let request = format!(
        "POST http://site.example/ HTTP/1.1\r\nHost: x\r\n{coded}Connection: close\r\n\r\n0\r\n\r\n"
    );
    assert!(ask(&scene, &request).await.starts_with("HTTP/1.1 501 "));
    assert!(scene.script.asks.lock().is_empty());
}

#[tokio::test]
async fn stranger_is_refused_in_http() {
    let scene = Scene::start().await;
    let tls = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    for said in [
        &[5, 1, 0][..],
        tls,
        &[0; 100],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/9\r\n\r\n",
    ] {
        let mut client = TcpStream::connect(scene.http).await.unwrap();
        client.write_all(said).await.unwrap();
        let answer = read_all(&mut client).await.unwrap();
        let answer = String::from_utf8(answer).unwrap();
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4"),
            "{said:?}: {answer}"
        );
    }
}
