//! nginx, set up to do the same: a reverse proxy that keeps its connections on both sides.

use std::fs;
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::process::Measured;
use crate::world::free_socket;

const START_POLLS: u32 = 100;
const START_POLL: Duration = Duration::from_millis(50);

/// One nginx, one process, on the measured core.
#[derive(Debug)]
pub(crate) struct Nginx {
    pub(crate) process: Measured,
    pub(crate) socket: SocketAddr,
    _folder: TempDir,
}

impl Nginx {
    /// Starts a proxy in front of `upstream`; `buffered` decides whether it takes a body whole before it
    /// passes it on.
    pub(crate) async fn start(upstream: SocketAddr, buffered: bool) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let socket = free_socket()?;
        let at = folder.path().display();
        let buffering = if buffered { "on" } else { "off" };
        // Buffers that hold what is sent, so that it writes no file and reads no request twice.
        let config = format!(
            "daemon off; master_process off; worker_processes 1; pid {at}/pid; error_log {at}/error.log crit;
             events {{ worker_connections 4096; use epoll; multi_accept on; }}
             http {{
               access_log off; keepalive_timeout 600s; keepalive_requests 1000000000; tcp_nodelay on;
               client_header_buffer_size 8k; client_body_buffer_size 64k; client_max_body_size 0;
               client_body_temp_path {at}/body; proxy_temp_path {at}/proxy;
               fastcgi_temp_path {at}/fastcgi; uwsgi_temp_path {at}/uwsgi; scgi_temp_path {at}/scgi;
               proxy_buffer_size 16k; proxy_buffers 8 16k; proxy_http_version 1.1;
               proxy_request_buffering {buffering};
               upstream sink {{ server {upstream}; keepalive 512; keepalive_requests 1000000000; keepalive_timeout 600s; }}
               server {{ listen {socket} reuseport backlog=4096;
                 location / {{ proxy_pass http://sink; proxy_set_header Connection \"\"; }} }}
             }}\n"
        );
        let file = folder.path().join("nginx.conf");
        fs::write(&file, config)?;
        let process = Measured::start("nginx", |command| {
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
                    process,
                    socket,
                    _folder: folder,
                });
            }
            tokio::time::sleep(START_POLL).await;
        }
        bail!("nginx did not come up")
    }
}

/// Proxies in a chain in front of `upstream`, as many as a message has nodes on its way.
#[derive(Debug)]
pub(crate) struct NginxChain(Vec<Nginx>);

impl NginxChain {
    const LENGTH: usize = 3;

    pub(crate) async fn start(upstream: SocketAddr) -> anyhow::Result<Self> {
        let (mut chain, mut next) = (Vec::new(), upstream);
        for _ in 0..Self::LENGTH {
            let nginx = Nginx::start(next, false).await?;
            next = nginx.socket;
            chain.push(nginx);
        }
        Ok(Self(chain))
    }

    /// Where it takes requests.
    pub(crate) fn socket(&self) -> anyhow::Result<SocketAddr> {
        Ok(self.0.last().context("no proxy")?.socket)
    }
}
