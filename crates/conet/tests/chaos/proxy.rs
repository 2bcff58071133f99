//! A bad cable: what goes through it is late, and it can be cut or go silent.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use rand::Rng as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

/// How late everything is on the average, in each direction.
const DELAY_MS: u64 = 80;
/// By how much that varies.
const JITTER_MS: u64 = 25;
/// Pieces under way in one direction; then the sender has to wait.
const UNDER_WAY: usize = 256;
const PIECE_BYTES: usize = 16 * 1024;

/// What a cable does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cable {
    /// It carries.
    Whole,
    /// Connections break and none are made.
    Cut,
    /// Nothing moves, and nobody is told.
    Silent,
}

/// A cable to one address.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    state: watch::Sender<Cable>,
    task: JoinHandle<()>,
}

impl Proxy {
    pub(crate) async fn to(target: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let (state, seen) = watch::channel(Cable::Whole);
        let task = tokio::spawn(accept(listener, target, seen));
        Ok(Self {
            address,
            state,
            task,
        })
    }

    pub(crate) fn set(&self, cable: Cable) {
        self.state.send_replace(cable);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, target: SocketAddr, state: watch::Receiver<Cable>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((near, _)) = accepted {
                    connections.spawn(connection(near, target, state.clone()));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(near: TcpStream, target: SocketAddr, mut state: watch::Receiver<Cable>) {
    if *state.borrow() == Cable::Cut {
        return;
    }
    let Ok(far) = TcpStream::connect(target).await else {
        return;
    };
    let _ = near.set_nodelay(true);
    let _ = far.set_nodelay(true);
    let (near_read, near_write) = near.into_split();
    let (far_read, far_write) = far.into_split();
    let seen = Arc::new(state.clone());
    tokio::select! {
        _ = state.wait_for(|cable| *cable == Cable::Cut) => {}
        () = async {
            tokio::join!(
                carry(near_read, far_write, &seen),
                carry(far_read, near_write, &seen),
            );
        } => {}
    }
}

/// Carries one direction until its end; a half that closes closes only its direction.
async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, state: &watch::Receiver<Cable>) {
    let (sender, mut pieces) = mpsc::channel::<(Instant, Vec<u8>)>(UNDER_WAY);
    let reading = async move {
        let mut last = Instant::now();
        let mut buffer = vec![0; PIECE_BYTES];
        while let Ok(read @ 1..) = from.read(&mut buffer).await {
            // Bytes of one connection never overtake each other.
            last = last.max(Instant::now() + delay());
            if sender.send((last, buffer[..read].to_vec())).await.is_err() {
                return;
            }
        }
    };
    let writing = async {
        let mut state = state.clone();
        while let Some((due, piece)) = pieces.recv().await {
            tokio::time::sleep_until(due).await;
            let _ = state.wait_for(|cable| *cable != Cable::Silent).await;
            if to.write_all(&piece).await.is_err() {
                break;
            }
        }
        let _ = to.shutdown().await;
    };
    tokio::join!(reading, writing);
}

fn delay() -> Duration {
    let range = DELAY_MS - JITTER_MS..=DELAY_MS + JITTER_MS;
    Duration::from_millis(rand::thread_rng().gen_range(range))
}
