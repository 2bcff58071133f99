//! The web site: an nginx with a large file, a small one, and a page of many objects.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::bail;
use rand::RngCore as _;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::process::{BOTH_CORES, Measured};
use crate::world::free_socket;

/// A file of one KiB.
pub(super) const SMALL: &str = "small";
/// A file of 64 KiB.
pub(super) const MIDDLE: &str = "middle";
/// A page with its objects.
pub(super) const PAGE: &str = "page/index.html";
/// Objects of the page, itself included.
pub(super) const OBJECTS: usize = 42;

const SMALL_BYTES: usize = 1 << 10;
const MIDDLE_BYTES: usize = 64 << 10;
const START_POLLS: u32 = 100;
const START_POLL: Duration = Duration::from_millis(50);

/// A running web server, which ends with this.
#[derive(Debug)]
pub(super) struct Web {
    pub(super) socket: SocketAddr,
    folder: TempDir,
    _process: Measured,
}

impl Web {
    /// Starts it, with files of these lengths besides, whose names are their lengths.
    pub(super) async fn start(lengths: &[usize]) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let (socket, at) = (free_socket()?, folder.path().display());
        let config = format!(
            "daemon off; master_process off; worker_processes 1; pid {at}/pid; error_log {at}/error.log crit;
             worker_rlimit_nofile 16384;
             events {{ worker_connections 8192; use epoll; multi_accept on; }}
             http {{
               access_log off; sendfile on; tcp_nopush on; tcp_nodelay on; default_type application/octet-stream;
               types {{ text/html html; text/css css; text/javascript js; image/svg+xml svg; }}
               keepalive_timeout 600s; keepalive_requests 1000000000;
               client_body_temp_path {at}/body; proxy_temp_path {at}/proxy;
               fastcgi_temp_path {at}/fastcgi; uwsgi_temp_path {at}/uwsgi; scgi_temp_path {at}/scgi;
               log_format port '$remote_port';
               server {{ listen {socket} backlog=4096; root {at}/site;
                 location /page/ {{ access_log {at}/objects port; add_header Cache-Control no-store; }} }}
             }}\n"
        );
        let file = folder.path().join("nginx.conf");
        fs::write(&file, config)?;
        let site = folder.path().join("site");
        fs::create_dir_all(site.join("page"))?;
        for length in lengths {
            fs::write(site.join(length.to_string()), noise(*length))?;
        }
        fs::write(site.join(SMALL), noise(SMALL_BYTES))?;
        fs::write(site.join(MIDDLE), noise(MIDDLE_BYTES))?;
        for (name, text) in page() {
            fs::write(site.join("page").join(name), text)?;
        }
        let process = Measured::start_on(BOTH_CORES, "nginx", |command| {
            command
                .arg("-p")
                .arg(folder.path())
                .arg("-c")
                .arg(&file)
                .arg("-e")
                .arg(folder.path().join("error.log"))
                .stdout(Stdio::null());
        })?;
        for _ in 0..START_POLLS {
            if TcpStream::connect(socket).await.is_ok() {
                return Ok(Self {
                    socket,
                    folder,
                    _process: process,
                });
            }
            sleep(START_POLL).await;
        }
        bail!("nginx did not come up")
    }

    /// The ports from which objects of the page were asked for so far, one for each object.
    pub(super) fn asked_from(&self) -> anyhow::Result<Vec<u16>> {
        let log: PathBuf = self.folder.path().join("objects");
        let text = fs::read_to_string(log)?;
        Ok(text.lines().filter_map(|line| line.parse().ok()).collect())
    }
}

fn noise(bytes: usize) -> Vec<u8> {
    let mut noise = vec![0; bytes];
    rand::thread_rng().fill_bytes(&mut noise);
    noise
}

/// The page's files: one text, four styles, nine scripts, the rest pictures, of 1 to 48 KiB.
fn page() -> Vec<(String, String)> {
    let (mut files, mut head, mut body) = (Vec::new(), String::new(), String::new());
    for place in 1..OBJECTS {
        let fill = "x".repeat(1_024 * (1 + place * 7 % 48));
        let (name, text) = match place {
            1..=4 => (
                format!("{place}.css"),
                format!("/*{fill}*/ p {{ margin: 0 }}\n"),
            ),
            5..=13 => (
                format!("{place}.js"),
                format!("/*{fill}*/ var v{place} = 1;\n"),
            ),
            _ => (
                format!("{place}.svg"),
                format!(
                    "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"9\" height=\"9\"><!--{fill}--><rect width=\"9\" height=\"9\"/></svg>\n"
                ),
            ),
        };
        match place {
            1..=4 => head += &format!("<link rel=\"stylesheet\" href=\"{name}\">\n"),
            5..=13 => body += &format!("<script src=\"{name}\"></script>\n"),
            _ => body += &format!("<img src=\"{name}\" alt=\"\">\n"),
        }
        files.push((name, text));
    }
    let text = format!(
        "<!doctype html><meta charset=\"utf-8\"><title>page</title><link rel=\"icon\" href=\"data:,\">\n{head}<p>page</p>\n{body}"
    );
    files.push(("index.html".to_owned(), text));
    files
}
