//! Envelopes and the contents they carry.
#![no_main]
use bytes::Bytes;
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let bytes = Bytes::copy_from_slice(bytes);
    if let Ok(envelope) = packet::Envelope::decode(&bytes) {
        assert_eq!(packet::Envelope::decode(&envelope.encode().into()).unwrap(), envelope);
    }
    if let Ok(chunk) = packet::Chunk::decode(&bytes) {
        assert!(chunk.name.len() <= packet::MAX_NAME_BYTES);
        if let Ok(mut assembly) = protocol::transfer::Assembly::start(&chunk) {
            let _ = assembly.take(&chunk);
            let bits = assembly.bits();
            assembly.restore(&bits);
        }
    }
    let _ = packet::Receipt::decode(&bytes);
});
