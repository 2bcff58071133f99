//! JSON-RPC 2.0: requests in, answers out, whatever the bytes.

mod error;
mod methods;
mod params;
mod shapes;

pub(crate) use error::RpcError;
pub(crate) use params::Params;

use crate::engine::Engine;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::{RawValue, to_raw_value};

/// Requests in one batch.
pub(crate) const MAX_BATCH: usize = 100;
/// Bytes of one answer; what would go beyond is answered with an error.
pub(crate) const MAX_ANSWER_BYTES: usize = 32 * 1024 * 1024;

/// Who may call what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Everything that the configuration allows.
    Local,
    /// Reads and `eth_sendRawTransaction`.
    Exposed,
}

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    jsonrpc: Option<&'a RawValue>,
    method: String,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
    /// Absent in a notification, which is not the same as null.
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
}

#[derive(Serialize)]
struct Answer<'a> {
    jsonrpc: &'static str,
    id: Option<&'a RawValue>,
    #[serde(flatten)]
    outcome: Outcome,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Result(Box<RawValue>),
    Error(RpcError),
}

/// Answers a request or a batch; `None` where there were only notifications.
pub(crate) fn answer(engine: &Engine, access: Access, body: &[u8]) -> Option<Vec<u8>> {
    let body = body.trim_ascii();
    if body.first() != Some(&b'[') {
        let Ok(request) = serde_json::from_slice::<&RawValue>(body) else {
            return Some(refusal(RpcError::parse()));
        };
        return answer_one(engine, access, request, MAX_ANSWER_BYTES);
    }
    let Ok(batch) = serde_json::from_slice::<Vec<&RawValue>>(body) else {
        return Some(refusal(RpcError::parse()));
    };
    if batch.is_empty() {
        return Some(refusal(RpcError::invalid_request("empty batch")));
    }
    if batch.len() > MAX_BATCH {
        let message = format!("batch too large: at most {MAX_BATCH} requests");
        return Some(refusal(RpcError::invalid_request(message)));
    }
    let mut out = vec![b'['];
    for request in batch {
        let room = MAX_ANSWER_BYTES.saturating_sub(out.len());
        if let Some(answer) = answer_one(engine, access, request, room) {
            if out.len() > 1 {
                out.push(b',');
            }
            out.extend(answer);
        }
    }
    out.push(b']');
    (out.len() > 2).then_some(out)
}

/// Encodes an answer to what was no request.
fn refusal(error: RpcError) -> Vec<u8> {
    encode(None, Outcome::Error(error))
}

fn answer_one(engine: &Engine, access: Access, request: &RawValue, room: usize) -> Option<Vec<u8>> {
    let Ok(request) = serde_json::from_str::<Request<'_>>(request.get()) else {
        return Some(refusal(RpcError::invalid_request("invalid request")));
    };
    let id = request.id.map(RawValue::get);
    let valid_id = id.is_none_or(|id| {
        id == "null" || id.starts_with(|c: char| c == '"' || c == '-' || c.is_ascii_digit())
    });
    if !valid_id || request.jsonrpc.map(RawValue::get) != Some(r#""2.0""#) {
        return Some(refusal(RpcError::invalid_request("invalid request")));
    }
    let result = Params::parse(request.params)
        .and_then(|params| methods::call(engine, access, &request.method, params));
    let outcome = match result {
        Ok(result) if result.get().len() > room => Outcome::Error(RpcError::response_too_large()),
        Ok(result) => Outcome::Result(result),
        Err(error) => Outcome::Error(error),
    };
    request.id.map(|id| encode(Some(id), outcome))
}

fn encode(id: Option<&RawValue>, outcome: Outcome) -> Vec<u8> {
    let answer = Answer {
        jsonrpc: "2.0",
        id,
        outcome,
    };
    serde_json::to_vec(&answer).unwrap_or_default()
}

/// Encodes the result of a method.
fn result(value: &impl Serialize) -> Result<Box<RawValue>, RpcError> {
    to_raw_value(value).map_err(|error| RpcError::internal(&error))
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}
