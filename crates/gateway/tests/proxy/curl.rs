//! A client that nobody here wrote.

use std::process::Stdio;

use gateway::Isolation;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::http::head;
use crate::scene::{LONG, Scene};

/// An HTTP server that gives back what it is sent, and else says hello.
async fn origin(scene: &Scene) {
    let listener: TcpListener = scene.server("site.example").await;
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let head = head(&mut socket).await.to_lowercase();
                let length = head.split("content-length: ").nth(1);
                let length: usize =
                    length.map_or(0, |rest| rest.lines().next().unwrap().parse().unwrap());
                let mut body = vec![0; length];
                socket.read_exact(&mut body).await.unwrap();
                if length == 0 {
                    body = b"hello".to_vec();
                }
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    body.len()
                );
                socket.write_all(answer.as_bytes()).await.unwrap();
                socket.write_all(&body).await.unwrap();
            });
        }
    });
}

/// What curl writes; nothing where there is no curl.
async fn curl(args: &[&str]) -> Option<Vec<u8>> {
    let most = LONG.as_secs().to_string();
    let command = tokio::process::Command::new("curl")
        .args(["-sS", "--noproxy", "", "-m", &most])
        .args(args)
        .stdin(Stdio::null())
        .output()
        .await;
    let Ok(output) = command else {
        eprintln!("no curl here: nothing was tested");
        return None;
    };
    assert!(
        output.status.success(),
        "{args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Some(output.stdout)
}

#[tokio::test]
async fn curl_reaches_a_site_by_every_kind_of_proxy() {
    let scene = Scene::start().await;
    origin(&scene).await;
    let (socks, http) = (scene.socks.to_string(), format!("http://{}", scene.http));
    for how in [
        &["--socks5-hostname", &socks][..],
        &["--proxy", &http],
        &["--proxy", &http, "--proxytunnel"],
        &["--http1.0", "--proxy", &http],
    ] {
        for more in [&[][..], &["-U", "bob:secret"], &["-U", "bob:"]] {
            let args = [how, more, &["http://site.example/"]].concat();
            let Some(said) = curl(&args).await else {
                return;
            };
            assert_eq!(said, b"hello", "{args:?}");
            let ask = scene.script.asks.lock().pop().unwrap();
            assert_eq!(ask.target.to_string(), "site.example:80");
            let expected = if more.is_empty() {
                Isolation::Shared
            } else {
                Isolation::from_user(b"bob")
            };
            assert_eq!(ask.isolation, expected, "{args:?}");
        }
    }
}

#[tokio::test]
async fn curl_gets_back_what_it_uploads() {
    let scene = Scene::start().await;
    origin(&scene).await;
    let bytes: Vec<u8> = (0..4_000_000_u32).map(|at| (at % 251) as u8).collect();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &bytes).unwrap();
    let (socks, http) = (scene.socks.to_string(), format!("http://{}", scene.http));
    let upload = file.path().to_str().unwrap();
    for how in [["--socks5-hostname", &socks], ["--proxy", &http]] {
        let args = [&how[..], &["-T", upload, "http://site.example/"]].concat();
        let Some(said) = curl(&args).await else {
            return;
        };
        assert!(said == bytes, "{args:?}");
    }
}
