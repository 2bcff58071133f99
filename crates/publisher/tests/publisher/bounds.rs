//! Who asks too much, too slowly or not in good form, and a server that is not there.

use std::sync::Arc;
use std::time::Duration;

use signin::BodyDigest;
use tokio::io::AsyncWriteExt as _;

use crate::scene::{Scene, get, head, post, read, read_all};

const SHORT: Duration = Duration::from_secs(1);

#[tokio::test]
async fn endless_head_is_refused() {
    for field in [
        "X-A: 1\r\n".repeat(2000),
        format!("X-Long: {}\r\n", "a".repeat(200_000)),
    ] {
        let scene = Scene::start().await;
        let (mut from, mut to) = tokio::io::split(scene.caller());
        let writing = async {
            let request = format!("GET / HTTP/1.1\r\nHost: notes.conet\r\n{field}\r\n");
            let _refused = to.write_all(request.as_bytes()).await;
        };
        let (answer, ()) = tokio::join!(read_all(&mut from), writing);
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
        assert!(scene.is_untouched().await);
    }
}

#[tokio::test]
async fn request_in_bad_form_is_refused() {
    let scene = Scene::start().await;
    for (request, status) in [
        ("GET / HTTP/1.1\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a b\r\n", 400),
        ("CONNECT a.conet:80 HTTP/1.1\r\nHost: a.conet:80\r\n", 400),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n",
            501,
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n",
            400,
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n",
            400,
        ),
        ("rubbish\r\n", 400),
    ] {
        let answer = scene
            .ask(format!("{request}Connection: close\r\n\r\n"))
            .await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{request}: {answer}"
        );
    }
    assert!(scene.is_untouched().await);
}

#[tokio::test]
async fn request_with_a_length_and_chunks_is_framed_by_its_chunks() {
    let scene = Arc::new(Scene::start().await);
    let mut caller = scene.caller();
    let request = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n";
    caller.write_all(request.as_bytes()).await.unwrap();
    // Either is good; a request that hides in the body is not.
    let answer = async { head(&mut caller).await };
    let served = async {
        let mut server = scene.server().await;
        let arrived = head(&mut server).await.to_lowercase();
        assert!(
            !arrived.contains("content-length") && arrived.contains("chunked"),
            "{arrived}"
        );
        assert_eq!(read(&mut server, 11).await, b"1\r\nx\r\n0\r\n\r\n");
        server
            .write_all(b"HTTP/1.1 204 Done\r\n\r\n")
            .await
            .unwrap();
    };
    tokio::select! {
        answer = answer => assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}"),
        () = served => {}
    }
}

#[tokio::test]
async fn request_in_absolute_form_is_for_whom_it_names() {
    let scene = Arc::new(Scene::start().await);
    let mut heads = scene.serve();
    let request = get("/a?b", "")
        .replace("GET /a?b", "GET http://notes.conet/a?b")
        .replace("Host: notes.conet", "Host: x.conet");
    let answer = scene.ask(request).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let arrived = heads.recv().await.unwrap();
    assert!(arrived.starts_with("GET /a?b HTTP/1.1\r\n"), "{arrived}");
    assert!(
        arrived.to_lowercase().contains("\r\nhost: notes.conet\r\n"),
        "{arrived}"
    );
}

#[tokio::test]
async fn requests_beyond_the_limit_are_turned_away_until_one_has_ended() {
    let scene = Scene::start_with(|config| config.max_requests = 1).await;
    let mut first = scene.caller();
    first.write_all(get("/", "").as_bytes()).await.unwrap();
    let mut server = scene.server().await;
    head(&mut server).await;
    server.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    head(&mut first).await;
    let answer = scene.ask(get("/", "")).await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    drop(server);
    read_all(&mut first).await;
    let mut third = scene.caller();
    third.write_all(get("/", "").as_bytes()).await.unwrap();
    head(&mut scene.server().await).await;
}

#[tokio::test]
async fn server_that_is_down_is_said_to_be_and_not_named() {
    let scene =
        Scene::start_with(|config| config.target = "http://127.0.0.1:9".parse().unwrap()).await;
    let answer = scene.ask(get("/", "")).await;
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    assert!(answer.ends_with("the server behind this service does not answer; it may be down\n"));
    assert!(!answer.contains("127.0.0.1"));
}

#[tokio::test]
async fn server_that_answers_what_is_none_is_as_good_as_down() {
    let scene = Scene::start().await;
    for bytes in [
        &b""[..],
        b"rubbish\r\n\r\n",
        b"HTTP/1.1 101 Up\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
    ] {
        let mut caller = scene.caller();
        caller.write_all(get("/", "").as_bytes()).await.unwrap();
        let mut server = scene.server().await;
        head(&mut server).await;
        server.write_all(bytes).await.unwrap();
        drop(server);
        let answer = String::from_utf8(read_all(&mut caller).await).unwrap();
        assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    }
}

#[tokio::test]
async fn who_is_slow_is_not_waited_for_without_end() {
    let scene = Scene::start_with(|config| {
        config.head_timeout = SHORT;
        config.idle_timeout = SHORT;
    })
    .await;
    // A head that does not end.
    let mut caller = scene.caller();
    caller
        .write_all(b"GET / HTTP/1.1\r\nHost: notes.conet\r\n")
        .await
        .unwrap();
    let answer = String::from_utf8(read_all(&mut caller).await).unwrap();
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 408 "),
        "{answer}"
    );
    // A body that does not end, to be compared first and not.
    for length in [10, 10 << 20] {
        let answer = scene
            .ask(format!(
                "{}x",
                post(
                    BodyDigest::of(b"x"),
                    &format!("Content-Length: {length}\r\n")
                )
            ))
            .await;
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    }
    let unsigned = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\nConnection: close\r\n\r\nx";
    assert!(scene.ask(unsigned).await.starts_with("HTTP/1.1 408 "));
    // A server that does not answer.
    let answer = scene.ask(get("/", "")).await;
    assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
    let answer = scene
        .ask(format!(
            "{}x",
            post(BodyDigest::of(b"x"), "Content-Length: 1\r\n")
        ))
        .await;
    assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
}

#[tokio::test]
async fn requests_of_a_stream_share_a_connection_to_the_server() {
    let scene = Scene::start().await;
    let mut caller = scene.caller();
    let mut server = None;
    for _ in 0..3 {
        let request = get("/", "").replace("Connection: close\r\n", "");
        caller.write_all(request.as_bytes()).await.unwrap();
        let connection = match &mut server {
            Some(connection) => connection,
            none => none.insert(scene.server().await),
        };
        head(connection).await;
        connection
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            .await
            .unwrap();
        assert!(head(&mut caller).await.starts_with("HTTP/1.1 200 "));
        assert_eq!(read(&mut caller, 2).await, b"ok");
    }
    assert!(scene.is_untouched().await);
}
