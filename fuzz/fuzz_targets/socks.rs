//! What clients of the local proxy say on its SOCKS port, and their datagrams.
#![no_main]
use core::fmt::Debug;
use gateway::socks::message::{self, MAX_DATAGRAM_HEADER_BYTES, MAX_MESSAGE_BYTES, Malformed};

/// Checks that a message is read from its own bytes alone, is no longer than promised, and is waited for until it is whole.
fn check<'a, T: PartialEq + Debug>(bytes: &'a [u8], read: impl Fn(&'a [u8]) -> Result<Option<(T, usize)>, Malformed>) {
    match read(bytes) {
        Ok(Some((said, len))) => {
            assert!(len <= bytes.len() && len <= MAX_MESSAGE_BYTES);
            assert_eq!(read(&bytes[..len]), Ok(Some((said, len))));
            assert_eq!(read(&bytes[..len - 1]), Ok(None));
        }
        Ok(None) => assert!(bytes.len() < MAX_MESSAGE_BYTES),
        Err(_) => {}
    }
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    check(bytes, message::greeting);
    check(bytes, message::login);
    check(bytes, message::request);
    if let Ok((target, payload)) = message::datagram(bytes) {
        let mut again = Vec::new();
        message::put_datagram_header(&target, &mut again);
        assert!(again.len() <= MAX_DATAGRAM_HEADER_BYTES);
        again.extend_from_slice(payload);
        assert_eq!(message::datagram(&again), Ok((target, payload)));
    }
});
