//! Commands, owner requests, answers and delivery items: decode, encode, decode again.
#![no_main]
use protocol::answer::{Answer, Item};
use protocol::command::{Command, Request};
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(command) = Command::decode(bytes) {
        assert!(Command::decode(&command.encode()).is_ok());
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
