//! Exchanges: a client's sealed request, and the sealed answer or stream that comes back.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use packet::SizeClass;
use protocol::frame::{self, Header, Kind};
use protocol::session::{ExchangeId, NodeSession, SESSION_ID_BYTES, session_id};

use super::sessions::Session;
use super::stream::Events;
use super::{Body, Intake, Served, full};
use crate::clock::now_ms;
use crate::forward::Arrived;
use crate::links::Reply;
use crate::observer::{Eyes, Sight};

/// Where a frame's payload lies in an exchange's body: after session id, counter and header.
const PAYLOAD_AT: usize = SESSION_ID_BYTES + 8 + frame::HEADER_BYTES;

/// Serves a body that is an exchange or a handshake; anything else meets the site.
pub(super) async fn serve(intake: &Intake, body: Bytes, by: SocketAddr) -> Served {
    let now = now_ms();
    let session = session_id(&body).and_then(|id| intake.sessions.find(id, now));
    let Some(session) = session else {
        return handshake(intake, &body, now).into();
    };
    let mut body = match body.try_into_mut() {
        Ok(body) => body,
        Err(shared) => shared.as_ref().into(),
    };
    let Ok((exchange, clear)) = session.keys.open(&mut body) else {
        return intake.stranger().into();
    };
    if !session.take(exchange.counter(), now) {
        return intake.stranger().into();
    }
    intake.eyes().see(Sight::Asked { by, frame: clear });
    let Ok((header, payload)) = frame::split(clear) else {
        return intake.stranger().into();
    };
    if header.kind != Kind::Packet {
        return intake.stranger().into();
    }
    let length = payload.len();
    let packet = if length < header.region_bytes() / 2 {
        // A few bytes in a region of a mebibyte must not keep it alive on their way.
        Bytes::copy_from_slice(payload)
    } else {
        body.freeze().slice(PAYLOAD_AT..PAYLOAD_AT + length)
    };
    let eyes = intake.eyes().clone();
    let asker = Asker {
        session,
        exchange,
        to: by,
        eyes,
    };
    match intake
        .router
        .route(Arrived::from_client(&header, packet))
        .await
    {
        Reply::Answer(answer) => match asker.seal(0, answer_header(), &answer) {
            Some(sealed) => intake.site.answer(full(sealed)).into(),
            None => intake.stranger().into(),
        },
        // No circuit was asked for.
        Reply::Circuit => intake.stranger().into(),
        Reply::Stream(items) => {
            // A session's keys are not to be used for longer than it lives.
            let expires_ms = asker.session.keys.expires_ms;
            let left = Duration::from_millis(expires_ms.saturating_sub(now));
            let sealer = ItemsSealer { asker, next: 0 };
            let events = Events::new(intake.site.stream(), items).sealed(sealer, left);
            Served::Stream(events)
        }
    }
}

fn answer_header() -> Header {
    Header::answer(0, SizeClass::K4, 0)
}

/// Who waits for the answer of an exchange.
struct Asker {
    session: Arc<Session>,
    exchange: ExchangeId,
    to: SocketAddr,
    eyes: Eyes,
}

impl Asker {
    fn seal(&self, item: u64, header: Header, payload: &[u8]) -> Option<Vec<u8>> {
        let class = SizeClass::for_packet_len(payload.len())?;
        let mut out = Vec::with_capacity(frame::HEADER_BYTES + class.frame_bytes() + 16);
        if !frame::append(&mut out, header, payload) {
            return None;
        }
        let (to, frame) = (self.to, &out);
        self.eyes.see(Sight::Told { to, frame });
        self.session.keys.seal(self.exchange, item, &mut out, 0);
        Some(out)
    }
}

/// Seals a stream's items, one after the other.
pub(super) struct ItemsSealer {
    asker: Asker,
    next: u64,
}

impl ItemsSealer {
    /// The sealed frame around an item; `None` if it fits none.
    pub(super) fn seal(&mut self, item: &[u8]) -> Option<Vec<u8>> {
        let sealed = self
            .asker
            .seal(self.next, Header::item(0, SizeClass::K4, 0), item);
        self.next += 1;
        sealed
    }
}

fn handshake(intake: &Intake, body: &[u8], now: u64) -> Response<Body> {
    let local = intake.router.local();
    let accepted = NodeSession::accept(
        &local.me,
        &local.transport_secret,
        0,
        body,
        now,
        &mut rand::thread_rng(),
    );
    match accepted {
        Ok((session, response)) => {
            intake.sessions.insert(session, now);
            intake.router.metrics().handshakes.inc();
            intake.site.answer(full(response))
        }
        Err(_) => intake.stranger(),
    }
}
