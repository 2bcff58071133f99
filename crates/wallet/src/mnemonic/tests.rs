use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde::Deserialize;

use super::*;

/// The `english` vectors of python-mnemonic (passphrase `TREZOR`), which BIP-39 refers to.
const BIP_39: &str = include_str!("../../tests/vectors/bip39-english.json");
/// The vectors of BIP-32.
const BIP_32: &str = include_str!("../../tests/vectors/bip32.json");
/// From the test cases of ethers: other passphrases, the seeds, random paths.
const ETHERS: &str = include_str!("../../tests/vectors/hd-wallets.json");

const JUNK: &str = "test test test test test test test test test test test junk";
const ABANDON: &str = "abandon abandon abandon abandon abandon abandon abandon abandon \
                       abandon abandon abandon about";

#[derive(Deserialize)]
struct Phrase {
    entropy: String,
    phrase: String,
    seed: String,
}

#[derive(Deserialize)]
struct Tree {
    seed: String,
    chains: Vec<Chain>,
}

#[derive(Deserialize)]
struct Chain {
    path: String,
    xprv: String,
}

#[derive(Deserialize)]
struct HdWallet {
    name: String,
    phrase: String,
    passphrase: String,
    seed: String,
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    path: String,
    secret: String,
    address: String,
}

/// `m/44'/0` as numbers.
fn path(text: &str) -> Vec<(u32, bool)> {
    text.split('/')
        .skip(1)
        .map(|part| {
            let number = part.trim_end_matches('\'');
            (number.parse().unwrap(), number != part)
        })
        .collect()
}

#[test]
fn mnemonic_of_bip_39_gives_the_published_seed() {
    let vectors: Vec<Phrase> = serde_json::from_str(BIP_39).unwrap();
    assert_eq!(vectors.len(), 24);
    for vector in vectors {
        let mnemonic = Mnemonic::parse_with_passphrase(&vector.phrase, "TREZOR").unwrap();
        assert_eq!(hex::encode(mnemonic.seed()), vector.seed);
        assert_eq!(*mnemonic.phrase(), vector.phrase);
        assert_eq!(hex::encode(mnemonic.words.to_entropy()), vector.entropy);
    }
}

#[test]
fn derivation_of_bip_32_gives_the_published_keys() {
    let trees: Vec<Tree> = serde_json::from_str(BIP_32).unwrap();
    assert_eq!(trees.len(), 4);
    for tree in trees {
        let seed = hex::decode(tree.seed).unwrap();
        for chain in tree.chains {
            let key = derive(&seed, path(&chain.path)).unwrap();
            assert_eq!(*key.to_string(bip32::Prefix::XPRV), chain.xprv);
        }
    }
}

#[test]
fn mnemonic_gives_the_seeds_and_keys_of_ethers() {
    let vectors: Vec<HdWallet> = serde_json::from_str(ETHERS).unwrap();
    assert_eq!(vectors.len(), 26);
    for vector in vectors {
        let mnemonic = Mnemonic::parse_with_passphrase(&vector.phrase, &vector.passphrase).unwrap();
        assert_eq!(hex::encode(mnemonic.seed()), vector.seed, "{}", vector.name);
        for node in vector.nodes {
            let key = derive(mnemonic.seed(), path(&node.path)).unwrap();
            let key = WalletKey::from_secret(key.private_key().clone());
            assert_eq!(hex::encode(key.to_bytes().as_slice()), node.secret);
            assert_eq!(key.address().to_string().to_lowercase(), node.address);
        }
    }
}

#[test]
fn wallets_of_the_hardhat_mnemonic_have_their_known_addresses() {
    let known = [
        "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266",
        "0x70997970C51812dc3A010C7d01b50e0d17dc79C8",
        "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC",
        "0x90F79bf6EB2c4f870365E785982E1f101E93b906",
        "0x15d34AAf54267DB7D7c367839AAf71A00a2C6A65",
        "0x9965507D1a55bcC2695C58ba16FB37d819B0A4dc",
        "0x976EA74026E726554dB657fA54763abd0C3a0aa9",
        "0x14dC79964da2C08b23698B3D3cc7Ca32193d9955",
        "0x23618e81E3f5cdF7f54C3d65f7FBc0aBf5B21E8f",
        "0xa0Ee7A142d267C1f36714E4a8F75612F20a79720",
    ];
    let mnemonic = Mnemonic::parse(JUNK).unwrap();
    for (index, address) in (0..).zip(known) {
        assert_eq!(
            mnemonic.wallet(index).unwrap().address().to_string(),
            address
        );
    }
}

#[test]
fn mnemonic_in_other_case_and_spacing_is_the_same() {
    let spaced = format!("  {}\n", JUNK.to_uppercase().replace(' ', "\t "));
    let wallet = Mnemonic::parse(&spaced).unwrap().wallet(0).unwrap();
    let same = Mnemonic::parse(JUNK).unwrap().wallet(0).unwrap();
    assert_eq!(wallet.address(), same.address());
}

#[test]
fn mnemonic_with_a_fault_names_the_fault() {
    let error = |phrase: &str| Mnemonic::parse(phrase).unwrap_err();
    assert!(matches!(error("test test"), MnemonicError::WordCount(2)));
    assert!(matches!(error(""), MnemonicError::WordCount(0)));
    let unknown = ABANDON.replacen("abandon about", "abandoned about", 1);
    assert!(matches!(error(&unknown), MnemonicError::UnknownWord(11)));
    let swapped = ABANDON.replace("about", "abandon");
    assert!(matches!(error(&swapped), MnemonicError::WrongChecksum));
    let long = "abandon ".repeat(200);
    assert!(matches!(error(&long), MnemonicError::TooLong));
}

#[test]
fn mnemonic_with_another_passphrase_gives_other_wallets() {
    let plain = Mnemonic::parse(JUNK).unwrap();
    let other = Mnemonic::parse_with_passphrase(JUNK, "x").unwrap();
    assert_ne!(
        plain.wallet(0).unwrap().address(),
        other.wallet(0).unwrap().address()
    );
}

#[test]
fn wallet_beyond_the_last_index_is_refused() {
    let mnemonic = Mnemonic::parse(JUNK).unwrap();
    assert!(mnemonic.wallet((1 << 31) - 1).is_ok());
    assert!(matches!(
        mnemonic.wallet(1 << 31),
        Err(MnemonicError::NoSuchWallet(0x8000_0000))
    ));
}

#[test]
fn mnemonic_debug_output_hides_the_words() {
    assert_eq!(
        format!("{:?}", Mnemonic::parse(JUNK).unwrap()),
        "Mnemonic { .. }"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn generated_mnemonic_is_read_back(seed: u64, long: bool) {
        let (count, words) = if long {
            (WordCount::TwentyFour, 24)
        } else {
            (WordCount::Twelve, 12)
        };
        let mnemonic = Mnemonic::generate(count, &mut StdRng::seed_from_u64(seed)).unwrap();
        let phrase = mnemonic.phrase();
        prop_assert_eq!(phrase.split(' ').count(), words);
        let again = Mnemonic::parse(&phrase).unwrap();
        prop_assert_eq!(again.seed(), mnemonic.seed());
    }

    #[test]
    fn mnemonic_parser_survives_any_text(text in ".{0,200}", words in "([a-z]{3,8} ){12}") {
        let _ = Mnemonic::parse(&text);
        let _ = Mnemonic::parse(&words);
    }
}
