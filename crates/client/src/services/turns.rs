//! Whose turn it is among the mailboxes of a service, and what they said: no clock, no network.

use protocol::NodeId;
use protocol::answer::Refusal;
use wallet::MAX_MAILBOXES;

use super::call::ServiceError;

/// Paths tried to one mailbox, none of which leads there, before the next mailbox is.
pub(super) const PATHS_EACH: usize = 4;

/// The mailboxes of a service, in turn.
#[derive(Debug, Default)]
pub(super) struct Turns {
    mailboxes: Vec<NodeId>,
    at: usize,
    /// Paths that did not lead to the one whose turn it is.
    failed: usize,
    /// Mailboxes that have said that nobody joins, and why.
    nobody: Vec<(NodeId, Refusal)>,
}

impl Turns {
    /// Begins with the first of them.
    pub(super) fn new(mailboxes: &[NodeId]) -> Self {
        Self {
            mailboxes: mailboxes.iter().take(MAX_MAILBOXES).copied().collect(),
            ..Self::default()
        }
    }

    /// The mailbox whose turn it is.
    pub(super) fn mailbox(&self) -> Option<NodeId> {
        let place = self.at.checked_rem(self.mailboxes.len())?;
        self.mailboxes.get(place).copied()
    }

    pub(super) fn next(&mut self) {
        self.at = self.at.wrapping_add(1);
        self.failed = 0;
    }

    /// A path did not lead there; says whether it is the next one's turn.
    pub(super) fn path_failed(&mut self) -> bool {
        self.failed += 1;
        let is_enough = self.failed >= PATHS_EACH;
        if is_enough {
            self.next();
        }
        is_enough
    }

    /// A mailbox says that nobody joins there. Gives the reason to tell once all of them have said so.
    pub(super) fn nobody_at(&mut self, mailbox: NodeId, refusal: Refusal) -> Option<ServiceError> {
        self.nobody.retain(|(node, _)| *node != mailbox);
        self.nobody.push((mailbox, refusal));
        self.next();
        let has_said = |node: &NodeId| self.nobody.iter().any(|(who, _)| who == node);
        let all = self.mailboxes.iter().all(has_said);
        all.then(|| self.reason())
    }

    /// The circuit led to somebody: what was said before counts no longer.
    pub(super) fn worked(&mut self) {
        self.nobody.clear();
        self.failed = 0;
    }

    /// The most telling of what mailboxes said.
    fn reason(&self) -> ServiceError {
        let is_nobody =
            |refusal: &Refusal| matches!(refusal, Refusal::NotFound | Refusal::UnknownKey);
        let no_answer = |(_, refusal): &(NodeId, Refusal)| *refusal == Refusal::Unreachable;
        let other = (self.nobody.iter())
            .find(|said| !is_nobody(&said.1) && !no_answer(said))
            .map(|(_, refusal)| refusal.clone());
        match other {
            Some(refusal) => ServiceError::Refused(refusal.into()),
            None if self.nobody.iter().any(no_answer) => ServiceError::NoAnswer,
            None => ServiceError::NotServed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes<const N: usize>() -> [NodeId; N] {
        std::array::from_fn(|n| NodeId::from_bytes([n as u8 + 1; 20]))
    }

    #[test]
    fn service_is_not_served_once_each_of_its_mailboxes_has_said_so() {
        let [a, b] = nodes();
        let mut turns = Turns::new(&[a, b]);
        assert_eq!(turns.mailbox(), Some(a));
        assert!(turns.nobody_at(a, Refusal::NotFound).is_none());
        assert_eq!(turns.mailbox(), Some(b));
        let all = turns.nobody_at(b, Refusal::NotFound);
        assert!(matches!(all, Some(ServiceError::NotServed)));
        assert_eq!(
            turns.mailbox(),
            Some(a),
            "it goes on for streams that are resumed"
        );
    }

    #[test]
    fn most_telling_refusal_is_told() {
        let [a, b] = nodes();
        let mut turns = Turns::new(&[a, b]);
        turns.nobody_at(a, Refusal::Unreachable);
        let all = turns.nobody_at(b, Refusal::NotFound);
        assert!(matches!(all, Some(ServiceError::NoAnswer)));
        let all = turns.nobody_at(a, Refusal::TooLarge);
        assert!(
            matches!(all, Some(ServiceError::Refused(refusal)) if *refusal == Refusal::TooLarge)
        );
    }

    #[test]
    fn mailbox_that_no_path_leads_to_gives_way_to_the_next() {
        let [a, b] = nodes();
        let mut turns = Turns::new(&[a, b]);
        for _ in 1..PATHS_EACH {
            assert!(!turns.path_failed());
            assert_eq!(turns.mailbox(), Some(a));
        }
        assert!(turns.path_failed());
        assert_eq!(turns.mailbox(), Some(b));
        // A path that failed says nothing of publishers.
        assert!(turns.nobody_at(b, Refusal::NotFound).is_none());
    }

    #[test]
    fn word_from_before_a_circuit_that_worked_counts_no_longer() {
        let [a, b] = nodes();
        let mut turns = Turns::new(&[a, b]);
        turns.nobody_at(a, Refusal::NotFound);
        turns.worked();
        assert!(turns.nobody_at(b, Refusal::NotFound).is_none());
    }

    #[test]
    fn wallet_without_mailboxes_has_no_turn() {
        assert_eq!(Turns::new(&[]).mailbox(), None);
        let [a, b, c, d] = nodes();
        let mut turns = Turns::new(&[a, b, c, d]);
        for _ in 0..3 {
            turns.next();
        }
        assert_eq!(turns.mailbox(), Some(a), "there are three at most");
    }
}
