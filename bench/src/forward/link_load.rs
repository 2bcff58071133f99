//! Load over one link: records are sealed before the clock starts, answers are counted by the lengths of
//! their records and not opened.

use std::cell::Cell;
use std::net::SocketAddr;

use anyhow::ensure;
use node::NodeKeys;
use packet::SizeClass;
use protocol::frame::{HEADER_BYTES, Header};
use protocol::link::Handshake;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Notify;

/// Packets of one record: as many as a busy node puts into one.
const BATCH: usize = 15;
/// Packets under way at once, far below what a link queues.
const UNDER_WAY: usize = 20 * BATCH;
const FRAME_BYTES: usize = HEADER_BYTES + SizeClass::K4.frame_bytes();
const TAG_BYTES: usize = 16;
const READ_BYTES: usize = 256 * 1024;

pub(super) struct LinkLoad {
    socket: TcpStream,
    /// Sealed records of [`BATCH`] packets each.
    records: Vec<Vec<u8>>,
    packets: usize,
}

impl LinkLoad {
    /// Dials the node `to` as the node `me` and seals `packets` requests.
    pub(super) async fn dial(
        at: SocketAddr,
        me: &NodeKeys,
        to: &NodeKeys,
        packet: &[u8],
        packets: usize,
    ) -> anyhow::Result<Self> {
        let mut socket = TcpStream::connect(at).await?;
        socket.set_nodelay(true)?;
        let upgrade = format!(
            "GET /x HTTP/1.1\r\nHost: {at}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        socket.write_all(upgrade.as_bytes()).await?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            ensure!(socket.read_buf(&mut head).await? > 0, "closed");
        }
        let (handshake, message) = Handshake::dial(
            me.wallet.address(),
            &me.transport_secret(),
            &to.wallet.address(),
            &to.transport_key(),
            0,
        )?;
        socket.write_u16(u16::try_from(message.len())?).await?;
        socket.write_all(&message).await?;
        let mut answer = vec![0; usize::from(socket.read_u16().await?)];
        socket.read_exact(&mut answer).await?;
        let (_, mut sealer, _) = handshake.finish(&answer)?;

        let mut records = Vec::new();
        let requests: Vec<u64> = (1..=packets as u64).collect();
        for batch in requests.chunks(BATCH) {
            for request in batch {
                let header = Header {
                    request: *request,
                    ..Header::packet(SizeClass::K4, 0)
                };
                ensure!(sealer.push(header, packet), "the packet fits no class");
            }
            let mut record = Vec::with_capacity(sealer.pending_bytes() + 64);
            sealer.flush(&mut record);
            records.push(record);
        }
        Ok(Self {
            socket,
            records,
            packets,
        })
    }

    /// Sends all of it and waits for all answers.
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let (read, write) = self.socket.into_split();
        let (answered, more) = (Cell::new(0), Notify::new());
        let (wrote, read) = tokio::join!(
            send(write, &self.records, &answered, &more),
            receive(read, self.packets, &answered, &more)
        );
        // The link stays up until the last answer is there.
        let _open = wrote?;
        read
    }
}

async fn send(
    mut socket: OwnedWriteHalf,
    records: &[Vec<u8>],
    answered: &Cell<usize>,
    more: &Notify,
) -> anyhow::Result<OwnedWriteHalf> {
    for (at, record) in records.iter().enumerate() {
        while (at + 1) * BATCH > answered.get() + UNDER_WAY {
            more.notified().await;
        }
        socket.write_all(record).await?;
    }
    Ok(socket)
}

async fn receive(
    mut socket: OwnedReadHalf,
    packets: usize,
    answered: &Cell<usize>,
    more: &Notify,
) -> anyhow::Result<()> {
    let mut buffer = vec![0; READ_BYTES];
    // Bytes of the record under way that are still to come; its length field may be cut.
    let (mut left, mut field, mut clear) = (0, Vec::with_capacity(4), 0);
    while answered.get() < packets {
        let read = socket.read(&mut buffer).await?;
        ensure!(read > 0, "the link closed");
        let mut rest = buffer.get(..read).unwrap_or_default();
        while !rest.is_empty() {
            if left == 0 {
                let (some, others) = rest.split_at(rest.len().min(4 - field.len()));
                field.extend_from_slice(some);
                rest = others;
                if let Ok(length) = <[u8; 4]>::try_from(field.as_slice()) {
                    left = u32::from_be_bytes(length) as usize;
                    clear += left - TAG_BYTES;
                    field.clear();
                }
            } else {
                let skipped = rest.len().min(left);
                left -= skipped;
                rest = rest.get(skipped..).unwrap_or_default();
            }
        }
        answered.set(clear / FRAME_BYTES);
        more.notify_one();
    }
    Ok(())
}
