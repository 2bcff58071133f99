//! SOCKS5: what is served, and what others get who speak something else.

use std::sync::atomic::Ordering;
use std::time::Duration;

use gateway::{BindError, Config, Direct, Gateway, Isolation};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::scene::{FAILURES, Scene, config, connect, in_time, read, read_all, reply};

#[tokio::test]
async fn name_reaches_the_way_out_unresolved_and_without_isolation() {
    let scene = Scene::start().await;
    let (_client, _server) = scene.pair().await;
    let ask = scene.script.asks.lock()[0].clone();
    assert_eq!(ask.target.to_string(), "pair.example:80");
    assert_eq!(ask.isolation, Isolation::Shared);
    assert!(ask.first.is_empty());
}

#[tokio::test]
async fn user_name_isolates_whatever_the_password() {
    let scene = Scene::start().await;
    let listener = scene.server("site.example").await;
    for login in [
        &b"\x01\x03bob\x01x"[..],
        b"\x01\x03bob\x00",
        b"\x01\x05\xffjoe\x00\x00",
    ] {
        let mut client = TcpStream::connect(scene.socks).await.unwrap();
        client.write_all(&[5, 2, 0, 2]).await.unwrap();
        assert_eq!(read(&mut client, 2).await, [5, 2]);
        client.write_all(login).await.unwrap();
        assert_eq!(read(&mut client, 2).await, [1, 0]);
        client
            .write_all(&connect("site.example", 80))
            .await
            .unwrap();
        assert_eq!(reply(&mut client).await, 0);
        listener.accept().await.unwrap();
    }
    let keys: Vec<_> = scene
        .script
        .asks
        .lock()
        .iter()
        .map(|ask| ask.isolation.clone())
        .collect();
    assert_eq!(keys[0], Isolation::from_user(b"bob"));
    assert_eq!(keys[0], keys[1]);
    assert_eq!(keys[2], Isolation::from_user(b"\xffjoe\x00"));
}

#[tokio::test]
async fn bytes_behind_the_request_go_along_with_it() {
    let scene = Scene::start().await;
    let listener = scene.server("site.example").await;
    let mut client = TcpStream::connect(scene.socks).await.unwrap();
    let mut all = vec![5, 1, 0];
    all.extend_from_slice(&connect("site.example", 80));
    all.extend_from_slice(b"early");
    client.write_all(&all).await.unwrap();
    let (mut server, _) = in_time("the connection", listener.accept()).await.unwrap();
    assert_eq!(read(&mut server, 5).await, b"early");
    assert_eq!(scene.counters.read().total.up_bytes, 5);
}

#[tokio::test]
async fn failure_is_told_by_the_reply_that_fits() {
    let scene = Scene::start().await;
    for (host, error) in FAILURES {
        let mut client = scene.greeted().await;
        client.write_all(&connect(host, 443)).await.unwrap();
        assert_eq!(reply(&mut client).await, error.socks_reply(), "{host}");
        assert!(read_all(&mut client).await.unwrap().is_empty());
    }
    assert_eq!(scene.counters.read().failed, FAILURES.len() as u64);
}

#[tokio::test]
async fn request_for_no_host_is_refused_without_asking_the_way_out() {
    let scene = Scene::start().await;
    for (request, code) in [
        (connect("127.1", 80), 4),
        (connect("site.example", 0), 4),
        (vec![5, 2, 0, 1], 7),
        (vec![5, 1, 0, 9], 8),
        (vec![4, 1, 0, 1], 1),
    ] {
        let mut client = scene.greeted().await;
        client.write_all(&request).await.unwrap();
        assert_eq!(reply(&mut client).await, code);
        assert!(read_all(&mut client).await.unwrap().is_empty());
    }
    assert!(scene.script.asks.lock().is_empty());
}

#[tokio::test]
async fn stranger_gets_a_short_answer_in_its_own_language() {
    let scene = Scene::start().await;
    let http = b"POST /upload HTTP/1.1\r\nHost: 127.0.0.1:1080\r\n\r\n".repeat(200);
    for (said, heard) in [
        (&[4, 1, 0, 80, 192, 0, 2, 1, 0][..], &[0, 0x5b][..]),
        (&http, b"HTTP/1.1 400 Bad Request"),
        (&[5, 1, 1], &[5, 0xff]),
        (&[5, 0], &[5, 0xff]),
    ] {
        let mut client = TcpStream::connect(scene.socks).await.unwrap();
        client.write_all(said).await.unwrap();
        let answer = read_all(&mut client).await.unwrap();
        assert!(answer.starts_with(heard), "{answer:?}");
    }
    for said in [&b"\x16\x03\x01\x02\x00\x01"[..], b"\0\0\0\0", b"\xff"] {
        let mut client = TcpStream::connect(scene.socks).await.unwrap();
        client.write_all(said).await.unwrap();
        // With what it said unread the system may call the end a reset; both are one.
        assert!(read_all(&mut client).await.unwrap_or_default().is_empty());
    }
}

#[tokio::test]
async fn bad_login_is_told_so() {
    let scene = Scene::start().await;
    let mut client = TcpStream::connect(scene.socks).await.unwrap();
    client.write_all(&[5, 1, 2, 9]).await.unwrap();
    assert_eq!(read_all(&mut client).await.unwrap(), [5, 2, 1, 1]);
}

#[tokio::test]
async fn client_that_never_ends_its_handshake_is_cut_off() {
    let handshake_timeout = Duration::from_millis(200);
    let scene = Scene::start_with(Config {
        handshake_timeout,
        ..config()
    })
    .await;
    for said in [&[][..], &[5], &[5, 255, 0]] {
        let mut client = TcpStream::connect(scene.socks).await.unwrap();
        client.write_all(said).await.unwrap();
        assert!(read_all(&mut client).await.unwrap_or_default().is_empty());
    }
}

#[tokio::test]
async fn client_beyond_the_last_place_is_turned_away_until_one_is_free() {
    let scene = Scene::start_with(Config {
        max_clients: 1,
        ..config()
    })
    .await;
    let (client, server) = scene.pair().await;
    let mut second = TcpStream::connect(scene.socks).await.unwrap();
    assert_eq!(read_all(&mut second).await.unwrap(), [5, 0xff]);
    assert_eq!(scene.counters.read().turned_away, 1);
    drop((client, server));
    let place = async {
        loop {
            let mut third = TcpStream::connect(scene.socks).await.unwrap();
            third.write_all(&[5, 1, 0]).await.unwrap();
            if read(&mut third, 2).await == [5, 0] {
                return;
            }
        }
    };
    in_time("the place", place).await;
}

#[tokio::test]
async fn client_that_leaves_while_it_is_connected_takes_its_attempt_along() {
    let scene = Scene::start().await;
    let mut client = scene.greeted().await;
    client
        .write_all(&connect("never.example", 80))
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

#[tokio::test]
async fn attempt_that_never_ends_is_told_as_timed_out() {
    let connect_timeout = Duration::from_millis(100);
    let scene = Scene::start_with(Config {
        connect_timeout,
        ..config()
    })
    .await;
    let mut client = scene.greeted().await;
    client
        .write_all(&connect("never.example", 80))
        .await
        .unwrap();
    assert_eq!(reply(&mut client).await, 6);
}

#[tokio::test]
async fn address_that_others_reach_is_bound_only_on_purpose() {
    let open = Config {
        socks: Some(([0, 0, 0, 0], 0).into()),
        ..config()
    };
    let refused = Gateway::bind(open.clone(), std::sync::Arc::new(Direct)).await;
    assert!(matches!(refused, Err(BindError::NotLoopback(_))));
    let allowed = Config {
        allow_remote: true,
        ..open
    };
    assert!(
        Gateway::bind(allowed, std::sync::Arc::new(Direct))
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn address_that_is_taken_is_named() {
    let scene = Scene::start().await;
    let taken = Config {
        socks: Some(scene.socks),
        ..config()
    };
    let error = Gateway::bind(taken, std::sync::Arc::new(Direct))
        .await
        .err()
        .unwrap();
    assert!(
        error.to_string().contains(&scene.socks.to_string()),
        "{error}"
    );
}
