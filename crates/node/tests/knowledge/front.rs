//! A recording proxy before a port. It calls on from the very address that called it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinHandle;

/// What one connection carried.
pub(crate) struct Wire {
    pub(crate) from: IpAddr,
    pub(crate) up: Vec<u8>,
    pub(crate) down: Vec<u8>,
}

/// The proxy of one port.
pub(crate) struct Front {
    pub(crate) address: SocketAddr,
    wires: Arc<Mutex<Vec<Arc<Mutex<Wire>>>>>,
    task: JoinHandle<()>,
}

impl Front {
    /// Takes a port before `target`, which need not be there yet.
    pub(crate) async fn before(target: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let wires = Arc::<Mutex<Vec<_>>>::default();
        let task = tokio::spawn(accept(listener, target, Arc::clone(&wires)));
        Self {
            address,
            wires,
            task,
        }
    }

    /// All that went to and came from an address.
    pub(crate) fn with(&self, from: IpAddr) -> Vec<u8> {
        self.each(
            |wire| wire.from == from,
            |w| [&w.up[..], &w.down[..]].concat(),
        )
    }

    /// All that anybody asked.
    pub(crate) fn asked(&self) -> Vec<u8> {
        self.each(|_| true, |wire| wire.up.clone())
    }

    /// Everything.
    pub(crate) fn all(&self) -> Vec<u8> {
        self.each(|_| true, |w| [&w.up[..], &w.down[..]].concat())
    }

    fn each(&self, which: impl Fn(&Wire) -> bool, of: impl Fn(&Wire) -> Vec<u8>) -> Vec<u8> {
        let wires = self.wires.lock();
        let wires = wires.iter().map(|wire| wire.lock());
        wires
            .filter(|wire| which(wire))
            .flat_map(|wire| of(&wire))
            .collect()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(
    listener: TcpListener,
    target: SocketAddr,
    wires: Arc<Mutex<Vec<Arc<Mutex<Wire>>>>>,
) {
    while let Ok((near, from)) = listener.accept().await {
        let wire = Arc::new(Mutex::new(Wire {
            from: from.ip(),
            up: Vec::new(),
            down: Vec::new(),
        }));
        wires.lock().push(Arc::clone(&wire));
        tokio::spawn(async move {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind(SocketAddr::new(from.ip(), 0)).unwrap();
            let Ok(far) = socket.connect(target).await else {
                return;
            };
            let (_, _) = (near.set_nodelay(true), far.set_nodelay(true));
            let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
            let up = Arc::clone(&wire);
            tokio::join!(
                copy(near_in, far_out, move |bytes| up
                    .lock()
                    .up
                    .extend_from_slice(bytes)),
                copy(far_in, near_out, move |bytes| wire
                    .lock()
                    .down
                    .extend_from_slice(bytes)),
            );
        });
    }
}

async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    record: impl Fn(&[u8]),
) {
    let mut piece = vec![0; 64 * 1024];
    while let Ok(n @ 1..) = from.read(&mut piece).await {
        record(&piece[..n]);
        if to.write_all(&piece[..n]).await.is_err() {
            break;
        }
    }
    let _gone = to.shutdown().await;
}
