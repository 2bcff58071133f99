use proptest::prelude::*;

use super::*;
use crate::{
    event::{LedgerEvent, NameChange, Positioned},
    name::NameNode,
    test_data::{key, network},
};

const EXPIRY_S: u64 = 1_000;

fn wallet(number: u8) -> WalletAddress {
    key(number).address()
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn node(text: &str) -> NameNode {
    text.rsplit('.').fold(NameNode::ROOT, NameNode::below)
}

fn change(text: &str, change: NameChange) -> LedgerEvent {
    LedgerEvent::Name {
        node: node(text),
        change,
    }
}

fn given(text: &str, owner: u8) -> LedgerEvent {
    let parent = text.split_once('.').map_or("", |(_, parent)| parent);
    let parent = if parent.is_empty() {
        NameNode::ROOT
    } else {
        node(parent)
    };
    let owner = wallet(owner);
    change(text, NameChange::Given { parent, owner })
}

/// What the contracts say, in their order, when a name is registered.
fn registered(label: &str, owner: u8, expiry_s: u64) -> Vec<LedgerEvent> {
    let text = format!("{label}.conet");
    vec![
        change(&text, NameChange::Label(label.to_owned())),
        given(&text, 99),
        change(&text, NameChange::ResolverKnown(true)),
        change(&text, NameChange::Expiry(Some(expiry_s))),
        change(&text, NameChange::Wallet(Some(wallet(owner)))),
        change(&text, NameChange::Owner(wallet(owner))),
    ]
}

fn below(text: &str, owner: u8) -> Vec<LedgerEvent> {
    vec![
        given(text, owner),
        change(text, NameChange::ResolverKnown(true)),
        change(text, NameChange::Wallet(Some(wallet(owner)))),
    ]
}

fn called(number: u8, text: &str) -> Vec<LedgerEvent> {
    let reverse = format!("{}.addr.reverse", hex::encode(wallet(number).as_bytes()));
    vec![
        given(&reverse, number),
        change(&reverse, NameChange::ResolverKnown(true)),
        change(&reverse, NameChange::Called(text.to_owned())),
    ]
}

fn advance(index: &Index, number: u64, events: &[LedgerEvent]) {
    let cursor = index.cursor().unwrap();
    let id = |number: u64| BlockId {
        number,
        hash: [number as u8; 32],
    };
    let positioned = events.iter().enumerate().map(|(log, event)| Positioned {
        block: number,
        log_index: log as u64,
        event: event.clone(),
    });
    let advance = Advance {
        tip: id(number),
        first: cursor.tip.is_none().then(|| id(0)),
        head: number,
        at_s: 5,
        events: positioned.collect(),
    };
    let written = index.advance(cursor.revision, &advance).unwrap();
    assert_eq!(written, Written::Done);
}

fn index_of(events: &[Vec<LedgerEvent>]) -> Index {
    let index = Index::open_in_memory(&network()).unwrap();
    advance(&index, 0, &[given("conet", 98)]);
    advance(&index, 1, &events.concat());
    index
}

#[test]
fn name_says_its_wallet_until_it_expires() {
    let index = index_of(&[registered("shop", 1, EXPIRY_S)]);
    let shop = name("shop.conet");
    assert_eq!(index.resolve(&shop, EXPIRY_S - 1), Ok(wallet(1)));
    let over = Err(ResolveError::Expired { expiry_s: EXPIRY_S });
    assert_eq!(index.resolve(&shop, EXPIRY_S), over);
    let record = index.registration(&shop).unwrap();
    assert!(record.is_expired(EXPIRY_S) && !record.is_free(EXPIRY_S));
    assert!(record.is_free(EXPIRY_S + NAME_GRACE_S));
    advance(
        &index,
        2,
        &[change("shop.conet", NameChange::Expiry(Some(9_000)))],
    );
    assert_eq!(index.resolve(&shop, EXPIRY_S), Ok(wallet(1)));
}

#[test]
fn name_that_is_not_there_or_says_nothing_is_told_apart() {
    let mut silent = registered("silent", 1, EXPIRY_S);
    silent.push(change("silent.conet", NameChange::Wallet(None)));
    let mut foreign = registered("foreign", 1, EXPIRY_S);
    foreign.push(change("foreign.conet", NameChange::ResolverKnown(false)));
    let index = index_of(&[silent, foreign]);
    for (text, expected) in [
        ("nobody.conet", ResolveError::Unregistered),
        ("a.silent.conet", ResolveError::Unregistered),
        ("silent.conet", ResolveError::NoWallet),
        ("foreign.conet", ResolveError::ForeignResolver),
    ] {
        assert_eq!(index.resolve(&name(text), 5), Err(expected), "{text}");
    }
}

#[test]
fn name_registered_anew_says_nothing_of_before() {
    let mut again = registered("shop", 2, 9_000);
    again.retain(|event| {
        !matches!(
            event,
            LedgerEvent::Name {
                change: NameChange::Wallet(_),
                ..
            }
        )
    });
    let index = index_of(&[
        registered("shop", 1, EXPIRY_S),
        below("pay.shop.conet", 1),
        again,
    ]);
    let (shop, pay) = (name("shop.conet"), name("pay.shop.conet"));
    assert_eq!(index.resolve(&shop, 5), Err(ResolveError::NoWallet));
    assert_eq!(index.resolve(&pay, 5), Err(ResolveError::Unregistered));
    assert_eq!(index.registration(&shop).unwrap().owner, wallet(2));
}

#[test]
fn name_below_another_is_its_own_else_that_of_the_wildcard() {
    let index = index_of(&[
        registered("shop", 1, EXPIRY_S),
        below("pay.shop.conet", 2),
        below("*.shop.conet", 3),
    ]);
    for (text, expected) in [
        ("pay.shop.conet", Ok(wallet(2))),
        ("other.shop.conet", Ok(wallet(3))),
        ("very.other.shop.conet", Ok(wallet(3))),
        // The nearest name that there is has no wildcard.
        ("other.pay.shop.conet", Err(ResolveError::Unregistered)),
    ] {
        assert_eq!(index.resolve(&name(text), 5), expected, "{text}");
    }
    let over = Err(ResolveError::Expired { expiry_s: EXPIRY_S });
    assert_eq!(index.resolve(&name("pay.shop.conet"), EXPIRY_S), over);
}

#[test]
fn wallet_is_called_what_it_says_only_if_the_name_says_the_wallet() {
    let index = index_of(&[
        registered("shop", 1, EXPIRY_S),
        called(1, "shop.conet"),
        called(2, "shop.conet"),
        called(3, "SHOP.conet"),
        called(4, "no name"),
    ]);
    assert_eq!(index.name_of(&wallet(1), 5), Some(name("shop.conet")));
    assert_eq!(index.name_of(&wallet(1), EXPIRY_S), None);
    for number in 2..6 {
        assert_eq!(index.name_of(&wallet(number), 5), None, "{number}");
    }
    // The wallet's own, but not in its normal form.
    advance(&index, 2, &called(1, "Shop.conet"));
    assert_eq!(index.name_of(&wallet(1), 5), None);
}

#[test]
fn names_of_an_owner_are_listed_and_such_that_no_client_could_mean_are_not() {
    let index = index_of(&[
        registered("zoo", 1, EXPIRY_S),
        registered("shop", 1, 9_000),
        registered("other", 2, EXPIRY_S),
        registered("xn--shp-ula", 1, EXPIRY_S),
        registered("sh\u{43e}p", 1, EXPIRY_S),
    ]);
    let names: Vec<_> = (index.names_owned_by(&wallet(1)).into_iter())
        .map(|record| record.name.to_string())
        .collect();
    assert_eq!(names, ["shop.conet", "zoo.conet"]);
    assert_eq!(index.size().names, 5);
}

#[test]
fn names_are_in_the_index_when_it_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index.sqlite");
    let index = Index::open(&path, &network()).unwrap();
    let follower = Index::open(&path, &network()).unwrap();
    advance(&index, 0, &registered("shop", 1, EXPIRY_S));
    assert!(follower.refresh().unwrap());
    assert_eq!(follower.resolve(&name("shop.conet"), 5), Ok(wallet(1)));
    drop((index, follower));
    let index = Index::open(&path, &network()).unwrap();
    assert_eq!(index.resolve(&name("shop.conet"), 5), Ok(wallet(1)));
}

/// An update of the program must not need its user: what the file held is on the chain.
#[test]
fn index_of_an_earlier_format_is_emptied_and_of_a_later_one_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index.sqlite");
    let index = Index::open(&path, &network()).unwrap();
    advance(&index, 0, &registered("shop", 1, EXPIRY_S));
    drop(index);
    let set_format = |format: i64| {
        let file = rusqlite::Connection::open(&path).unwrap();
        let set = format!("UPDATE meta SET format = {format}");
        file.execute_batch(&set).unwrap();
    };
    set_format(1);
    let index = Index::open(&path, &network()).unwrap();
    assert_eq!(index.synced_to().block, None);
    assert_eq!(index.size().names, 0);
    drop(index);
    set_format(99);
    assert!(matches!(
        Index::open(&path, &network()),
        Err(IndexError::UnknownFormat { found: 99 })
    ));
}

const LABELS: [&str; 3] = ["abc", "shop", "zoo"];

fn any_events() -> impl Strategy<Value = Vec<LedgerEvent>> {
    let label = prop::sample::select(&LABELS[..]);
    prop_oneof![
        (label.clone(), 1_u8..4, 1_u64..50)
            .prop_map(|(label, owner, expiry_s)| registered(label, owner, expiry_s)),
        (label.clone(), 1_u8..4)
            .prop_map(|(label, owner)| below(&format!("pay.{label}.conet"), owner)),
        (label.clone(), 1_u8..4)
            .prop_map(|(label, owner)| below(&format!("*.{label}.conet"), owner)),
        (label.clone(), 1_u8..4).prop_map(|(label, owner)| vec![change(
            &format!("{label}.conet"),
            NameChange::Owner(wallet(owner))
        )]),
        (label.clone(), 1_u64..50).prop_map(|(label, expiry_s)| vec![change(
            &format!("{label}.conet"),
            NameChange::Expiry(Some(expiry_s))
        )]),
        (1_u8..4, label).prop_map(|(number, label)| called(number, &format!("{label}.conet"))),
    ]
}

/// All that can be asked of an index about names, at several times.
fn answers(index: &Index) -> impl PartialEq + std::fmt::Debug + use<> {
    let mut said = Vec::new();
    for now_s in [0, 20, 40, 100] {
        for label in LABELS {
            for text in ["", "pay.", "other."] {
                let name = name(&format!("{text}{label}.conet"));
                said.push((index.resolve(&name, now_s), index.registration(&name)));
            }
        }
    }
    let called: Vec<_> = (1..4)
        .map(|number| index.name_of(&wallet(number), 0))
        .collect();
    let owned: Vec<_> = (1..4)
        .map(|number| index.names_owned_by(&wallet(number)))
        .collect();
    (said, called, owned)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn names_after_any_events_and_roll_backs_are_those_of_the_canonical_chain(
        steps in prop::collection::vec((any_events(), prop::option::weighted(0.3, 0_usize..6)), 1..30),
    ) {
        let index = Index::open_in_memory(&network()).unwrap();
        advance(&index, 0, &[given("conet", 98)]);
        let mut blocks: Vec<Vec<LedgerEvent>> = Vec::new();
        for (events, back) in steps {
            if let Some(back) = back {
                blocks.truncate(blocks.len().saturating_sub(back));
                let cursor = index.cursor().unwrap();
                let number = blocks.len() as u64;
                let to = BlockId { number, hash: [number as u8; 32] };
                prop_assert_eq!(index.roll_back(cursor.revision, to).unwrap(), Written::Done);
            }
            blocks.push(events);
            let last = blocks.last().cloned().unwrap_or_default();
            advance(&index, blocks.len() as u64, &last);
        }
        prop_assert_eq!(answers(&index), answers(&index_of(&blocks)));
    }
}
