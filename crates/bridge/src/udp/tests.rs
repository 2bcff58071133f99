//! Who is remembered as a peer, and for how long.

use core::net::SocketAddr;
use core::time::Duration;

use protocol::target::Target;
use tokio::time::Instant;

use super::{MAX_PEERS, PEER_IDLE, Peers};

fn peer(number: usize) -> (Target, SocketAddr) {
    let text = format!("8.8.{}.{}:53", number / 256, number % 256);
    (text.parse().unwrap(), text.parse().unwrap())
}

#[test]
fn peer_that_was_unused_for_longest_makes_room() {
    let start = Instant::now();
    let mut peers = Peers::default();
    for number in 0..MAX_PEERS {
        let (target, address) = peer(number);
        let at = start + Duration::from_millis(number as u64);
        assert_eq!(peers.remember(target, address, at), address);
    }
    let later = start + Duration::from_secs(1);
    // The first is used again, so that the second is the oldest.
    assert_eq!(peers.use_known(&peer(0).0, later), Some(peer(0).1));
    let (target, address) = peer(MAX_PEERS);
    peers.remember(target, address, later);
    assert_eq!(peers.by_target.len(), MAX_PEERS);
    assert!(peers.has(peer(0).1, later));
    assert!(!peers.has(peer(1).1, later));
    assert!(peers.has(peer(2).1, later));
    assert!(peers.has(address, later));
}

#[test]
fn peer_that_was_not_sent_to_for_long_may_not_answer() {
    let start = Instant::now();
    let mut peers = Peers::default();
    let (target, address) = peer(1);
    peers.remember(target.clone(), address, start);
    assert!(peers.has(address, start + PEER_IDLE - Duration::from_millis(1)));
    assert!(!peers.has(address, start + PEER_IDLE));
    assert_eq!(peers.use_known(&target, start + PEER_IDLE), None);
}

#[test]
fn answer_from_another_port_is_from_nobody() {
    let start = Instant::now();
    let mut peers = Peers::default();
    let (target, address) = peer(1);
    peers.remember(target, address, start);
    assert!(!peers.has(SocketAddr::new(address.ip(), 54), start));
}

#[test]
fn name_stays_with_the_address_that_was_found_first() {
    let start = Instant::now();
    let mut peers = Peers::default();
    let name: Target = "dns.example:53".parse().unwrap();
    let (first, second) = (peer(1).1, peer(2).1);
    assert_eq!(peers.remember(name.clone(), first, start), first);
    assert_eq!(peers.remember(name, second, start), first);
    assert!(!peers.has(second, start));
}
