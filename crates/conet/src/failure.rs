//! What goes wrong, as a person or a script is told: one line and an exit code.

mod verdict;

use std::error::Error as StdError;
use std::process::ExitCode;

use crate::screen;

/// How a command ended. `docs/cli.md` documents the numbers; they don't change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It was done.
    Done = 0,
    /// It could not be done.
    Error = 1,
    /// The command line makes no sense; also what clap exits with.
    Usage = 2,
    /// Somebody or something refused: a password, a mailbox, the ledger, an untrusted certificate.
    Refused = 3,
    /// Nothing was lost: the message waits in the outbox.
    Kept = 4,
    /// What was named is not known.
    NotFound = 5,
    /// The network or the ledger can't be reached.
    Unreachable = 6,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command failed.
///
/// It is no `std::error::Error`, so that any such error becomes one by `?`.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    message: String,
    details: serde_json::Map<String, serde_json::Value>,
}

/// What a command gives.
pub(crate) type Outcome<T = Exit> = Result<T, Failure>;

impl Failure {
    /// A failure in words of its own: what was wrong, what to do.
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            details: serde_json::Map::new(),
        }
    }

    /// A plain error.
    pub(crate) fn error(message: impl Into<String>) -> Self {
        Self::new(Exit::Error, message)
    }

    /// The text, without an end.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// Puts what was tried before the message.
    #[must_use]
    pub(crate) fn in_context(mut self, context: impl std::fmt::Display) -> Self {
        self.message = format!("{context}: {}", self.message);
        self
    }

    /// Adds a field for programs.
    #[must_use]
    pub(crate) fn with_detail(mut self, name: &str, value: impl Into<serde_json::Value>) -> Self {
        self.details.insert(name.to_owned(), value.into());
        self
    }

    /// Prints it on stderr, in one line; one without words is not worth a line.
    pub(crate) fn report(&self, json: bool) {
        if self.message.is_empty() {
            return;
        }
        let message = screen::one_line(&self.message);
        if json {
            let exit = self.exit as u8;
            screen::tell(serde_json::json!({ "error": message, "exit": exit }));
        } else {
            screen::tell(format_args!("error: {message}"));
        }
    }
}

impl<E: StdError + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::new(exit_of(&error), chain_of(&error))
    }
}

/// Adds what was tried to an error.
pub(crate) trait Context<T> {
    /// Puts `context` before the error's message.
    fn context(self, context: impl std::fmt::Display) -> Outcome<T>;
}

impl<T, E: Into<Failure>> Context<T> for Result<T, E> {
    fn context(self, context: impl std::fmt::Display) -> Outcome<T> {
        self.map_err(|error| error.into().in_context(context))
    }
}

/// An error with its causes, each said once.
pub(crate) fn chain_of(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    for cause in causes(error).skip(1) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

/// The error and what caused it; bounded, in case a chain bites its tail.
fn causes<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn StdError + 'static)| {
        (*error).source()
    })
    .take(16)
}

/// The exit code of the first cause that has one.
fn exit_of(error: &(dyn StdError + 'static)) -> Exit {
    causes(error).find_map(verdict::exit).unwrap_or(Exit::Error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_password_is_a_refusal() {
        let failure = Failure::from(wallet::keystore::KeystoreError::WrongPassword);
        assert_eq!(failure.exit, Exit::Refused);
        assert_eq!(failure.message(), "wrong password");
    }

    #[test]
    fn cause_that_repeats_its_effect_is_said_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("can't open: {0}")]
        struct Outer(#[source] std::io::Error);
        let failure = Failure::from(Outer(std::io::Error::other("gone")));
        assert_eq!(failure.message(), "can't open: gone");
    }
}
