//! Homes: wallets that are made, found, unlocked, forgotten, taken along.

use std::os::unix::fs::PermissionsExt as _;

use tempfile::TempDir;
use wallet::ContactUri;

use super::*;

const WORDS: &str = "test test test test test test test test test test test junk";

fn home() -> (TempDir, Home) {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::open(folder.path().join("home")).unwrap();
    (folder, home)
}

fn new_wallet(label: &str, source: Source, password: &str) -> NewWallet {
    NewWallet {
        label: label.parse().unwrap(),
        source,
        kind: CertificateKind::V6Classic,
        password: password.to_owned().into(),
        cost: ScryptCost::Light,
        restore: false,
    }
}

fn random(label: &str) -> NewWallet {
    new_wallet(label, Source::Random(WordCount::Twelve), "secret")
}

#[test]
fn wallet_made_is_listed_and_opens_with_its_password_only() {
    let (_folder, home) = home();
    assert!(matches!(home.find(None), Err(HomeError::NoWallet)));
    let created = home.create(random("alice")).unwrap();
    let head = home.find(None).unwrap();
    assert_eq!(head, created.head);
    assert_eq!(home.find(Some("alice")).unwrap(), head);
    assert_eq!(home.find(Some(&head.address.to_string())).unwrap(), head);
    // A typing error in an address was answered as a wallet that is not here.
    let typo = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeD";
    assert!(matches!(
        home.find(Some(typo)),
        Err(HomeError::Address(text, wallet::AddressError::WrongChecksum)) if text == typo
    ));
    assert!(matches!(
        home.unlock(&head, "wrong"),
        Err(HomeError::Keystore(KeystoreError::WrongPassword))
    ));
    let account = home.unlock(&head, "secret").unwrap();
    assert_eq!(account.address(), head.address);
    assert_eq!(account.mnemonic().unwrap(), created.mnemonic);
    let certificate = account.certificate().unwrap();
    assert_eq!(certificate.wallet(), Some(head.address));
    account
        .binding()
        .unwrap()
        .verify_certificate(&certificate)
        .unwrap();
}

#[test]
fn wallet_of_known_words_has_the_known_address_and_opens_elsewhere() {
    let (_folder, home) = home();
    let mnemonic = Mnemonic::parse(WORDS).unwrap();
    let head = home
        .create(new_wallet("a", Source::Mnemonic(mnemonic, 1), ""))
        .unwrap()
        .head;
    assert_eq!(
        head.address.to_string(),
        "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
    );
    assert!(head.password_is_empty);
    let key = keystore::decrypt(&home.keystore(&head).unwrap(), "").unwrap();
    assert_eq!(key.address(), head.address);
}

#[test]
fn label_or_wallet_that_is_taken_is_refused_and_nothing_is_overwritten() {
    let (_folder, home) = home();
    let first = home.create(random("alice")).unwrap().head;
    assert!(matches!(
        home.create(random("alice")),
        Err(HomeError::LabelTaken(_))
    ));
    let key = home.unlock(&first, "secret").unwrap().key().clone();
    let again = home.create(new_wallet("other", Source::Key(key), ""));
    assert!(matches!(again, Err(HomeError::AlreadyHere(_))));
    assert_eq!(home.wallets().unwrap(), [first]);
}

#[test]
fn first_wallet_is_the_one_that_came_first() {
    let (_folder, home) = home();
    for label in ["zoe", "adam"] {
        home.create(random(label)).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    assert_eq!(home.find(None).unwrap().label.as_str(), "zoe");
}

#[test]
fn files_of_a_home_are_their_owners_alone() {
    let (_folder, home) = home();
    let head = home.create(random("alice")).unwrap().head;
    drop(home.unlock(&head, "secret").unwrap());
    let mut folders = vec![home.path().to_owned()];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let mode = path.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "{}", path.display());
            if path.is_dir() {
                folders.push(path);
            } else {
                files += 1;
            }
        }
    }
    assert!(files >= 3);
}

#[test]
fn secret_is_nowhere_in_clear() {
    let (_folder, home) = home();
    let created = home.create(random("alice")).unwrap();
    let words = created.mnemonic.unwrap();
    let json = std::fs::read_to_string(home.path().join("wallets/alice.json")).unwrap();
    assert!(!json.contains(words.as_str()));
    let account = home.unlock(&created.head, "secret").unwrap();
    let secret = hex::encode(account.key().to_bytes().as_slice());
    assert!(!json.contains(&secret));
    assert!(!format!("{account:?}").contains(&secret));
}

#[test]
fn recipient_is_read_from_address_contact_name_and_label() {
    let (_folder, home) = home();
    let own = home.create(random("alice")).unwrap().head.address;
    let other = WalletAddress::from_bytes([7; 20]);
    let uri = ContactUri {
        wallet: other,
        fingerprint: Some(wallet::Fingerprint::V6([3; 32])),
        mailboxes: vec![WalletAddress::from_bytes([4; 20])],
    };
    home.add_contact(Contact {
        name: "bob".parse().unwrap(),
        uri: uri.clone(),
    })
    .unwrap();
    for text in ["bob", &other.to_string(), &uri.to_string(), " bob "] {
        let recipient = home.recipient(text).unwrap();
        assert_eq!(recipient.wallet, other, "{text}");
        assert_eq!(recipient.fingerprint, uri.fingerprint);
        assert_eq!(recipient.mailboxes, uri.mailboxes);
        assert_eq!(recipient.name.as_deref(), Some("bob"));
    }
    // A label gives the address only, as if it were a stranger's.
    let recipient = home.recipient("alice").unwrap();
    assert_eq!((recipient.wallet, recipient.fingerprint), (own, None));
    assert!(recipient.mailboxes.is_empty());
    assert!(matches!(
        home.recipient("carol"),
        Err(RecipientError::Unknown(_))
    ));
    assert!(matches!(
        home.recipient("0x12"),
        Err(RecipientError::Address(_))
    ));
    assert!(matches!(
        home.recipient("conet:0x12"),
        Err(RecipientError::Contact(_))
    ));
    let name = home.recipient("shop.conet");
    assert!(matches!(name, Err(RecipientError::NetworkName(_))));
}

#[test]
fn contacts_changed_by_many_at_once_are_all_there() {
    let (_folder, home) = home();
    std::thread::scope(|scope| {
        for number in 0..8u8 {
            let home = &home;
            scope.spawn(move || {
                home.add_contact(Contact {
                    name: format!("c{number}").parse().unwrap(),
                    uri: ContactUri {
                        wallet: WalletAddress::from_bytes([number; 20]),
                        fingerprint: None,
                        mailboxes: Vec::new(),
                    },
                })
                .unwrap();
            });
        }
    });
    assert_eq!(home.contacts().unwrap().contacts().len(), 8);
    home.remove_contact("c3").unwrap();
    assert!(matches!(
        home.remove_contact("c3"),
        Err(HomeError::UnknownContact(_))
    ));
    let wallet = WalletAddress::from_bytes([9; 20]);
    home.block(wallet, true).unwrap();
    assert!(home.contacts().unwrap().is_blocked(&wallet));
    home.block(wallet, false).unwrap();
    assert!(!home.contacts().unwrap().is_blocked(&wallet));
}

#[test]
fn contact_can_not_take_the_label_of_an_own_wallet() {
    let (_folder, home) = home();
    let head = home.create(random("alice")).unwrap().head;
    let contact = Contact {
        name: "alice".parse().unwrap(),
        uri: ContactUri {
            wallet: head.address,
            fingerprint: None,
            mailboxes: Vec::new(),
        },
    };
    assert!(matches!(
        home.add_contact(contact),
        Err(HomeError::LabelTaken(_))
    ));
}

#[test]
fn damaged_or_newer_wallet_file_is_told_by_name() {
    let (_folder, home) = home();
    let path = home.path().join("wallets/broken.json");
    std::fs::write(&path, "{").unwrap();
    let error = home.wallets().unwrap_err().to_string();
    assert!(error.contains("broken.json"), "{error}");
    std::fs::remove_file(&path).unwrap();

    home.create(random("alice")).unwrap();
    let path = home.path().join("wallets/alice.json");
    let json = std::fs::read_to_string(&path).unwrap();
    std::fs::write(
        &path,
        json.replace(
            "\"version\": 1,\n  \"label\"",
            "\"version\": 2,\n  \"label\"",
        ),
    )
    .unwrap();
    assert!(matches!(
        home.wallets(),
        Err(HomeError::UnknownVersion { found: 2, .. })
    ));
}

#[test]
fn network_name_can_not_leave_the_home() {
    let (_folder, home) = home();
    assert!(
        home.network_path("devnet")
            .unwrap()
            .starts_with(home.path())
    );
    for name in ["../x", "/etc/x", "", "a/b"] {
        assert!(home.network_path(name).is_err(), "{name}");
    }
}
