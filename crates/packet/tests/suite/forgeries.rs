//! Messages that somebody tampered with, made out to others, or signed in another's name.

use packet::{Envelope, OpenError, SenderProof, Verified, open, open_with};
use pgp::{crypto::hash::HashAlgorithm, packet::SignatureType};
use wallet::{BindingError, CertificateKind};

use crate::people::{KINDS, Person, Signing, draft, envelope_of, literal, strip, wrap};

struct Scene {
    alice: Person,
    bob: Person,
    mallory: Person,
    /// What Alice wrote to Bob.
    envelope: Envelope,
}

fn scene() -> Scene {
    let [alice, bob, mallory] = [1, 2, 3].map(|seed| Person::new(seed, CertificateKind::V6));
    let envelope = envelope_of(&alice.seal(&draft("pay 5"), bob.certificate()), &bob);
    Scene {
        alice,
        bob,
        mallory,
        envelope,
    }
}

impl Scene {
    /// Seals an envelope to Bob, signed by whom it may be.
    fn deliver(&self, envelope: &Envelope, signer: &Person) -> Result<Verified, OpenError> {
        let bytes = envelope.encode();
        let signing = Signing::honest(&signer.secret, self.bob.certificate());
        self.deliver_cleartext(&signing.cleartext(&bytes, &bytes))
    }

    fn deliver_cleartext(&self, cleartext: &[u8]) -> Result<Verified, OpenError> {
        let packet = wrap(cleartext, self.bob.certificate());
        open(&packet, &self.bob.secret).map(|opened| opened.verified)
    }

    fn proof(&self) -> SenderProof {
        self.envelope.sender.clone().unwrap()
    }
}

#[test]
fn honest_message_sealed_by_another_implementation_is_verified() {
    let scene = scene();
    let verified = scene.deliver(&scene.envelope, &scene.alice).unwrap();
    let wallet = scene.alice.wallet.address();
    assert!(matches!(verified, Verified::Wallet { wallet: by, .. } if by == wallet));
}

#[test]
fn readdressed_message_is_refused() {
    for kind in KINDS {
        let [alice, bob, carol] = [1, 2, 3].map(|seed| Person::new(seed, kind));
        let packet = alice.seal(&draft("I owe you"), bob.certificate());
        let cleartext = strip(packet.as_bytes(), &bob.secret);
        let readdressed = wrap(&cleartext, carol.certificate());
        let refused = open(&readdressed, &carol.secret);
        assert!(matches!(refused, Err(OpenError::OtherRecipient)));
    }
}

#[test]
fn message_with_its_signature_taken_off_is_refused() {
    let scene = scene();
    let refused = scene.deliver_cleartext(&literal(&scene.envelope.encode()));
    assert!(matches!(refused, Err(OpenError::SignatureMissing)));
}

#[test]
fn message_with_any_field_changed_is_refused() {
    let scene = scene();
    let signed = scene.envelope.encode();
    let mut changed = scene.envelope.clone();
    changed.body = "pay 500".into();
    let signing = Signing::honest(&scene.alice.secret, scene.bob.certificate());
    let refused = scene.deliver_cleartext(&signing.cleartext(&changed.encode(), &signed));
    assert!(matches!(refused, Err(OpenError::SignatureWrong(_))));
}

#[test]
fn message_whose_wallet_signature_covers_other_fields_is_refused() {
    let scene = scene();
    // Alice's certificate key signs it all, her wallet key never saw it.
    let changes: [fn(&mut Envelope); 6] = [
        |envelope| envelope.body = "pay 500".into(),
        |envelope| envelope.time_ms += 1,
        |envelope| envelope.sequence += 1,
        |envelope| envelope.content_type.push('x'),
        |envelope| envelope.message_id = [0; 16].into(),
        |envelope| envelope.session = [0; 8].into(),
    ];
    for change in changes {
        let mut changed = scene.envelope.clone();
        change(&mut changed);
        let refused = scene.deliver(&changed, &scene.alice).unwrap_err();
        assert!(matches!(
            refused,
            OpenError::WalletSignatureWrong | OpenError::WalletSignature(_)
        ));
    }
}

#[test]
fn message_of_mallory_with_the_proof_of_alice_is_refused() {
    let scene = scene();
    let refused = scene.deliver(&scene.envelope, &scene.mallory);
    assert!(matches!(refused, Err(OpenError::SignatureWrong(_))));

    let own_key = pgp::ser::Serialize::to_bytes(scene.mallory.secret.primary().public_key());
    let mut forged = scene.envelope.clone();
    forged.sender = Some(SenderProof {
        primary_key: own_key.unwrap(),
        ..scene.proof()
    });
    let refused = scene.deliver(&forged, &scene.mallory);
    assert!(matches!(refused, Err(OpenError::SenderKey)));
}

#[test]
fn message_with_a_binding_that_the_wallet_never_signed_is_refused() {
    let scene = scene();
    let mut proof = envelope_of(
        &scene.mallory.seal(&draft("pay 5"), scene.bob.certificate()),
        &scene.bob,
    )
    .sender
    .unwrap();
    proof.binding.wallet = scene.alice.wallet.address();
    let forged = Envelope {
        sender: Some(proof),
        ..scene.envelope.clone()
    };
    let refused = scene.deliver(&forged, &scene.mallory);
    assert!(matches!(
        refused,
        Err(OpenError::Binding(BindingError::WrongSigner { .. }))
    ));
}

#[test]
fn message_with_a_wallet_signature_made_out_to_another_is_refused() {
    let scene = scene();
    // Alice wrote the same to Mallory; her wallet signature names Mallory's certificate.
    let to_mallory = scene
        .alice
        .seal(&draft("pay 5"), scene.mallory.certificate());
    let envelope = envelope_of(&to_mallory, &scene.mallory);
    let refused = scene.deliver(&envelope, &scene.alice).unwrap_err();
    assert!(matches!(
        refused,
        OpenError::WalletSignatureWrong | OpenError::WalletSignature(_)
    ));
}

#[test]
fn message_whose_signature_names_no_recipient_is_refused() {
    let scene = scene();
    let bytes = scene.envelope.encode();
    let mut signing = Signing::honest(&scene.alice.secret, scene.bob.certificate());
    signing.recipient = None;
    let refused = scene.deliver_cleartext(&signing.cleartext(&bytes, &bytes));
    assert!(matches!(refused, Err(OpenError::OtherRecipient)));
}

#[test]
fn message_with_two_signatures_is_refused() {
    let scene = scene();
    let bytes = scene.envelope.encode();
    let alice = Signing::honest(&scene.alice.secret, scene.bob.certificate()).packets(&bytes);
    let mallory = Signing::honest(&scene.mallory.secret, scene.bob.certificate()).packets(&bytes);
    let cleartext = [mallory.0, alice.0, literal(&bytes), alice.1, mallory.1].concat();
    let refused = scene.deliver_cleartext(&cleartext);
    assert!(matches!(refused, Err(OpenError::AmbiguousSignature)));
}

#[test]
fn message_with_a_signature_that_proves_nothing_is_refused() {
    let scene = scene();
    let bytes = scene.envelope.encode();
    let mut text = Signing::honest(&scene.alice.secret, scene.bob.certificate());
    text.kind = SignatureType::Text;
    let (announcement, signature) =
        Signing::honest(&scene.alice.secret, scene.bob.certificate()).packets(&bytes);
    let mut unreadable = signature.clone();
    unreadable[2] = 77;
    // SHA-224, in the place where each packet names its hash.
    let (mut weakly_announced, mut weakly_signed) = (announcement.clone(), signature.clone());
    (weakly_announced[4], weakly_signed[5]) = (11, 11);
    let weak = [weakly_announced, literal(&bytes), weakly_signed].concat();
    let announced_only = [announcement.clone(), literal(&bytes)].concat();
    let not_as_announced = [announcement, literal(&bytes), unreadable].concat();
    for cleartext in [
        text.cleartext(&bytes, &bytes),
        weak,
        announced_only,
        not_as_announced,
    ] {
        let refused = scene.deliver_cleartext(&cleartext);
        assert!(matches!(refused, Err(OpenError::SignatureUnusable)));
    }
}

/// Each of the two alone is enough: a hash that collisions are to be feared of, a type that is not of data.
#[test]
fn signature_by_a_weak_hash_or_of_another_type_proves_nothing() {
    let [alice, bob] = [1, 2].map(|seed| Person::new(seed, CertificateKind::V4));
    let fingerprint = alice.certificate().fingerprint();
    let envelope = envelope_of(&alice.seal(&draft("pay 5"), bob.certificate()), &bob);
    let bytes = envelope.encode();
    for (hash, kind, counts) in [
        (HashAlgorithm::Sha256, 0x00, true),
        (HashAlgorithm::Sha224, 0x00, false),
        (HashAlgorithm::Sha256, 0x02, false),
    ] {
        let mut signing = Signing::honest(&alice.secret, bob.certificate());
        signing.hash = HashAlgorithm::Sha256;
        let open = |content: &[u8]| {
            let (mut announcement, mut signature) = signing.packets(content);
            // Nobody signs like that; a forger says that they did.
            (announcement[3], signature[3]) = (kind, kind);
            (announcement[4], signature[5]) = (hash.into(), hash.into());
            let cleartext = [announcement, literal(content), signature].concat();
            open_with(&wrap(&cleartext, bob.certificate()), &bob.secret, |_| {
                Some(alice.certificate().clone())
            })
        };
        match open(&bytes) {
            Ok(opened) => assert!(counts && matches!(opened.verified, Verified::Wallet { .. })),
            Err(OpenError::SignatureUnusable) => assert!(!counts),
            Err(other) => panic!("{other}"),
        }
        let foreign = open(b"hello").unwrap();
        let shown = if counts {
            Verified::OpenPgp { fingerprint }
        } else {
            Verified::Unsigned
        };
        assert_eq!(foreign.verified, shown);
        assert_eq!(foreign.issuer.is_some(), counts);
    }
}

#[test]
fn message_with_a_broken_key_of_the_sender_is_refused() {
    let scene = scene();
    let key = scene.proof().primary_key;
    let longer = [key.clone(), vec![0]].concat();
    for primary_key in [Vec::new(), vec![6; 256], key[1..].to_vec(), longer] {
        let forged = Envelope {
            sender: Some(SenderProof {
                primary_key,
                ..scene.proof()
            }),
            ..scene.envelope.clone()
        };
        let refused = scene.deliver(&forged, &scene.alice);
        assert!(matches!(refused, Err(OpenError::SenderKey)));
    }
}

/// Only Ed25519 primaries sign for wallets. A subkey that encrypts says so by what it is, before anything is
/// verified by it.
#[test]
fn message_whose_sender_names_a_key_of_another_kind_is_refused() {
    let scene = scene();
    let subkey = &scene.alice.certificate().layer_subkey().key;
    let body = pgp::ser::Serialize::to_bytes(subkey).unwrap();
    let mut proof = scene.proof();
    proof.binding.fingerprint = match pgp::types::KeyDetails::fingerprint(subkey) {
        pgp::types::Fingerprint::V6(bytes) => wallet::Fingerprint::V6(bytes),
        other => panic!("{other}"),
    };
    proof.primary_key = body;
    let forged = Envelope {
        sender: Some(proof),
        ..scene.envelope.clone()
    };
    let refused = scene.deliver(&forged, &scene.alice);
    assert!(matches!(refused, Err(OpenError::SenderKey)));
}

#[test]
fn envelope_without_proof_but_signed_is_openpgp_if_the_signer_is_known() {
    let scene = scene();
    let envelope = Envelope {
        sender: None,
        ..scene.envelope.clone()
    };
    let bytes = envelope.encode();
    let signing = Signing::honest(&scene.alice.secret, scene.bob.certificate());
    let packet = wrap(&signing.cleartext(&bytes, &bytes), scene.bob.certificate());
    let fingerprint = scene.alice.certificate().fingerprint();

    let unknown = open(&packet, &scene.bob.secret).unwrap();
    assert_eq!(unknown.verified, Verified::Unsigned);
    assert_eq!(unknown.issuer, Some(fingerprint));

    let known = open_with(&packet, &scene.bob.secret, |asked| {
        (*asked == fingerprint).then(|| scene.alice.certificate().clone())
    });
    assert_eq!(known.unwrap().verified, Verified::OpenPgp { fingerprint });

    // A look-up that answers with somebody else's certificate proves nothing.
    let wrong = open_with(&packet, &scene.bob.secret, |_| {
        Some(scene.mallory.certificate().clone())
    });
    assert_eq!(wrong.unwrap().verified, Verified::Unsigned);
}
