//! Mailboxes that are drawn at random rather than named.

use std::time::Duration;

use protocol::NodeId;
use tokio::time::Instant;

use super::{READY_PATIENCE, Upkeep, UpkeepError};
use crate::carrier::RequestError;

/// Mailboxes at random that give way to others before a route is given up.
const MAX_REPLACEMENTS: usize = 4;
/// How long a named mailbox is tried that is out of reach.
const NAMED_PATIENCE: Duration = Duration::from_secs(15);
/// Wait between two such tries.
const NAMED_PAUSE: Duration = Duration::from_millis(500);

impl Upkeep {
    /// Gives the wallet the mailboxes in `named`, then others at random up to `count`. One at random that
    /// does not open an account gives way to another; a named one that is out of reach is tried for a while.
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
        let mut replacements = 0;
        let until = Instant::now() + NAMED_PATIENCE;
        while replacements < MAX_REPLACEMENTS {
            let set = self.replace_mailboxes(mailboxes.clone(), listed, &unused);
            let (failed, cause) = match set.await {
                Err(UpkeepError::Mailbox { mailbox, cause }) if !named.contains(&mailbox) => {
                    (mailbox, cause)
                }
                // A node that has just joined is not in reach of all others at once.
                Err(UpkeepError::Mailbox {
                    cause: RequestError::Unreachable(_),
                    ..
                }) if Instant::now() < until => {
                    tokio::time::sleep(NAMED_PAUSE).await;
                    continue;
                }
                other => return other,
            };
            replacements += 1;
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
