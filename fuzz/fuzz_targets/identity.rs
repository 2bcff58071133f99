//! Certificates, bindings, addresses, contact URIs and keystores.
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(certificate) = wallet::Certificate::parse(bytes) {
        assert_eq!(wallet::Certificate::parse(&certificate.to_bytes()).unwrap().fingerprint(), certificate.fingerprint());
    }
    let _ = wallet::CertificateBinding::from_bytes(bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        if let Ok(address) = text.parse::<wallet::WalletAddress>() {
            assert_eq!(address.to_string().parse::<wallet::WalletAddress>().unwrap(), address);
        }
        if let Ok(contact) = text.parse::<wallet::ContactUri>() {
            assert_eq!(contact.to_string().parse::<wallet::ContactUri>().unwrap(), contact);
        }
    }
});
