//! Connections that may be idle for days: how it is noticed that the other machine is gone.

use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// How long a connection is idle until the system asks whether the other side is still there. Below what address
/// translators of homes forget after.
const IDLE: Duration = Duration::from_secs(120);
/// How long it waits for each answer, and how often it asks, until the connection is an error.
const INTERVAL: Duration = Duration::from_secs(30);
const ASKED: u32 = 4;

/// Sets what every socket of the gateway has: small writes leave at once, and a dead peer is noticed in four minutes.
pub(crate) fn attach(socket: &TcpStream) {
    let keepalive = TcpKeepalive::new()
        .with_time(IDLE)
        .with_interval(INTERVAL)
        .with_retries(ASKED);
    // A system that knows no such thing has connections all the same.
    let _unknown = SockRef::from(socket).set_tcp_keepalive(&keepalive);
    let _unknown = socket.set_nodelay(true);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn socket_asks_whether_its_peer_is_there() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        attach(&socket);
        let set = SockRef::from(&socket);
        assert!(set.keepalive().unwrap() && socket.nodelay().unwrap());
        assert_eq!(set.tcp_keepalive_time().unwrap(), IDLE);
    }
}
