//! Commands, owner requests, answers and delivery items: decode, encode, decode again.
#![no_main]
use protocol::answer::{Answer, Item};
use protocol::command::{Body, Command, Request};
use protocol::stream::OpenStream;
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(command) = Command::decode(bytes) {
        let bytes = command.encode();
        let again = Command::decode(&bytes).unwrap();
        match command.body {
            Body::OpenStream(open) => {
                assert!(matches!(&again.body, Body::OpenStream(other) if *other == open));
                assert_eq!(OpenStream::from_offer(&open.to_offer()).unwrap(), open);
            }
            Body::Meet { tag, everyone, offer } => {
                assert!(matches!(
                    again.body,
                    Body::Meet { tag: t, everyone: e, offer: o } if (t, e, o) == (tag, everyone, offer)
                ));
            }
            Body::Join(token) => assert!(matches!(again.body, Body::Join(other) if other == token)),
            _ => {}
        }
    }
    if let Ok(open) = OpenStream::from_offer(bytes) {
        assert_eq!(OpenStream::from_offer(&open.to_offer()).unwrap(), open);
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
