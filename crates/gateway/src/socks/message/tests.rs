use super::*;
use proptest::prelude::*;

fn target_of(text: &str) -> Target {
    text.parse().unwrap()
}

fn connect_to(kind: u8, address: &[u8], port: u16) -> Vec<u8> {
    let mut bytes = vec![5, 1, 0, kind];
    bytes.extend_from_slice(address);
    bytes.extend_from_slice(&port.to_be_bytes());
    bytes
}

#[test]
fn greeting_prefers_a_login_because_its_name_isolates() {
    assert_eq!(greeting(&[5, 2, 0, 2]), Ok(Some((Method::Login, 4))));
    assert_eq!(greeting(&[5, 1, 0, 9]), Ok(Some((Method::Nobody, 3))));
    assert_eq!(greeting(&[5, 1, 1]), Ok(Some((Method::Unacceptable, 3))));
    assert_eq!(greeting(&[5, 0]), Ok(Some((Method::Unacceptable, 2))));
    assert_eq!(greeting(&[4]), Err(Malformed::Version));
    assert_eq!(greeting(b"G"), Err(Malformed::Version));
}

#[test]
fn login_with_any_password_gives_the_user_name() {
    assert_eq!(login(b"\x01\x03bob\x02xy+"), Ok(Some((&b"bob"[..], 8))));
    assert_eq!(login(b"\x01\x00\x00"), Ok(Some((&b""[..], 3))));
    assert_eq!(login(b"\x05"), Err(Malformed::LoginVersion));
}

#[test]
fn request_reads_each_kind_of_address() {
    for (kind, address, written) in [
        (1, &[192, 0, 2, 1][..], "192.0.2.1:443"),
        (3, b"\x0bExample.org", "example.org:443"),
        (3, b"\x09127.0.0.1", "127.0.0.1:443"),
        (3, b"\x03::1", "[::1]:443"),
        (4, &Ipv6Addr::LOCALHOST.octets()[..], "[::1]:443"),
    ] {
        let bytes = connect_to(kind, address, 443);
        let read = request(&bytes);
        assert_eq!(
            read,
            Ok(Some((Request::Connect(target_of(written)), bytes.len())))
        );
    }
    let associate = [5, 3, 0, 1, 0, 0, 0, 0, 0, 0];
    assert_eq!(
        request(&associate),
        Ok(Some((Request::Associate(None), 10)))
    );
    let associate = [5, 3, 0, 3, 1, b'?', 1, 0];
    let port = NonZeroU16::new(256);
    assert_eq!(request(&associate), Ok(Some((Request::Associate(port), 8))));
}

#[test]
fn request_that_is_not_served_says_why_at_once() {
    assert_eq!(request(&[5, 2]), Err(Malformed::Command), "bind");
    assert_eq!(request(&[5, 0xf0]), Err(Malformed::Command));
    assert_eq!(request(&[4, 1]), Err(Malformed::Version));
    assert_eq!(request(&[5, 1, 0, 2]), Err(Malformed::AddressKind));
    for (address, port) in [
        (&b"\x00"[..], 80),
        (b"\x05127.1", 80),
        (b"\x01a", 0),
        (b"\x02\xff\xfe", 80),
    ] {
        assert_eq!(
            request(&connect_to(3, address, port)),
            Err(Malformed::Target)
        );
    }
}

#[test]
fn message_of_which_a_byte_is_missing_is_not_whole() {
    let request_bytes = connect_to(3, b"\x0bexample.org", 80);
    for len in 0..request_bytes.len() {
        assert_eq!(request(&request_bytes[..len]), Ok(None));
    }
    for len in 0..8 {
        assert_eq!(login(&b"\x01\x03bob\x02xy"[..len]), Ok(None));
    }
    for len in 0..4 {
        assert_eq!(greeting(&[5, 2, 0, 2][..len]), Ok(None));
    }
}

#[test]
fn datagram_that_is_a_part_is_refused() {
    let whole = [0, 0, 0, 1, 192, 0, 2, 1, 0, 53, b'?'];
    assert_eq!(datagram(&whole), Ok((target_of("192.0.2.1:53"), &b"?"[..])));
    let mut part = whole;
    part[2] = 1;
    assert_eq!(datagram(&part), Err(Malformed::Fragment));
    for len in 0..10 {
        assert_eq!(datagram(&whole[..len]), Err(Malformed::Short));
    }
}

proptest! {
    #[test]
    fn header_of_a_datagram_is_read_as_it_was_written(
        host in prop_oneof![
            any::<[u8; 4]>().prop_map(|v4| Host::from(Ipv4Addr::from(v4))),
            any::<[u8; 16]>().prop_map(|v6| Host::Address(Ipv6Addr::from(v6).into())),
            "[a-z]{1,60}(\\.[a-z]{1,60}){0,3}".prop_map(|name| name.parse().unwrap()),
        ],
        port: NonZeroU16,
        payload: Vec<u8>,
    ) {
        let target = Target { host, port };
        let mut bytes = Vec::new();
        put_datagram_header(&target, &mut bytes);
        prop_assert!(bytes.len() <= MAX_DATAGRAM_HEADER_BYTES);
        bytes.extend_from_slice(&payload);
        prop_assert_eq!(datagram(&bytes), Ok((target, &payload[..])));
    }

    #[test]
    fn no_bytes_are_waited_for_beyond_the_longest_message(bytes in prop::collection::vec(any::<u8>(), MAX_MESSAGE_BYTES)) {
        for first in [1, 5] {
            let mut bytes = bytes.clone();
            bytes[0] = first;
            prop_assert!(!matches!(greeting(&bytes), Ok(None)));
            prop_assert!(!matches!(login(&bytes), Ok(None)));
            prop_assert!(!matches!(request(&bytes), Ok(None)));
        }
    }
}
