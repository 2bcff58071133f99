//! What callers ask the writer for, and how they are answered.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::inbox::Refused;
use super::record::ShortHash;
use crate::error::{AppendError, ControlError, DirectoryError};
use crate::queue::{Cursor, DeviceId, QueueId};
use crate::store::Stored;

/// Where the outcome of a change goes.
pub(super) type Reply<T, E> = oneshot::Sender<Result<T, E>>;

/// A change that a caller waits for.
pub(super) enum Command {
    Append {
        queue: QueueId,
        hash: ShortHash,
        packet: Bytes,
        now_ms: u64,
        reply: Reply<Stored, AppendError>,
    },
    Register {
        queue: QueueId,
        device: DeviceId,
        now_ms: u64,
        reply: Reply<Cursor, ControlError>,
    },
    Acknowledge {
        queue: QueueId,
        device: DeviceId,
        up_to: Cursor,
        now_ms: u64,
        reply: Reply<(), ControlError>,
    },
    Remove {
        queue: QueueId,
        reply: Reply<(), ControlError>,
    },
    Expire {
        now_ms: u64,
        reply: Reply<u64, ControlError>,
    },
    Flush {
        reply: Reply<(), ControlError>,
    },
}

/// Why nothing could be written.
#[derive(Clone, Debug)]
pub(super) enum Failure {
    DiskFull,
    Busy,
    Closed,
    Io(Arc<io::Error>),
}

macro_rules! failure_into {
    ($($error:ident),*) => {$(
        impl From<Failure> for $error {
            fn from(failure: Failure) -> Self {
                match failure {
                    Failure::DiskFull => Self::DiskFull,
                    Failure::Busy => Self::Busy,
                    Failure::Closed => Self::Closed,
                    Failure::Io(source) => Self::Io(source),
                }
            }
        }
    )*};
}

failure_into!(AppendError, ControlError, DirectoryError);

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Busy => Self::Busy,
            Refused::Closed => Self::Closed,
        }
    }
}

/// An outcome that is told once the commit is on disk.
pub(super) enum Answer {
    Append(Reply<Stored, AppendError>, Stored),
    Register(Reply<Cursor, ControlError>, Cursor),
    Done(Reply<(), ControlError>),
    Expired(Reply<u64, ControlError>, u64),
}

impl Answer {
    /// Tells the outcome. A caller that went away is no matter.
    pub(super) fn send(self) {
        match self {
            Self::Append(reply, stored) => drop(reply.send(Ok(stored))),
            Self::Register(reply, cursor) => drop(reply.send(Ok(cursor))),
            Self::Done(reply) => drop(reply.send(Ok(()))),
            Self::Expired(reply, count) => drop(reply.send(Ok(count))),
        }
    }

    /// Tells that the commit failed.
    pub(super) fn fail(self, failure: Failure) {
        match self {
            Self::Append(reply, _) => drop(reply.send(Err(failure.into()))),
            Self::Register(reply, _) => drop(reply.send(Err(failure.into()))),
            Self::Done(reply) => drop(reply.send(Err(failure.into()))),
            Self::Expired(reply, _) => drop(reply.send(Err(failure.into()))),
        }
    }
}

impl Command {
    /// Answers without having done anything.
    pub(super) fn fail(self, failure: Failure) {
        match self {
            Self::Append { reply, .. } => drop(reply.send(Err(failure.into()))),
            Self::Register { reply, .. } => drop(reply.send(Err(failure.into()))),
            Self::Acknowledge { reply, .. }
            | Self::Remove { reply, .. }
            | Self::Flush { reply } => {
                drop(reply.send(Err(failure.into())));
            }
            Self::Expire { reply, .. } => drop(reply.send(Err(failure.into()))),
        }
    }
}
