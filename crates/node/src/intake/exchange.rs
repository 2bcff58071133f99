//! Exchanges: a client's sealed request, and the sealed answer or stream that comes back.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use packet::SizeClass;
use protocol::frame::{self, Header, Kind};
use protocol::session::{ExchangeId, NodeSession, SESSION_ID_BYTES, session_id};
use tokio::sync::mpsc;

use super::sessions::Session;
use super::{Body, Intake, full, stream};
use crate::clock::now_ms;
use crate::forward::Arrived;
use crate::links::Reply;
use crate::observer::{Eyes, Sight};

/// Where a frame's payload lies in an exchange's body: after session id, counter and header.
const PAYLOAD_AT: usize = SESSION_ID_BYTES + 8 + frame::HEADER_BYTES;

/// Serves a body that is an exchange or a handshake; anything else meets the site.
pub(super) async fn serve(intake: &Intake, body: Bytes, by: SocketAddr) -> Response<Body> {
    let now = now_ms();
    let session = session_id(&body).and_then(|id| intake.sessions.find(id, now));
    let Some(session) = session else {
        return handshake(intake, &body, now);
    };
    let mut body = match body.try_into_mut() {
        Ok(body) => body,
        Err(shared) => shared.as_ref().into(),
    };
    let Ok((exchange, clear)) = session.keys.open(&mut body) else {
        return intake.stranger();
    };
    if !session.take(exchange.counter(), now) {
        return intake.stranger();
    }
    intake.eyes().see(Sight::Asked { by, frame: clear });
    let Ok((header, payload)) = frame::split(clear) else {
        return intake.stranger();
    };
    if header.kind != Kind::Packet {
        return intake.stranger();
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
            Some(sealed) => intake.site.answer(full(sealed)),
            None => intake.stranger(),
        },
        Reply::Stream(items) => {
            let stop = intake.router.shutdown().clone();
            let sealed = seal_items(asker, items, now);
            intake.site.stream(stream::events(sealed, stop))
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

/// Seals a stream's items one by one; its bounded channels hold the sender back when the client is slow.
/// The stream ends with its session, whose keys are not to be used for longer.
fn seal_items(
    asker: Asker,
    mut items: mpsc::Receiver<Bytes>,
    now_ms: u64,
) -> mpsc::Receiver<Bytes> {
    let (to, sealed) = mpsc::channel::<Bytes>(1);
    let left = Duration::from_millis(asker.session.keys.expires_ms.saturating_sub(now_ms));
    tokio::spawn(async move {
        let expired = tokio::time::sleep(left);
        tokio::pin!(expired);
        let mut next = 0;
        loop {
            let item = tokio::select! {
                biased;
                () = to.closed() => return,
                () = &mut expired => return,
                item = items.recv() => item,
            };
            let Some(item) = item else { return };
            let Some(out) = asker.seal(next, Header::item(0, SizeClass::K4, 0), &item) else {
                return;
            };
            next += 1;
            if to.send(out.into()).await.is_err() {
                return;
            }
        }
    });
    sealed
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
