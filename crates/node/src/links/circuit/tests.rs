//! Two circuits joined, whose askers are here.

use protocol::link::INITIAL_CREDIT_BYTES;
use streams::CircuitEvent;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::mpsc::error::TryRecvError;

use super::*;

const FIRST: usize = INITIAL_CREDIT_BYTES as usize;

struct Asking {
    circuit: Arc<Circuit>,
    hears: UnboundedReceiver<CircuitEvent>,
}

impl Asking {
    fn new() -> Self {
        let (to, hears) = mpsc::unbounded_channel();
        let circuit = Circuit::from_asker(Side::Here(to));
        Self { circuit, hears }
    }

    fn says(&self, bytes: &[u8]) {
        self.circuit.data(Whose::Asker, bytes);
    }

    fn grants(&self, bytes: u32) {
        self.circuit.grant(Whose::Asker, bytes);
    }

    fn hears(&mut self, bytes: &[u8]) {
        match self.hears.try_recv() {
            Ok(CircuitEvent::Frame(frame)) => assert!(frame == bytes, "another frame"),
            other => panic!("{other:?}"),
        }
    }

    fn is_granted(&mut self, bytes: u32) {
        match self.hears.try_recv() {
            Ok(CircuitEvent::Credit(granted)) => assert_eq!(granted, bytes),
            other => panic!("{other:?}"),
        }
    }

    fn hears_nothing(&mut self) {
        assert!(matches!(self.hears.try_recv(), Err(TryRecvError::Empty)));
    }

    fn is_over(&mut self) {
        let over = Err(TryRecvError::Disconnected);
        assert_eq!(self.hears.try_recv().map(|_| ()), over);
    }
}

fn join(caller: &Asking, publisher: &Asking) -> Result<(), NotJoined> {
    Circuit::join(&caller.circuit, &publisher.circuit, &Pairing::of_nobody())
}

fn joined() -> (Asking, Asking) {
    let (caller, publisher) = (Asking::new(), Asking::new());
    join(&caller, &publisher).unwrap();
    (caller, publisher)
}

#[test]
fn joined_circuits_carry_data_and_credit_both_ways() {
    let (mut caller, mut publisher) = joined();
    for _ in 0..2 {
        caller.says(&[1; 100]);
        publisher.hears(&[1; 100]);
        publisher.says(&[2; 200]);
        caller.hears(&[2; 200]);
        publisher.grants(300);
        caller.is_granted(300);
        caller.grants(400);
        publisher.is_granted(400);
    }
    caller.hears_nothing();
    publisher.hears_nothing();
}

#[test]
fn what_came_before_the_join_comes_first_and_in_order() {
    let (mut caller, mut publisher) = (Asking::new(), Asking::new());
    for byte in 0..3 {
        caller.says(&[byte; 60]);
        publisher.says(&[byte + 10; 60]);
    }
    caller.grants(1_000);
    caller.grants(100);
    publisher.grants(50);
    join(&caller, &publisher).unwrap();
    caller.says(&[3; 60]);
    publisher.says(&[13; 60]);
    for byte in 0..3 {
        publisher.hears(&[byte; 60]);
        caller.hears(&[byte + 10; 60]);
    }
    publisher.is_granted(1_100);
    caller.is_granted(50);
    publisher.hears(&[3; 60]);
    caller.hears(&[13; 60]);
}

#[test]
fn asker_sends_what_the_other_one_granted_and_is_cut_off_beyond_that() {
    let (mut caller, mut publisher) = joined();
    publisher.grants(1_000);
    caller.is_granted(1_000);
    for _ in 0..FIRST / 1_000 + 2 {
        caller.says(&[7; 1_000]);
        publisher.hears(&[7; 1_000]);
    }
    // The last went below, so the next is more than was granted.
    caller.says(&[7; 1_000]);
    caller.is_over();
    publisher.is_over();
}

#[test]
fn data_beyond_the_first_credit_end_a_circuit_that_waits() {
    let mut caller = Asking::new();
    let over = caller.circuit.seek().unwrap();
    for _ in 0..=FIRST / 1_024 {
        assert!(!over.is_cancelled());
        caller.says(&[7; 1_024]);
    }
    assert!(over.is_cancelled());
    caller.is_over();
    assert!(caller.circuit.seek().is_none());
}

#[test]
fn end_of_one_joined_circuit_ends_the_other_and_both_are_dropped() {
    for caller_ends in [true, false] {
        let (caller, publisher) = joined();
        let (gone, mut left) = if caller_ends {
            (caller, publisher)
        } else {
            (publisher, caller)
        };
        gone.circuit.close(Whose::Asker, None);
        left.is_over();
        let circuits = [gone, left].map(|it| Arc::downgrade(&it.circuit));
        assert!(circuits.iter().all(|circuit| circuit.strong_count() == 0));
    }
}

#[test]
fn joined_circuits_cut_off_by_the_node_are_dropped() {
    let (caller, publisher) = joined();
    publisher.says(&[7; MIN_DATA_BYTES - 1]);
    let circuits = [caller, publisher].map(|it| Arc::downgrade(&it.circuit));
    assert!(circuits.iter().all(|circuit| circuit.strong_count() == 0));
}

#[test]
fn circuit_that_is_over_or_joined_is_joined_no_more() {
    let (caller, publisher) = joined();
    let third = Asking::new();
    assert!(join(&caller, &third).is_err());
    assert!(join(&third, &publisher).is_err());
    for over in [true, false] {
        let (one, other) = (Asking::new(), Asking::new());
        let gone = if over { &one } else { &other };
        gone.circuit.close(Whose::Asker, None);
        assert!(join(&one, &other).is_err());
    }
    third.circuit.close(Whose::Asker, None);
}

/// A lock that one thread holds for the other's circuit while that one does the same would stop both for ever.
#[test]
fn joined_circuits_used_and_ended_from_two_threads_stop_nobody() {
    for _ in 0..200 {
        let (caller, publisher) = (Asking::new(), Asking::new());
        let circuits = [&caller, &publisher].map(|it| Arc::clone(&it.circuit));
        std::thread::scope(|scope| {
            for circuit in &circuits {
                scope.spawn(move || {
                    for _ in 0..100 {
                        circuit.data(Whose::Asker, &[7; 600]);
                        circuit.grant(Whose::Asker, 600);
                    }
                    circuit.close(Whose::Asker, None);
                });
            }
            let _one_may_be_over = join(&caller, &publisher);
        });
        let circuits = circuits.map(|it| Arc::downgrade(&it));
        drop((caller, publisher));
        assert!(circuits.iter().all(|circuit| circuit.strong_count() == 0));
    }
}
