use super::*;

const WALLET: WalletAddress = WalletAddress::from_bytes([1; 20]);
const SHOP: ServiceTag = ServiceTag::from_bytes([1; 16]);
const BLOG: ServiceTag = ServiceTag::from_bytes([2; 16]);

/// A board on a clock of its own; what a publisher is to the node is its letter, a meeting its number.
struct Desk {
    board: Board<char, u32>,
    now: Instant,
    tokens: u64,
}

impl Desk {
    fn new() -> Self {
        Self {
            board: Board::default(),
            now: Instant::now(),
            tokens: 0,
        }
    }

    fn with(letters: &str) -> (Self, Vec<PublisherId>) {
        let mut desk = Self::new();
        let ids = letters.chars().map(|it| desk.serves(it, SHOP)).collect();
        (desk, ids)
    }

    fn serves(&mut self, letter: char, tag: ServiceTag) -> PublisherId {
        self.board.serve(WALLET, vec![tag], letter).unwrap()
    }

    fn begin(&mut self, everyone: bool) -> MeetingId {
        let begun = self.board.begin(WALLET, SHOP, everyone, self.now, 7);
        begun.unwrap()
    }

    fn next(&mut self, meeting: MeetingId) -> Step<char> {
        let tokens = &mut self.tokens;
        self.board.next(meeting, self.now, || {
            *tokens += 1;
            token(*tokens)
        })
    }

    /// Who is asked now, and by which tokens.
    fn asked(&mut self, meeting: MeetingId) -> (String, Vec<MeetingToken>) {
        match self.next(meeting) {
            Step::Ask(asks) => {
                let letters = asks.iter().map(|(_, _, it)| *it).collect();
                (letters, asks.into_iter().map(|(_, it, _)| it).collect())
            }
            other => panic!("{other:?}"),
        }
    }

    fn asks(&mut self, meeting: MeetingId, letters: &str) -> MeetingToken {
        let (asked, tokens) = self.asked(meeting);
        assert_eq!(asked, letters);
        tokens[0]
    }

    fn waits(&mut self, meeting: MeetingId, until: Duration) {
        let until = self.now + until;
        assert_eq!(self.next(meeting), Step::Wait(until));
    }

    /// A circuit that the best publisher joins, whoever that is.
    fn meets(&mut self) -> (char, PublisherId) {
        let meeting = self.begin(false);
        let (letters, tokens) = self.asked(meeting);
        let met = self.board.join(&tokens[0]).unwrap();
        assert_eq!(self.next(meeting), Step::Over);
        (letters.chars().next().unwrap(), met.publisher)
    }

    fn is_empty(&self) -> bool {
        let board = &self.board;
        board.meetings.is_empty()
            && board.tokens.is_empty()
            && board.accounts.values().all(|account| account.waiting == 0)
    }
}

fn token(number: u64) -> MeetingToken {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    MeetingToken::from_bytes(bytes)
}

#[test]
fn offer_goes_to_the_next_publisher_after_three_seconds_and_to_three_at_most() {
    let (mut desk, _) = Desk::with("abcd");
    let meeting = desk.begin(false);
    for letter in ["a", "b", "c"] {
        desk.asks(meeting, letter);
        desk.waits(meeting, TRY_FOR);
        desk.now += TRY_FOR - Duration::from_millis(1);
        desk.waits(meeting, Duration::from_millis(1));
        desk.now += Duration::from_millis(1);
    }
    // The last of them may still come, for as long as a circuit waits.
    desk.waits(meeting, PATIENCE - 3 * TRY_FOR);
    desk.now += PATIENCE - 3 * TRY_FOR;
    assert_eq!(desk.next(meeting), Step::GiveUp);
    assert_eq!(desk.next(meeting), Step::Over);
    assert!(desk.is_empty());
}

#[test]
fn publisher_that_goes_is_followed_by_the_next_at_once_and_by_refusal_when_nobody_is_left() {
    let (mut desk, ids) = Desk::with("ab");
    let meeting = desk.begin(false);
    desk.asks(meeting, "a");
    assert_eq!(desk.board.leave(ids[0]), [7]);
    desk.asks(meeting, "b");
    assert_eq!(desk.board.leave(ids[1]), [7]);
    assert_eq!(desk.next(meeting), Step::GiveUp);
    assert!(desk.is_empty() && desk.board.accounts.is_empty());
    let unserved = desk.board.begin(WALLET, SHOP, false, desk.now, 7);
    assert_eq!(unserved, Err(NotTaken::Unserved));
}

#[test]
fn publisher_without_room_is_passed_over_at_once_and_is_no_try() {
    let (mut desk, _) = Desk::with("abcdef");
    let meeting = desk.begin(false);
    for letter in ["a", "b", "c", "d", "e", "f"] {
        let token = desk.asks(meeting, letter);
        desk.board.pass_over(&token);
        assert_eq!(desk.board.join(&token), None);
    }
    assert_eq!(desk.next(meeting), Step::GiveUp);
    assert!(desk.is_empty());
}

#[test]
fn late_publisher_joins_though_another_was_asked_and_nobody_joins_after_it() {
    let (mut desk, ids) = Desk::with("ab");
    let meeting = desk.begin(false);
    let first = desk.asks(meeting, "a");
    desk.now += TRY_FOR;
    let second = desk.asks(meeting, "b");
    let met = Met {
        publisher: ids[0],
        it: 7,
    };
    assert_eq!(desk.board.join(&first), Some(met));
    for token in [first, second, token(99)] {
        assert_eq!(desk.board.join(&token), None);
    }
    assert_eq!(desk.next(meeting), Step::Over);
    assert!(desk.is_empty());
}

#[test]
fn circuits_are_balanced_by_those_that_are_joined_then_by_who_was_asked_longest_ago() {
    let (mut desk, _) = Desk::with("abc");
    let met: Vec<_> = (0..6).map(|_| desk.meets()).collect();
    let letters: String = met.iter().map(|(letter, _)| *letter).collect();
    assert_eq!(letters, "abcabc");
    // Two of c's are over.
    for (_, publisher) in [met[2], met[5]] {
        desk.board.part(publisher);
    }
    let letters: String = (0..3).map(|_| desk.meets().0).collect();
    assert_eq!(letters, "cca");
}

#[test]
fn publisher_of_another_service_or_account_is_not_asked() {
    let mut desk = Desk::new();
    desk.serves('b', BLOG);
    let stranger = WalletAddress::from_bytes([2; 20]);
    desk.board.serve(stranger, vec![SHOP], 's').unwrap();
    assert!(!desk.board.is_served(&WALLET, &SHOP));
    let unserved = desk.board.begin(WALLET, SHOP, false, desk.now, 7);
    assert_eq!(unserved, Err(NotTaken::Unserved));
    desk.serves('a', SHOP);
    for everyone in [false, true] {
        let meeting = desk.begin(everyone);
        desk.asks(meeting, "a");
        desk.now += TRY_FOR;
        desk.waits(meeting, PATIENCE - TRY_FOR);
    }
}

#[test]
fn offer_for_everyone_goes_to_all_at_once_and_waits_for_any_of_them() {
    let (mut desk, ids) = Desk::with("abcde");
    let meeting = desk.begin(true);
    let (letters, tokens) = desk.asked(meeting);
    assert_eq!(letters, "abcde");
    desk.waits(meeting, PATIENCE);
    desk.now += 2 * TRY_FOR;
    desk.board.leave(ids[0]);
    desk.waits(meeting, PATIENCE - 2 * TRY_FOR);
    assert!(desk.board.join(&tokens[4]).is_some());
    assert_eq!(desk.board.join(&tokens[3]), None);
    // Those who did not know the stream are not thought less of.
    desk.now += TRY_FOR;
    assert_eq!(desk.meets().0, 'b');

    let meeting = desk.begin(true);
    desk.asked(meeting);
    for id in ids {
        desk.board.leave(id);
    }
    assert_eq!(desk.next(meeting), Step::GiveUp);
}

#[test]
fn publisher_that_let_offers_pass_is_asked_last_for_a_minute_or_until_it_joins() {
    let (mut desk, _) = Desk::with("ab");
    let silent = desk.begin(false);
    let token = desk.asks(silent, "a");
    desk.now += TRY_FOR;
    for _ in 0..5 {
        assert_eq!(desk.meets().0, 'b');
    }
    desk.now += FORGIVEN_AFTER - TRY_FOR;
    assert_eq!(desk.next(silent), Step::GiveUp);
    assert_eq!(desk.board.join(&token), None);
    let again = desk.begin(false);
    let slow = desk.asks(again, "a");
    desk.now += TRY_FOR;
    assert_eq!(desk.meets().0, 'b');
    // It was just slow.
    assert!(desk.board.join(&slow).is_some());
    assert_eq!(desk.meets().0, 'a');
}

#[test]
fn caller_that_goes_early_leaves_no_mark_on_the_publisher() {
    let (mut desk, _) = Desk::with("ab");
    for _ in 0..2 {
        assert!(desk.meets().0 != '-');
    }
    let meeting = desk.begin(false);
    let token = desk.asks(meeting, "a");
    desk.now += TRY_FOR / 2;
    desk.board.withdraw(meeting, desk.now);
    assert_eq!(desk.board.join(&token), None);
    assert!(desk.is_empty());
    desk.now += TRY_FOR;
    assert_eq!(desk.meets().0, 'b');
    assert_eq!(desk.meets().0, 'a', "it is shunned");
}

#[test]
fn circuits_that_wait_are_bounded_by_account_and_by_node_and_places_come_free() {
    let (mut desk, _) = Desk::with("a");
    let mut waiting: Vec<_> = (0..MAX_WAITING_OF_ONE).map(|_| desk.begin(false)).collect();
    let full = desk.board.begin(WALLET, SHOP, false, desk.now, 7);
    assert_eq!(full, Err(NotTaken::Full));
    desk.board.withdraw(waiting.pop().unwrap(), desk.now);
    desk.begin(false);
    for number in 2_u8.. {
        let wallet = WalletAddress::from_bytes([number; 20]);
        desk.board.serve(wallet, vec![SHOP], 'x').unwrap();
        let begun =
            (0..MAX_WAITING_OF_ONE).map(|_| desk.board.begin(wallet, SHOP, true, desk.now, 7));
        if begun.last().unwrap() == Err(NotTaken::Full) {
            break;
        }
    }
    assert_eq!(desk.board.meetings.len(), MAX_WAITING);
}

#[test]
fn account_has_so_many_publishers_and_no_more() {
    let (mut desk, ids) = Desk::with(&"a".repeat(MAX_PUBLISHERS_OF_ONE));
    let full = desk.board.serve(WALLET, vec![SHOP], 'a');
    assert_eq!(full, Err(NotTaken::Full));
    assert_eq!(
        desk.board.publishers_of(&WALLET).len(),
        MAX_PUBLISHERS_OF_ONE
    );
    desk.board.leave(ids[9]);
    desk.serves('a', SHOP);
}
