//! Datagrams of the proxies, in a stream to a bridge.

use bytes::Bytes;
use client::streams::Stream;
use client::streams::{read_datagram, write_datagram};
use futures_util::future::BoxFuture;
use gateway::{DatagramError, Datagrams};
use protocol::target::Target;
use tokio::io::{ReadHalf, WriteHalf};
use tokio::sync::{Mutex, mpsc};
use tokio::task::AbortHandle;

/// Datagrams that came and wait for the program; more are dropped, as a socket would.
const WAITING: usize = 256;

/// A place for datagrams at a bridge.
pub(super) struct CarriedDatagrams {
    to: Mutex<WriteHalf<Stream>>,
    came: Mutex<mpsc::Receiver<(Target, Bytes)>>,
    reading: AbortHandle,
}

impl CarriedDatagrams {
    pub(super) fn new(stream: Stream) -> Self {
        let (from, to) = tokio::io::split(stream);
        let (keep, came) = mpsc::channel(WAITING);
        let reading = tokio::spawn(read(from, keep)).abort_handle();
        Self {
            to: Mutex::new(to),
            came: Mutex::new(came),
            reading,
        }
    }
}

async fn read(mut from: ReadHalf<Stream>, keep: mpsc::Sender<(Target, Bytes)>) {
    while let Ok(Some(datagram)) = read_datagram(&mut from).await {
        if let Err(mpsc::error::TrySendError::Closed(_)) = keep.try_send(datagram) {
            return;
        }
    }
}

impl Datagrams for CarriedDatagrams {
    fn send(&self, target: Target, payload: Bytes) -> BoxFuture<'_, Result<(), DatagramError>> {
        Box::pin(async move {
            let mut to = self.to.lock().await;
            let sent = write_datagram(&mut *to, &target, &payload).await;
            sent.map_err(|error| match error.kind() {
                std::io::ErrorKind::InvalidInput => DatagramError::Dropped,
                _ => DatagramError::Closed,
            })
        })
    }

    fn receive(&self) -> BoxFuture<'_, Result<(Target, Bytes), DatagramError>> {
        Box::pin(async move {
            let came = self.came.lock().await.recv().await;
            came.ok_or(DatagramError::Closed)
        })
    }
}

impl Drop for CarriedDatagrams {
    fn drop(&mut self) {
        self.reading.abort();
    }
}
