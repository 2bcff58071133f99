//! Commands, owner requests, answers and delivery items: decode, encode, decode again.
#![no_main]
use protocol::answer::{Answer, Item};
use protocol::command::{Body, Command, Request};
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(command) = Command::decode(bytes) {
        let bytes = command.encode();
        let again = Command::decode(&bytes).unwrap();
        if let Body::OpenStream(open) = command.body {
            assert!(matches!(again.body, Body::OpenStream(other) if other == open));
        }
    }
    if let Ok(request) = Request::decode(bytes) {
        assert_eq!(Request::decode(&request.encode()).unwrap(), request);
    }
    if let Ok(answer) = Answer::decode(bytes) {
        assert_eq!(Answer::decode(&answer.encode()).unwrap(), answer);
    }
    if let Ok(item) = Item::decode(bytes) {
        assert_eq!(Item::decode(&item.encode()).unwrap(), item);
    }
});
