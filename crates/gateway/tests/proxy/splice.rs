//! Bytes between a client and its server: ends, errors, and everything in between.

use std::io::ErrorKind;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::scene::{Scene, in_time, read, read_all};

#[tokio::test]
async fn end_of_one_direction_passes_and_leaves_the_other_open() {
    let scene = Scene::start().await;
    let (mut client, mut server) = scene.pair().await;
    client.write_all(b"question").await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(read_all(&mut server).await.unwrap(), b"question");
    server.write_all(b"answer").await.unwrap();
    drop(server);
    assert_eq!(read_all(&mut client).await.unwrap(), b"answer");
    scene
        .until("the end", |scene| scene.counters.read().total.open == 0)
        .await;

    let (mut client, mut server) = scene.pair().await;
    server.write_all(b"banner").await.unwrap();
    server.shutdown().await.unwrap();
    assert_eq!(read_all(&mut client).await.unwrap(), b"banner");
    client.write_all(b"late").await.unwrap();
    assert_eq!(read(&mut server, 4).await, b"late");
}

#[tokio::test]
async fn reset_of_one_side_resets_the_other() {
    let scene = Scene::start().await;
    let (client, mut server) = scene.pair().await;
    client.set_zero_linger().unwrap();
    drop(client);
    assert_eq!(
        read_all(&mut server).await.unwrap_err().kind(),
        ErrorKind::ConnectionReset
    );

    let (mut client, server) = scene.pair().await;
    server.set_zero_linger().unwrap();
    drop(server);
    assert_eq!(
        read_all(&mut client).await.unwrap_err().kind(),
        ErrorKind::ConnectionReset
    );
}

#[tokio::test]
async fn gateway_that_stops_resets_what_is_open() {
    let mut scene = Scene::start().await;
    let (mut client, mut server) = scene.pair().await;
    scene.stop.cancel();
    in_time("the stop", &mut scene.done).await.unwrap();
    assert_eq!(
        read_all(&mut client).await.unwrap_err().kind(),
        ErrorKind::ConnectionReset
    );
    assert_eq!(
        read_all(&mut server).await.unwrap_err().kind(),
        ErrorKind::ConnectionReset
    );
}

#[tokio::test]
async fn much_passes_both_ways_at_once_and_is_counted() {
    const LEN: usize = 8 << 20;
    let scene = Scene::start().await;
    let (client, server) = scene.pair().await;
    let bytes: Vec<u8> = (0..LEN).map(|at| (at % 251) as u8).collect();
    let one_side = |socket: tokio::net::TcpStream| {
        let bytes = bytes.clone();
        async move {
            let (mut from, mut to) = socket.into_split();
            let mut read = Vec::new();
            let write = async {
                to.write_all(&bytes).await?;
                to.shutdown().await
            };
            let (wrote, got) = tokio::join!(write, from.read_to_end(&mut read));
            wrote.unwrap();
            got.unwrap();
            assert!(read == bytes);
        }
    };
    in_time("the bytes", async {
        tokio::join!(one_side(client), one_side(server))
    })
    .await;
    scene
        .until("the end", |scene| scene.counters.read().total.open == 0)
        .await;
    let read = scene.counters.read();
    assert_eq!(
        (read.total.up_bytes, read.total.down_bytes),
        (LEN as u64, LEN as u64)
    );
    assert_eq!(read.bridges.values().next(), Some(&read.total));
}

#[tokio::test]
async fn reader_that_pauses_pauses_the_writer() {
    let scene = Scene::start().await;
    let (mut client, mut server) = scene.pair().await;
    let writing = tokio::spawn(async move {
        let chunk = vec![7; 64 * 1024];
        let mut written = 0_u64;
        while written < (1 << 30) {
            let write = server.write_all(&chunk);
            match tokio::time::timeout(std::time::Duration::from_millis(500), write).await {
                Ok(wrote) => wrote.unwrap(),
                Err(_) => break,
            }
            written += chunk.len() as u64;
        }
        written
    });
    let written = in_time("the pause", writing).await.unwrap();
    assert!(written < 1 << 28, "{written} bytes went where nobody read");
    assert_eq!(read(&mut client, 1).await, [7]);
}
