//! Happy eyeballs (RFC 8305): addresses of both families are tried in turn, a quarter of a second apart, and the first
//! connection wins.

use core::pin::pin;
use core::time::Duration;
use std::io;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use crate::connect::ConnectError;
use crate::outside::{Outside, Route, is_unreachable};
use crate::policy::{Checked, Denial};

/// The time between two attempts, as long as the earlier has not failed (RFC 8305 section 5).
pub const STAGGER: Duration = Duration::from_millis(250);
/// The addresses of one name that are tried at most.
pub const MAX_ADDRESSES: usize = 8;

/// Connects to the first of some addresses that answers.
///
/// # Errors
/// When none did: the failure that tells most.
///
/// # Cancel safety
/// Attempts end when the future is dropped.
pub(crate) async fn dial<O: Outside>(
    outside: &O,
    addresses: &[Checked],
    timeout: Duration,
) -> Result<O::Stream, ConnectError> {
    let mut waiting = in_turn(addresses).into_iter();
    let mut under_way = FuturesUnordered::new();
    let mut deadline = pin!(outside.sleep(timeout));
    let mut failure = None;
    // Bounded: each round but the last takes an address or the failure of one.
    loop {
        match waiting.next() {
            Some(next) => match may_go(outside, next) {
                Ok(()) => under_way.push(outside.connect(next.address())),
                Err(error) => {
                    failure = Some(tell_more(failure, error));
                    continue;
                }
            },
            None if under_way.is_empty() => return Err(failure.unwrap_or(ConnectError::NoSuchHost)),
            None => {}
        }
        let mut stagger = pin!(outside.sleep(STAGGER));
        tokio::select! {
            biased;
            Some(attempt) = under_way.next() => match attempt {
                Ok(stream) => return Ok(stream),
                Err(error) => failure = Some(tell_more(failure, error_of(&error))),
            },
            () = &mut deadline => return Err(tell_more(failure, ConnectError::TimedOut)),
            () = &mut stagger, if waiting.len() > 0 => {}
        }
    }
}

/// The addresses in the order in which they are tried: families in turn, the family of the first one first, and within a
/// family as they came (RFC 8305 section 4).
fn in_turn(addresses: &[Checked]) -> Vec<Checked> {
    let is_v6_first = addresses.first().is_some_and(|one| one.address().is_ipv6());
    let of_family = |is_v6: bool| {
        let of_it = move |one: &Checked| one.address().is_ipv6() == is_v6;
        addresses.iter().copied().filter(of_it)
    };
    let mut order = Vec::with_capacity(MAX_ADDRESSES);
    let (mut first, mut second) = (of_family(is_v6_first), of_family(!is_v6_first));
    while order.len() < MAX_ADDRESSES {
        let before = order.len();
        order.extend(first.next());
        order.extend(second.next());
        if order.len() == before {
            break;
        }
    }
    order.truncate(MAX_ADDRESSES);
    order
}

/// Whether the system would send it away from this machine; only what the operator allowed exactly may stay.
pub(crate) fn may_go<O: Outside>(outside: &O, to: Checked) -> Result<(), ConnectError> {
    if to.is_allowed_exactly() {
        return Ok(());
    }
    match outside.route(to.address().ip()) {
        Ok(Route::Away) => Ok(()),
        Ok(Route::Own) => Err(ConnectError::Denied(Denial::Own)),
        Ok(Route::Nowhere) => Err(ConnectError::Unreachable),
        Err(error) => Err(ConnectError::Socket(error.kind())),
    }
}

fn error_of(error: &io::Error) -> ConnectError {
    match error.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => ConnectError::Refused,
        io::ErrorKind::TimedOut => ConnectError::TimedOut,
        // There was a route a moment ago: the machine is out of ports.
        io::ErrorKind::AddrNotAvailable => ConnectError::Socket(io::ErrorKind::AddrNotAvailable),
        kind if is_unreachable(kind) => ConnectError::Unreachable,
        kind => ConnectError::Socket(kind),
    }
}

/// Of two failures the one that tells more of the host: that it refused more than that it was silent, and that more than
/// that there was no way.
fn tell_more(before: Option<ConnectError>, now: ConnectError) -> ConnectError {
    let telling = |error: &ConnectError| match error {
        ConnectError::Refused => 4,
        ConnectError::TimedOut => 3,
        ConnectError::Unreachable => 2,
        ConnectError::Denied(_) => 1,
        _ => 0,
    };
    match before {
        Some(before) if telling(&before) >= telling(&now) => before,
        _ => now,
    }
}
