//! Reading bodies: bounded in bytes and in time, together as well as each.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::Request;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use protocol::answer::Refusal;
use rand::Rng as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::alarm::Alarms;
use crate::config::BODY_TIMEOUT;

/// A body at most: a frame of the largest class, its header, and what an exchange adds.
const MAX_BODY_BYTES: usize = packet::SizeClass::M1.frame_bytes()
    + protocol::frame::HEADER_BYTES
    + protocol::session::EXCHANGE_OVERHEAD_BYTES;
/// Bodies up to this are always read: with `MAX_CONNECTIONS` they take 320 MiB.
const SMALL_BODY_BYTES: usize = 20 * 1_024;
/// What is beyond that of bodies that are read or worked on at once, in KiB: half a gibibyte.
const LARGE_BODIES_KIB: usize = 512 * 1_024;
/// Room is taken in such steps, as a body comes: a length that is only claimed costs its claimant nothing, so it
/// takes nothing from others.
const ROOM_STEP_KIB: usize = 64;
/// How long a large body waits for room before its client is sent away: at random, so that of many which wait for each
/// other some give way.
const ROOM_TIMEOUT_S: std::ops::Range<f64> = 5.0..10.0;

/// Room for bodies.
pub(crate) struct Bodies(Arc<Semaphore>);

impl Default for Bodies {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(LARGE_BODIES_KIB)))
    }
}

impl Bodies {
    /// Reads a body, of a large one as much as there is room for.
    pub(super) async fn read(
        &self,
        request: Request<Incoming>,
        alarms: &Alarms,
    ) -> Result<(Bytes, Room), Refusal> {
        if request.body().size_hint().lower() > MAX_BODY_BYTES as u64 {
            return Err(Refusal::TooLarge);
        }
        tokio::select! {
            biased;
            body = self.collect(request.into_body()) => body,
            () = alarms.after(BODY_TIMEOUT) => Err(Refusal::Malformed),
        }
    }

    /// Reads a whole body of at most [`MAX_BODY_BYTES`]. One that comes in one piece, as those of the smallest class
    /// do, is not copied.
    async fn collect(&self, mut body: Incoming) -> Result<(Bytes, Room), Refusal> {
        let (mut first, mut whole) = (Bytes::new(), BytesMut::new());
        let mut room = Room::default();
        while !body.is_end_stream() {
            let Some(frame) = body.frame().await else {
                break;
            };
            // Trailers are nobody's business.
            let Ok(piece) = frame.map_err(|_| Refusal::Malformed)?.into_data() else {
                continue;
            };
            let length = first.len() + whole.len() + piece.len();
            if length > MAX_BODY_BYTES {
                return Err(Refusal::TooLarge);
            }
            self.make_room(&mut room, length).await?;
            if first.is_empty() && whole.is_empty() {
                first = piece;
            } else {
                whole.extend_from_slice(&std::mem::take(&mut first));
                whole.extend_from_slice(&piece);
            }
        }
        let body = if whole.is_empty() {
            first
        } else {
            whole.freeze()
        };
        Ok((body, room))
    }

    /// Takes as much room as a body of that length needs beyond what it has.
    async fn make_room(&self, room: &mut Room, length: usize) -> Result<(), Refusal> {
        let had_kib = room.0.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let needed_kib = length.saturating_sub(SMALL_BODY_BYTES).div_ceil(1024);
        if needed_kib <= had_kib {
            return Ok(());
        }
        let more_kib = (needed_kib - had_kib).next_multiple_of(ROOM_STEP_KIB) as u32;
        let more = Arc::clone(&self.0).acquire_many_owned(more_kib);
        let most = Duration::from_secs_f64(rand::thread_rng().gen_range(ROOM_TIMEOUT_S));
        let Ok(Ok(more)) = tokio::time::timeout(most, more).await else {
            return Err(Refusal::Busy);
        };
        match &mut room.0 {
            Some(room) => room.merge(more),
            none => *none = Some(more),
        }
        Ok(())
    }
}

/// The room that a body takes, until it is dropped.
#[derive(Debug, Default)]
pub(super) struct Room(Option<OwnedSemaphorePermit>);
