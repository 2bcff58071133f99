//! What is shown: one page of HTML that loads nothing and runs nothing.

use std::fmt::{self, Write as _};

use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;

use crate::store::{MAX_NOTE_CHARS, Note};

const STYLE: &str = include_str!("notes.css");

/// What went wrong with the form before.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Said {
    /// Nothing was in it.
    Empty,
    /// Too much was in it.
    Long,
    /// There is no room.
    Full,
}

/// A text as text within a page.
struct Text<'a>(&'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for letter in self.0.chars() {
            match letter {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '"' => f.write_str("&quot;")?,
                letter => f.write_char(letter)?,
            }
        }
        Ok(())
    }
}

/// The notes of a wallet.
pub(crate) fn list(wallet: &str, notes: &[Note], said: Option<Said>) -> Response {
    let said = match said {
        None => "",
        Some(Said::Empty) => "<p class=\"said\" role=\"alert\">Write something first.</p>",
        Some(Said::Long) => {
            "<p class=\"said\" role=\"alert\">That note is too long: 2,000 characters are the limit.</p>"
        }
        Some(Said::Full) => {
            "<p class=\"said\" role=\"alert\">There is no room for more notes. Delete some first.</p>"
        }
    };
    let mut inside = format!(
        "<p class=\"you\">You are <code>{}</code><br><small>No login: your gateway signs each request with this wallet, \
         which it shows to this site only.</small></p>\
         <form method=\"post\" action=\"/notes\"><label for=\"text\">New note</label>\
         <textarea id=\"text\" name=\"text\" rows=\"3\" maxlength=\"{MAX_NOTE_CHARS}\" required autofocus></textarea>\
         {said}<button>Add note</button></form>",
        Text(wallet)
    );
    inside.push_str(match notes {
        [] => "<p class=\"none\">No notes yet.</p>",
        _ => "<ul>",
    });
    for Note { id, text, made } in notes {
        let text = Text(text);
        inside += &format!(
            "<li><p>{text}</p><footer><time>{made} UTC</time>\
             <form method=\"post\" action=\"/notes/{id}/delete\"><button class=\"quiet\" aria-label=\"Delete this note\">\
             Delete</button></form></footer></li>"
        );
    }
    if !notes.is_empty() {
        inside.push_str("</ul>");
    }
    page(StatusCode::OK, &inside)
}

/// What somebody sees whose request nobody has signed.
pub(crate) fn nobody(status: StatusCode) -> Response {
    page(
        status,
        "<p class=\"you\">You are nobody here yet.</p><p>This site has no login: it knows you by the wallet that signs your \
         requests. Open it through <code>conet proxy</code>, as an <code>http:</code> address, and without \
         <code>--no-sign</code> for this site.</p>",
    )
}

/// A page that says one thing.
pub(crate) fn message(status: StatusCode, text: &str) -> Response {
    page(
        status,
        &format!(
            "<p>{}</p><p><a href=\"/\">Back to the notes</a></p>",
            Text(text)
        ),
    )
}

fn page(status: StatusCode, inside: &str) -> Response {
    let html = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Notes</title>\
         <meta name=\"viewport\" content=\"width=device-width\"><style>{STYLE}</style>\
         <main><h1>Notes</h1>{inside}</main></html>\n"
    );
    let fields = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // Not `no-referrer`: browsers then hide the origin of a form, and gateways don't sign what hides it.
        (REFERRER_POLICY, "same-origin"),
        (
            CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
        ),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ];
    (status, fields, html).into_response()
}
