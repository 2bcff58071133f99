//! Moving datagrams between a stream and the web.

use std::future::Future;

use bridge::Association;
use streams::{MAX_DATAGRAM_BYTES, Stream, read_datagram, write_datagram};

/// Moves datagrams in both directions until the opener has had enough, or nothing came for long.
pub(super) async fn associate(stream: Stream, association: Association) {
    let (mut from, mut to) = tokio::io::split(stream);
    let out: std::pin::Pin<Box<dyn Future<Output = ()> + Send + '_>> = Box::pin(async {
        while let Ok(Some((target, payload))) = read_datagram(&mut from).await {
            // One that is not let out, or does not arrive, is lost, as datagrams are.
            let _lost = association.send(&target, &payload).await;
        }
    });
    let back = async {
        let mut buffer = vec![0; MAX_DATAGRAM_BYTES];
        while let Ok((target, length)) = association.receive(&mut buffer).await {
            let payload = buffer.get(..length).unwrap_or_default();
            if write_datagram(&mut to, &target, payload).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = out => {}
        () = back => {}
    }
}
