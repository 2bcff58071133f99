//! Mailboxes that are drawn at random rather than named.

use protocol::NodeId;

use super::{READY_PATIENCE, Upkeep, UpkeepError};

/// Mailboxes at random that give way to others before a route is given up.
const MAX_REPLACEMENTS: usize = 4;

impl Upkeep {
    /// Gives the wallet the mailboxes in `named`, then others at random up to `count`. One at random that
    /// does not open an account gives way to another.
    pub(crate) async fn fill_mailboxes(
        &self,
        named: Vec<NodeId>,
        count: usize,
        listed: bool,
    ) -> Result<(), UpkeepError> {
        let ready = self.carrier.ready(READY_PATIENCE).await;
        ready.map_err(UpkeepError::Network)?;
        let before = self.account.identity()?;
        let used = |node: &NodeId| {
            let retiring = before.standing.retiring.iter();
            before.binding.mailboxes.contains(node) || retiring.map(|r| &r.node).any(|n| n == node)
        };
        let mut candidates = self.carrier.nodes();
        candidates.retain(|node| !named.contains(node));
        let known = candidates.len() + named.len();
        let mut candidates = candidates.into_iter();
        let mut mailboxes = named.clone();
        mailboxes.extend(candidates.by_ref().take(count.saturating_sub(named.len())));
        if mailboxes.len() < count {
            return Err(UpkeepError::TooFewNodes {
                known,
                wanted: count,
            });
        }
        let mut unused = Vec::new();
        for _ in 0..MAX_REPLACEMENTS {
            let set = self.replace_mailboxes(mailboxes.clone(), listed, &unused);
            let (failed, cause) = match set.await {
                Err(UpkeepError::Mailbox { mailbox, cause }) if !named.contains(&mailbox) => {
                    (mailbox, cause)
                }
                other => return other,
            };
            let place = mailboxes.iter_mut().find(|node| **node == failed);
            let (Some(place), Some(next)) = (place, candidates.next()) else {
                let mailbox = failed;
                return Err(UpkeepError::Mailbox { mailbox, cause });
            };
            tracing::info!(target: "client::upkeep", "a mailbox at random does not open, trying another");
            *place = next;
            if !used(&failed) {
                unused.push(failed);
            }
        }
        self.replace_mailboxes(mailboxes, listed, &unused).await
    }
}
