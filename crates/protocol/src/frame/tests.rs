use super::*;
use proptest::prelude::*;

#[test]
fn header_with_payload_beyond_region_is_refused() {
    let mut bytes = Header::packet(SizeClass::K4, 4096).encode();
    assert!(Header::decode(&bytes).is_ok());
    bytes[4..8].copy_from_slice(&4097u32.to_be_bytes());
    assert_eq!(
        Header::decode(&bytes),
        Err(HeaderError::Payload {
            payload_bytes: 4097
        })
    );
}

#[test]
fn control_frame_with_region_is_refused() {
    let mut bytes = Header::control(Kind::Ping, 1).encode();
    bytes[2] = 0;
    assert_eq!(Header::decode(&bytes), Err(HeaderError::Class(0)));
}

#[test]
fn appended_frame_fills_its_class_and_splits_again() {
    let mut out = Vec::new();
    assert!(append(
        &mut out,
        Header::packet(SizeClass::K4, 0),
        &[7; 4097]
    ));
    assert_eq!(out.len(), HEADER_BYTES + 16_384);
    let (header, payload) = split(&out).unwrap();
    assert_eq!((header.payload_bytes, payload), (4097, &[7u8; 4097][..]));
}

#[test]
fn each_kind_has_its_number_and_all_others_are_refused() {
    use Kind::{Answer, Cancel, Credit, Data, GoAway, Item, Packet, Ping, Pong};
    let kinds = [
        Packet, Answer, Item, Credit, Cancel, Ping, Pong, GoAway, Data,
    ];
    for number in 0..=255u8 {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0] = number;
        bytes[2] = if (1..=3).contains(&number) { 0 } else { 255 };
        let kind = number
            .checked_sub(1)
            .and_then(|n| kinds.get(usize::from(n)));
        let decoded = Header::decode(&bytes);
        match kind {
            Some(kind) => {
                let header = decoded.unwrap();
                assert_eq!((header.kind, header.encode()), (*kind, bytes));
            }
            None => assert_eq!(decoded, Err(HeaderError::Kind(number))),
        }
    }
}

/// Bytes of a circuit have no class: their region is as long as they are.
#[test]
fn data_take_no_more_room_than_they_are_long() {
    let mut out = Vec::new();
    for length in [0, 1, 4_097, MAX_DATA_BYTES] {
        out.clear();
        assert!(append(&mut out, Header::data(9, 0), &vec![7; length]));
        assert_eq!(out.len(), HEADER_BYTES + length);
        let (header, payload) = split(&out).unwrap();
        assert_eq!(
            (header.kind, header.request, header.class),
            (Kind::Data, 9, None)
        );
        assert_eq!(payload, vec![7; length]);
    }
    out.clear();
    assert!(!append(
        &mut out,
        Header::data(9, 0),
        &[7; MAX_DATA_BYTES + 1]
    ));
    assert!(out.is_empty());
    let too_long = Header::data(9, MAX_DATA_BYTES as u32 + 1).encode();
    let refused = Err(HeaderError::Payload {
        payload_bytes: MAX_DATA_BYTES as u32 + 1,
    });
    assert_eq!(Header::decode(&too_long), refused);
}

#[test]
fn headers_hold_what_they_were_made_with() {
    let packet = Header::packet(SizeClass::K16, 7);
    assert_eq!(
        (packet.class, packet.hops),
        (Some(SizeClass::K16), MAX_HOPS)
    );
    assert_eq!((packet.payload_bytes, packet.request), (7, 0));
    let answer = Header::answer(9, SizeClass::M1, 7);
    let item = Header::item(9, SizeClass::M1, 7);
    for header in [answer, item] {
        assert_eq!((header.class, header.hops), (Some(SizeClass::M1), 0));
        assert_eq!((header.payload_bytes, header.request), (7, 9));
    }
    assert_eq!((answer.kind, item.kind), (Kind::Answer, Kind::Item));
    let credit = Header::credit(9, 70_000);
    assert_eq!(
        (credit.kind, credit.request, credit.credit),
        (Kind::Credit, 9, 70_000)
    );
    assert_eq!(Header::decode(&credit.encode()), Ok(credit));
    assert_eq!(Header::control(Kind::Cancel, 9).request, 9);
}

#[test]
fn each_flag_has_its_bit_and_a_stamp_only_where_it_is_said() {
    for flags in 0..16u8 {
        let header = Header {
            stream: flags & 2 != 0,
            broadcast: flags & 4 != 0,
            last: flags & 8 != 0,
            stamp: (flags & 1 != 0).then_some([flags; STAMP_BYTES]),
            ..Header::packet(SizeClass::K4, 1)
        };
        let bytes = header.encode();
        assert_eq!(bytes[1], flags);
        assert_eq!(Header::decode(&bytes), Ok(header));
    }
}

#[test]
fn frame_keeps_a_class_that_is_larger_than_its_payload_needs() {
    let mut out = Vec::new();
    assert!(append(
        &mut out,
        Header::packet(SizeClass::K16, 0),
        &[7; 10]
    ));
    assert_eq!(out.len(), HEADER_BYTES + 16_384);
    assert!(!append(
        &mut out,
        Header::packet(SizeClass::K4, 0),
        &vec![0; (1 << 20) + 1]
    ));
    assert_eq!(split(&out).unwrap().1, [7; 10]);
    // Bytes after the region, or fewer than it has, are no frame.
    assert_eq!(split(&out[..out.len() - 1]), Err(HeaderError::Short));
    out.push(0);
    assert_eq!(split(&out), Err(HeaderError::Short));
}

proptest! {
    #[test]
    fn any_bytes_never_panic_and_decoded_headers_encode_alike(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        if let Ok(header) = Header::decode(&bytes) {
            prop_assert_eq!(Header::decode(&header.encode()).unwrap(), header);
        }
    }
}
