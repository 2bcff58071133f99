//! The plain intake: a raw OpenPGP message by `POST`, for gpg, curl and debugging. It promises none of
//! the privacy of an exchange (`docs/wire-format.md`, 10).

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use packet::SizeClass;
use protocol::answer::{Answer, Refusal};
use protocol::forward::Origin;
use protocol::frame::MAX_HOPS;
use serde_json::json;

use super::stream::Events;
use super::{Body, Intake, Served, full};
use crate::forward::Arrived;
use crate::links::Reply;

/// A body at most: the intake takes no more in any form, so an armored message is a quarter smaller.
const MAX_BODY_BYTES: usize = packet::MAX_PACKET_BYTES;
/// A message at most, as nodes move it.
const MAX_MESSAGE_BYTES: usize = SizeClass::M1.packet_bytes();

/// Serves one message.
pub(super) async fn serve(intake: &Intake, body: Bytes, wants_stream: bool) -> Served {
    if body.len() > MAX_BODY_BYTES {
        return refuse(&Refusal::TooLarge).into();
    }
    let packet = match packet::dearmor(&body, MAX_BODY_BYTES) {
        Ok(std::borrow::Cow::Borrowed(_)) => body,
        Ok(std::borrow::Cow::Owned(binary)) => binary.into(),
        Err(error) => {
            return refused(StatusCode::BAD_REQUEST, "malformed", &error.to_string()).into();
        }
    };
    if packet.len() > MAX_MESSAGE_BYTES {
        return refuse(&Refusal::TooLarge).into();
    }
    let arrived = Arrived {
        packet,
        origin: Origin::Client,
        stamp: None,
        broadcast: false,
        stream: wants_stream,
        hops: MAX_HOPS,
        from: None,
        circuit: None,
    };
    let response = match intake.router.route(arrived).await {
        Reply::Stream(items) => return Served::Stream(Events::new(intake.site.stream(), items)),
        // No circuit was asked for.
        Reply::Circuit => return intake.stranger().into(),
        Reply::Answer(bytes) => match Answer::decode(&bytes) {
            Ok(Answer::Acknowledged(a)) => json_response(
                StatusCode::OK,
                &json!({
                    "stored": true,
                    "hash": hex::encode(a.packet_hash),
                    "time": a.time_ms,
                    "node": a.node.to_string(),
                    "signature": hex::encode(a.signature),
                }),
            ),
            Ok(Answer::Refused(refusal)) => refuse(&refusal),
            // The answer to a layer is for whoever holds its answer key.
            _ => intake.site.answer(full(bytes)),
        },
    };
    response.into()
}

/// The response to what was refused.
pub(super) fn refuse(refusal: &Refusal) -> Response<Body> {
    let (status, error) = match refusal {
        Refusal::Malformed => (StatusCode::BAD_REQUEST, "malformed"),
        Refusal::UnknownKey | Refusal::NotFound => (StatusCode::NOT_FOUND, "unknown_key"),
        Refusal::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
        Refusal::Busy => (StatusCode::TOO_MANY_REQUESTS, "busy"),
        Refusal::QueueFull { .. } => (StatusCode::TOO_MANY_REQUESTS, "queue_full"),
        Refusal::Superseded(_) => (StatusCode::CONFLICT, "superseded"),
        Refusal::StampRequired { .. } => (StatusCode::PAYMENT_REQUIRED, "stamp_required"),
        Refusal::Unreachable => (StatusCode::BAD_GATEWAY, "unreachable"),
        Refusal::Denied | Refusal::Replayed | Refusal::Stale(_) => {
            (StatusCode::FORBIDDEN, "denied")
        }
        Refusal::Unsupported => (StatusCode::NOT_IMPLEMENTED, "unsupported"),
        _ => (StatusCode::INTERNAL_SERVER_ERROR, "failed"),
    };
    refused(status, error, &refusal.to_string())
}

fn refused(status: StatusCode, error: &str, message: &str) -> Response<Body> {
    json_response(status, &json!({ "error": error, "message": message }))
}

fn json_response(status: StatusCode, body: &serde_json::Value) -> Response<Body> {
    let mut text = body.to_string();
    text.push('\n');
    let mut response = Response::new(full(text));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
}
