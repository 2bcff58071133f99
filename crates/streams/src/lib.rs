//! Streams over circuits: what moves bytes between [`protocol::stream::Stream`] and whoever reads and writes it.
//!
//! A client and a bridge do the same here. A [`Circuit`] is what a link gives: frames and credit come out of it,
//! frames go in. A [`Stream`] is what a program uses: it reads and writes like a socket, and outlives its circuits
//! as long as somebody brings new ones, a [`Redial`] at the opener's end and [`Accepter::accept`] at the other.
//!
//! Who owns what: the state machine and the circuit's sending end lie behind one lock, which readers, writers and
//! the stream's one task take turns at and never hold across a wait. The task owns the circuit's events.
//!
//! This crate opens no socket.

mod accepter;
mod circuit;
mod datagrams;
mod driver;
mod stream;

pub use accepter::{Accepted, Accepter};
pub use circuit::{Circuit, CircuitEvent, CircuitSender};
pub use datagrams::{MAX_DATAGRAM_BYTES, read_datagram, write_datagram};
pub use driver::{Opening, Redial, RedialError, open};
pub use protocol::stream::{Cipher, End, OpenStream, Purpose, Reset};
pub use stream::Stream;

/// The cipher that this machine seals fastest with.
#[must_use]
pub fn best_cipher() -> Cipher {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    let has_aes = std::arch::is_x86_feature_detected!("aes")
        && std::arch::is_x86_feature_detected!("pclmulqdq");
    #[cfg(target_arch = "aarch64")]
    let has_aes = std::arch::is_aarch64_feature_detected!("aes");
    #[cfg(not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")))]
    let has_aes = false;
    if has_aes {
        Cipher::Aes256Gcm
    } else {
        Cipher::ChaCha20Poly1305
    }
}

/// Unix milliseconds.
fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}
