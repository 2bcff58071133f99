//! Seeds of `identity`: certificates, bindings, addresses and contacts.

use wallet::{CertificateKind, ContactUri};

use crate::people::{Person, SIGNER};
use crate::{Outcome, Seeds};

pub(crate) fn identity(seeds: &mut Seeds) -> Outcome {
    for (name, kind) in [
        ("v6", CertificateKind::V6),
        ("v6-classic", CertificateKind::V6Classic),
        ("v4", CertificateKind::V4),
    ] {
        let person = Person::new(SIGNER, kind)?;
        let certificate = person.secret.certificate();
        seeds.put(&format!("certificate-{name}"), certificate.to_bytes())?;
        seeds.put(
            &format!("certificate-{name}-armored"),
            certificate.armored(),
        )?;
        seeds.put(&format!("binding-{name}"), person.binding.to_bytes())?;
        let contact = ContactUri {
            wallet: person.wallet.address(),
            fingerprint: Some(certificate.fingerprint()),
            mailboxes: person.binding.mailboxes.clone(),
        };
        seeds.put(&format!("contact-{name}"), contact.to_string())?;
    }
    let address = Person::new(SIGNER, CertificateKind::V4)?
        .wallet
        .address()
        .to_string();
    seeds.put("address", &address)?;
    seeds.put("address-in-lower-case", address.to_lowercase())?;
    seeds.put("contact-of-an-address", format!("CONET:{address}?later=1&"))
}
