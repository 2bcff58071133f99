//! What a node saw, and finding things in it.

use std::collections::HashSet;
use std::io::Write;
use std::net::IpAddr;
use std::sync::Arc;

use node::{Observer, Sight};
use parking_lot::Mutex;
use protocol::NodeId;
use protocol::frame::{self, Kind};
use wallet::WalletAddress;

/// Bytes that two nodes must have in common to have seen the same thing: no accident is that long.
const MARK_BYTES: usize = 16;
/// Fewer different values among them are padding or a header.
const MARK_VALUES: usize = 9;

/// A sight, kept.
#[derive(Clone, Debug)]
pub(crate) enum Seen {
    Connection(IpAddr),
    /// A client's exchange: its packet.
    Asked(IpAddr, Vec<u8>),
    /// What went back: an answer or an item.
    Told(IpAddr, Vec<u8>),
    /// A frame of a client's link.
    ClientIn(IpAddr, Kind, Vec<u8>),
    ClientOut(IpAddr, Vec<u8>),
    LinkIn(NodeId, Kind, Vec<u8>),
    LinkOut(Kind, Vec<u8>),
    Command(Vec<u8>),
    Answer(Vec<u8>),
    Stored(WalletAddress, Vec<u8>),
}

impl Seen {
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Connection(_) => &[],
            Self::Asked(_, bytes)
            | Self::Told(_, bytes)
            | Self::ClientIn(_, _, bytes)
            | Self::ClientOut(_, bytes)
            | Self::LinkIn(_, _, bytes)
            | Self::LinkOut(_, bytes)
            | Self::Command(bytes)
            | Self::Answer(bytes)
            | Self::Stored(_, bytes) => bytes,
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Connection(_) => "a connection",
            Self::Asked(..) => "a client's frame",
            Self::Told(..) => "a frame for a client",
            Self::ClientIn(..) => "a frame from a client's link",
            Self::ClientOut(..) => "a frame for a client's link",
            Self::LinkIn(..) => "a frame from a link",
            Self::LinkOut(..) => "a frame for a link",
            Self::Command(_) => "an opened layer",
            Self::Answer(_) => "an answer",
            Self::Stored(..) => "a stored packet",
        }
    }

    /// The address that it came from or went to, where the node knows one.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Connection(ip)
            | Self::Asked(ip, _)
            | Self::Told(ip, _)
            | Self::ClientIn(ip, ..)
            | Self::ClientOut(ip, _) => Some(*ip),
            _ => None,
        }
    }
}

/// The observer of one node, and what its log is written to.
#[derive(Default)]
pub(crate) struct Recorder {
    seen: Mutex<Vec<Seen>>,
    log: Mutex<Vec<u8>>,
    /// What the log says of reading the ledger.
    ledger_log: Mutex<Vec<u8>>,
}

impl Observer for Recorder {
    fn saw(&self, sight: Sight<'_>) {
        let payload = |frame: &[u8]| frame::split(frame).unwrap().1.to_vec();
        let seen = match sight {
            Sight::Connection { from } => Seen::Connection(from.ip()),
            Sight::Asked { by, frame } => Seen::Asked(by.ip(), payload(frame)),
            Sight::Told { to, frame } => Seen::Told(to.ip(), payload(frame)),
            Sight::ClientIn {
                by,
                header,
                payload,
            } => Seen::ClientIn(by.ip(), header.kind, payload.to_vec()),
            Sight::ClientOut { to, payload, .. } => Seen::ClientOut(to.ip(), payload.to_vec()),
            Sight::LinkIn {
                peer,
                header,
                payload,
            } => Seen::LinkIn(peer, header.kind, payload.to_vec()),
            Sight::LinkOut {
                header, payload, ..
            } => Seen::LinkOut(header.kind, payload.to_vec()),
            Sight::Command { content } => Seen::Command(content.to_vec()),
            Sight::Answer { answer } => Seen::Answer(answer.to_vec()),
            Sight::Stored { wallet, packet } => Seen::Stored(wallet, packet.to_vec()),
            other => panic!("the test does not know {other:?}"),
        };
        self.seen.lock().push(seen);
    }
}

impl Recorder {
    /// What was seen since a [`Recorder::mark`].
    pub(crate) fn since(&self, mark: usize) -> Vec<Seen> {
        self.seen.lock()[mark..].to_vec()
    }

    pub(crate) fn mark(&self) -> usize {
        self.seen.lock().len()
    }

    pub(crate) fn log(&self) -> Vec<u8> {
        self.log.lock().clone()
    }

    pub(crate) fn ledger_log(&self) -> Vec<u8> {
        self.ledger_log.lock().clone()
    }
}

/// The writer of a node's log.
#[derive(Clone)]
pub(crate) struct Log(pub(crate) Arc<Recorder>);

impl Write for Log {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        // Each event is written at once.
        let of_ledger = std::str::from_utf8(line).is_ok_and(|line| line.contains("alloy_"));
        let log = if of_ledger {
            &self.0.ledger_log
        } else {
            &self.0.log
        };
        log.lock().extend_from_slice(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Something to look for, in every form that it could have.
#[derive(Clone, Default)]
pub(crate) struct Needles {
    forms: Vec<Vec<u8>>,
}

impl Needles {
    pub(crate) fn text(text: &str) -> Self {
        let forms = vec![text.as_bytes().to_vec()];
        Self { forms }
    }

    /// Bytes: raw, hex of either case, and as a list of numbers.
    pub(crate) fn bytes(bytes: &[u8]) -> Self {
        let listed = format!("{bytes:?}");
        let listed = listed.trim_matches(['[', ']']);
        Self {
            forms: vec![
                bytes.to_vec(),
                hex::encode(bytes).into_bytes(),
                hex::encode_upper(bytes).into_bytes(),
                listed.as_bytes().to_vec(),
            ],
        }
    }

    /// A wallet: as bytes, and as it is written.
    pub(crate) fn wallet(wallet: &WalletAddress) -> Self {
        let written = wallet.to_string();
        Self::bytes(wallet.as_bytes()).or(Self::text(written.trim_start_matches("0x")))
    }

    pub(crate) fn or(mut self, other: Self) -> Self {
        self.forms.extend(other.forms);
        self
    }

    pub(crate) fn are_in(&self, hay: &[u8]) -> bool {
        first_places(&[self], hay)[0].is_some()
    }
}

/// Where each of several things stands first, in one pass.
pub(crate) fn first_places<const N: usize>(
    needles: &[&Needles; N],
    hay: &[u8],
) -> [Option<usize>; N] {
    let mut by_first = vec![Vec::new(); 256];
    let mut begins = vec![false; 1 << 16];
    for (which, needles) in needles.iter().enumerate() {
        for form in &needles.forms {
            by_first[usize::from(form[0])].push((which, &form[..]));
            begins[usize::from(form[0]) << 8 | usize::from(form[1])] = true;
        }
    }
    let mut places = [None; N];
    for (at, pair) in hay.windows(2).enumerate() {
        if begins[usize::from(pair[0]) << 8 | usize::from(pair[1])] {
            for (which, form) in &by_first[usize::from(pair[0])] {
                if places[*which].is_none() && hay[at..].starts_with(form) {
                    places[*which] = Some(at);
                }
            }
        }
    }
    places
}

/// The places in things seen by which they would be known again.
pub(crate) fn marks<'s>(seen: impl IntoIterator<Item = &'s [u8]>) -> HashSet<&'s [u8]> {
    let windows = seen.into_iter().flat_map(|bytes| bytes.windows(MARK_BYTES));
    windows.filter(|window| is_mark(window)).collect()
}

fn is_mark(window: &[u8]) -> bool {
    let values: HashSet<u8> = window.iter().copied().collect();
    values.len() >= MARK_VALUES
}
