//! The first PKESK of any bytes, binary or armored; and what de-armoring makes of them.
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let key = packet::peek(bytes);
    if let Ok(peeked) = packet::inspect(bytes) {
        assert_eq!(key, Ok(peeked.key_id));
    }
    if let Ok(binary) = packet::dearmor(bytes, 1 << 16) {
        assert!(binary.len() <= 1 << 16);
    }
});
