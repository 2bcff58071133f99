use proptest::prelude::*;

use super::*;
use crate::{
    index::row::write_route,
    test_data::{key, route},
};

fn wallet(number: u8) -> WalletAddress {
    WalletAddress::from_bytes([number; 20])
}

fn id(number: u8) -> KeyId {
    KeyId::from_bytes([number; 8])
}

fn record(number: u8, key_ids: &[u8], expiry_s: u64) -> RouteRecord {
    RouteRecord {
        wallet: wallet(number),
        key_ids: key_ids.iter().map(|it| id(*it)).collect(),
        mailboxes: vec![wallet(200 + number % 50)],
        ..route(&key(1), 1, expiry_s)
    }
}

fn put(table: &mut RouteTable, record: &RouteRecord, age: u64) {
    table.put(record.wallet, &write_route(record, None, age));
}

fn claimants(table: &RouteTable, number: u8, now_s: u64) -> Vec<WalletAddress> {
    let claims = table.claims(&id(number), now_s);
    claims.iter().map(|claim| claim.wallet).collect()
}

#[test]
fn table_finds_a_route_by_wallet_and_by_each_key_id() {
    let mut table = RouteTable::default();
    let record = record(1, &[10, 11], 100);
    put(&mut table, &record, 1);
    assert_eq!(table.route(&wallet(1)), Some(record.clone()));
    assert_eq!(table.route(&wallet(2)), None);
    for number in [10, 11] {
        let claims = table.claims(&id(number), 99);
        assert_eq!(claims.len(), 1);
        assert_eq!(claims[0].wallet, wallet(1));
        assert_eq!(claims[0].mailboxes[..], record.mailboxes[..]);
    }
    assert!(table.claims(&id(12), 99).is_empty());
}

#[test]
fn table_gives_no_claim_of_an_expired_route() {
    let mut table = RouteTable::default();
    put(&mut table, &record(1, &[10], 100), 1);
    assert_eq!(claimants(&table, 10, 99), [wallet(1)]);
    assert!(claimants(&table, 10, 100).is_empty());
}

#[test]
fn table_gives_at_most_four_conflicting_claims_oldest_first() {
    let mut table = RouteTable::default();
    for (number, age) in [(1, 50), (2, 40), (3, 30), (4, 20), (5, 10), (6, 60)] {
        put(&mut table, &record(number, &[10], 100), age);
    }
    let oldest = [wallet(5), wallet(4), wallet(3), wallet(2)];
    assert_eq!(claimants(&table, 10, 0), oldest);

    table.remove(wallet(4));
    let oldest = [wallet(5), wallet(3), wallet(2), wallet(1)];
    assert_eq!(claimants(&table, 10, 0), oldest);

    for number in [5, 3, 2, 1] {
        table.remove(wallet(number));
    }
    assert_eq!(claimants(&table, 10, 0), [wallet(6)]);
    table.remove(wallet(6));
    assert!(claimants(&table, 10, 0).is_empty());
}

#[test]
fn table_skips_expired_claims_of_a_contested_key_id() {
    let mut table = RouteTable::default();
    for number in 1..=10 {
        put(
            &mut table,
            &record(number, &[10], u64::from(number) * 10),
            u64::from(number),
        );
    }
    let live = [wallet(6), wallet(7), wallet(8), wallet(9)];
    assert_eq!(claimants(&table, 10, 50), live);
}

#[test]
fn table_route_naming_a_key_id_twice_claims_it_once() {
    let mut table = RouteTable::default();
    put(&mut table, &record(1, &[10, 10], 100), 1);
    assert_eq!(claimants(&table, 10, 0), [wallet(1)]);
    put(&mut table, &record(2, &[10], 100), 2);
    assert_eq!(claimants(&table, 10, 0), [wallet(1), wallet(2)]);
    table.remove(wallet(1));
    assert_eq!(claimants(&table, 10, 0), [wallet(2)]);
}

#[test]
fn table_refuses_a_row_that_is_malformed_or_too_long() {
    let mut table = RouteTable::default();
    table.put(wallet(1), &[1, 2, 3]);
    let mut long = write_route(&record(1, &[10], 100), None, 1);
    long.extend([0; 1_000]);
    table.put(wallet(1), &long);
    assert_eq!(table.len(), 0);
    assert!(claimants(&table, 10, 0).is_empty());
}

proptest! {
    /// Against a model that is a plain list.
    #[test]
    fn table_after_any_changes_equals_a_plain_list(
        changes in prop::collection::vec((1_u8..12, prop::collection::vec(1_u8..8, 0..8), 0_u64..4, any::<bool>()), 1..80),
    ) {
        let mut table = RouteTable::default();
        let mut model: Vec<(RouteRecord, u64)> = Vec::new();
        for (age, (number, key_ids, expiry_s, removes)) in changes.into_iter().enumerate() {
            let age = age as u64 / 3;
            model.retain(|(route, _)| route.wallet != wallet(number));
            if removes || key_ids.is_empty() {
                table.remove(wallet(number));
            } else {
                let record = record(number, &key_ids, expiry_s);
                put(&mut table, &record, age);
                model.push((record, age));
            }
        }
        prop_assert_eq!(table.len(), model.len());
        for number in 1..12 {
            let expected = model.iter().find(|(route, _)| route.wallet == wallet(number));
            prop_assert_eq!(table.route(&wallet(number)), expected.map(|(route, _)| route.clone()));
        }
        for number in 0..8 {
            let mut expected: Vec<_> = model
                .iter()
                .filter(|(route, _)| route.key_ids.contains(&id(number)) && route.is_live(1))
                .map(|(route, age)| (*age, route.wallet))
                .collect();
            expected.sort();
            expected.truncate(MAX_CLAIMS);
            let expected: Vec<_> = expected.into_iter().map(|(_, wallet)| wallet).collect();
            prop_assert_eq!(claimants(&table, number, 1), expected);
        }
    }
}
