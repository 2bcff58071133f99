//! A notes service without login, as an example of a server behind `conet serve`.
//!
//! It is an ordinary web server. Who asks stands in the field `Conet-Wallet`, which the publisher in front of it writes
//! for requests that a wallet has signed and removes from all others; so it must be reached through a publisher only, and
//! listens on this machine only. Each wallet sees its own notes. There is no script, no cookie and no password.
//!
//! ```sh
//! cargo run --release -p conet-notes -- --listen 127.0.0.1:3000 --db notes.db
//! curl -H 'Conet-Wallet: 0x52908400098527886E0F7030069857D2E4169EE7' http://127.0.0.1:3000/
//! ```
//!
//! A page of another site can't add or delete anything: the gateway signs no such request, and unsigned ones are refused
//! here; an `Origin` that is not the page's own is refused besides.

mod page;
mod store;

pub use store::{MAX_ALL_NOTES, MAX_NOTE_CHARS, MAX_NOTES, Notes, NotesError};

use std::future::Future;
use std::io;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Form, Path, Query, State};
use axum::http::header::{HOST, HeaderMap, ORIGIN};
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::task::spawn_blocking;

use page::Said;

/// The field by which a publisher says who asks.
const CONET_WALLET: HeaderName = HeaderName::from_static("conet-wallet");
/// A form at most, in bytes: a note in which each character takes twelve.
const MAX_FORM_BYTES: usize = 12 * MAX_NOTE_CHARS + 1024;

/// Serves the notes at `/`.
pub fn router(notes: Notes) -> Router {
    Router::new()
        .route("/", get(list))
        .route("/notes", post(add))
        .route("/notes/{id}/delete", post(delete))
        .fallback(|| async { page::message(StatusCode::NOT_FOUND, "There is no such page.") })
        .layer(DefaultBodyLimit::max(MAX_FORM_BYTES))
        .with_state(notes)
}

/// Serves the notes to whoever connects, until `stopped`.
///
/// # Errors
/// What the listener says.
pub async fn serve(
    listener: TcpListener,
    notes: Notes,
    stopped: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let served = axum::serve(listener, router(notes));
    served.with_graceful_shutdown(stopped).await
}

#[derive(Deserialize)]
struct NewNote {
    text: String,
}

#[derive(Deserialize)]
struct Outcome {
    said: Option<Said>,
}

async fn list(
    State(notes): State<Notes>,
    Query(outcome): Query<Outcome>,
    fields: HeaderMap,
) -> Response {
    let Some(wallet) = wallet(&fields) else {
        return page::nobody(StatusCode::OK);
    };
    let asked = wallet.clone();
    match spawn_blocking(move || notes.of(&asked)).await {
        Ok(Ok(notes)) => page::list(&wallet, &notes, outcome.said),
        _ => broken(),
    }
}

async fn add(State(notes): State<Notes>, fields: HeaderMap, Form(new): Form<NewNote>) -> Response {
    let Some(wallet) = may_change(&fields) else {
        return page::nobody(StatusCode::UNAUTHORIZED);
    };
    done(spawn_blocking(move || notes.add(&wallet, &new.text)).await)
}

async fn delete(State(notes): State<Notes>, Path(id): Path<i64>, fields: HeaderMap) -> Response {
    let Some(wallet) = may_change(&fields) else {
        return page::nobody(StatusCode::UNAUTHORIZED);
    };
    done(spawn_blocking(move || notes.delete(&wallet, id)).await)
}

/// Back to the list, which says what was wrong.
fn done(outcome: Result<Result<(), NotesError>, tokio::task::JoinError>) -> Response {
    match outcome {
        Ok(Ok(())) => Redirect::to("/").into_response(),
        Ok(Err(NotesError::Empty)) => Redirect::to("/?said=empty").into_response(),
        Ok(Err(NotesError::TooLong)) => Redirect::to("/?said=long").into_response(),
        Ok(Err(NotesError::Full)) => Redirect::to("/?said=full").into_response(),
        Ok(Err(NotesError::Database(_))) | Err(_) => broken(),
    }
}

fn broken() -> Response {
    let status = StatusCode::INTERNAL_SERVER_ERROR;
    page::message(
        status,
        "The notes can't be read or written now. Try again later.",
    )
}

/// Who asks, if a wallet has signed.
fn wallet(fields: &HeaderMap) -> Option<String> {
    let mut wallets = fields.get_all(CONET_WALLET).iter();
    let (Some(wallet), None) = (wallets.next(), wallets.next()) else {
        return None;
    };
    let wallet = wallet.to_str().ok()?;
    let digits = wallet.strip_prefix("0x")?;
    let is_wallet = digits.len() == 40 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    is_wallet.then(|| wallet.to_owned())
}

/// Who asks, if a page of this service caused the request or no page did.
fn may_change(fields: &HeaderMap) -> Option<String> {
    let own = fields
        .get(HOST)
        .map(|host| [b"http://", host.as_bytes()].concat());
    let mut origins = fields.get_all(ORIGIN).iter();
    let is_own = origins.all(|origin| Some(origin.as_bytes()) == own.as_deref());
    is_own.then(|| wallet(fields))?
}
