//! A network file from a stranger: read, checked, written and read again.
#![no_main]
use ledger::NetworkFile;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(file) = NetworkFile::parse(bytes) {
        file.check().expect("what was read was checked");
        let again = serde_json::to_vec(&file).unwrap();
        assert_eq!(NetworkFile::parse(&again).unwrap(), file);
    }
});
