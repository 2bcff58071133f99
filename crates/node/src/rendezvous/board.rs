//! Who serves what and who waits for it: which publisher gets an offer, which one after it, and when nobody is left.
//!
//! Pure: time and randomness are arguments, and what a publisher or a meeting is to the node, it never looks at.

use std::collections::HashMap;
use std::time::Duration;

use protocol::rendezvous::{MeetingToken, ServiceTag};
use thiserror::Error;
use tokio::time::Instant;
use wallet::WalletAddress;

use crate::config::MAX_STREAMS;

/// Publishers of one account.
const MAX_PUBLISHERS_OF_ONE: usize = 64;
/// Circuits that wait at one account.
const MAX_WAITING_OF_ONE: usize = 256;
/// Circuits that wait at the node: with their offers and first bytes 200 MiB at most.
const MAX_WAITING: usize = 2_048;
/// How long a circuit waits.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a publisher may take before the next one is asked.
const TRY_FOR: Duration = Duration::from_secs(3);
/// Publishers that get one offer.
const MAX_TRIES: usize = 3;
/// A publisher that did not join in time is asked after all others for so long: it may be gone without a word.
const FORGIVEN_AFTER: Duration = Duration::from_secs(60);

/// A publisher, as long as the node runs.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct PublisherId(u64);

/// A circuit that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct MeetingId(u64);

/// Why a publisher or a circuit was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum NotTaken {
    #[error("there are too many")]
    Full,
    #[error("nobody serves that")]
    Unserved,
}

/// All publishers `P` and waiting circuits `M` of a node.
#[derive(Debug)]
pub(super) struct Board<P, M> {
    accounts: HashMap<WalletAddress, Account>,
    publishers: HashMap<PublisherId, Publisher<P>>,
    meetings: HashMap<MeetingId, Meeting<M>>,
    tokens: HashMap<MeetingToken, (MeetingId, PublisherId)>,
    /// The last number that was given: publishers, meetings and askings are counted in one row.
    last: u64,
}

#[derive(Debug, Default)]
struct Account {
    publishers: Vec<PublisherId>,
    waiting: usize,
}

#[derive(Debug)]
struct Publisher<P> {
    wallet: WalletAddress,
    tags: Vec<ServiceTag>,
    /// Its circuits that are joined.
    joined: usize,
    /// When it was asked last, as a number.
    asked: u64,
    /// Since when it has got offers and joined none.
    silent_since: Option<Instant>,
    it: P,
}

#[derive(Debug)]
struct Meeting<M> {
    wallet: WalletAddress,
    tag: ServiceTag,
    everyone: bool,
    until: Instant,
    /// Those who have got the offer, or had no room for it.
    asked: Vec<Asked>,
    tries: usize,
    it: M,
}

#[derive(Debug)]
struct Asked {
    publisher: PublisherId,
    token: MeetingToken,
    /// When the next one is asked; none if this one could not be.
    until: Option<Instant>,
}

/// What is to be done for a waiting circuit.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step<P> {
    /// Hand the offer to these, each with its own token.
    Ask(Vec<(PublisherId, MeetingToken, P)>),
    /// Nothing, until then or until something changes.
    Wait(Instant),
    /// Refuse it: those who serve did not join.
    GiveUp,
    /// It waits no more.
    Over,
}

/// A meeting that has come about.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Met<M> {
    pub(super) publisher: PublisherId,
    pub(super) it: M,
}

impl<P> Publisher<P> {
    fn is_shunned(&self, now: Instant) -> bool {
        let shunned = |since: Instant| (since + TRY_FOR..since + FORGIVEN_AFTER).contains(&now);
        self.silent_since.is_some_and(shunned)
    }
}

impl<P, M> Default for Board<P, M> {
    fn default() -> Self {
        Self {
            accounts: HashMap::new(),
            publishers: HashMap::new(),
            meetings: HashMap::new(),
            tokens: HashMap::new(),
            last: 0,
        }
    }
}

impl<P: Clone, M: Clone> Board<P, M> {
    fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// Says whether anybody serves that.
    pub(super) fn is_served(&self, wallet: &WalletAddress, tag: &ServiceTag) -> bool {
        self.servers(wallet, tag).next().is_some()
    }

    fn servers(
        &self,
        wallet: &WalletAddress,
        tag: &ServiceTag,
    ) -> impl Iterator<Item = (PublisherId, &Publisher<P>)> {
        let publishers = self.accounts.get(wallet).map(|a| a.publishers.as_slice());
        let known = publishers.unwrap_or_default().iter();
        known
            .filter_map(|id| Some((*id, self.publishers.get(id)?)))
            .filter(|(_, publisher)| publisher.tags.contains(tag))
    }

    /// A publisher has come.
    pub(super) fn serve(
        &mut self,
        wallet: WalletAddress,
        tags: Vec<ServiceTag>,
        it: P,
    ) -> Result<PublisherId, NotTaken> {
        let of_one = self.accounts.get(&wallet).map_or(0, |a| a.publishers.len());
        if of_one >= MAX_PUBLISHERS_OF_ONE || self.publishers.len() >= MAX_STREAMS {
            return Err(NotTaken::Full);
        }
        let id = PublisherId(self.number());
        let publisher = Publisher {
            wallet,
            tags,
            joined: 0,
            asked: 0,
            silent_since: None,
            it,
        };
        self.publishers.insert(id, publisher);
        let account = self.accounts.entry(wallet).or_default();
        account.publishers.push(id);
        Ok(id)
    }

    /// A publisher has gone; what waits for it is to be looked at now.
    pub(super) fn leave(&mut self, publisher: PublisherId) -> Vec<M> {
        let Some(gone) = self.publishers.remove(&publisher) else {
            return Vec::new();
        };
        if let Some(account) = self.accounts.get_mut(&gone.wallet) {
            account.publishers.retain(|id| *id != publisher);
        }
        self.forget_idle(&gone.wallet);
        let meetings = self.meetings.values();
        let waits = |meeting: &&Meeting<M>| meeting.asked.iter().any(|a| a.publisher == publisher);
        meetings.filter(waits).map(|m| m.it.clone()).collect()
    }

    /// The publishers of an account.
    pub(super) fn publishers_of(&self, wallet: &WalletAddress) -> Vec<P> {
        let ids = self.accounts.get(wallet).into_iter();
        let ids = ids.flat_map(|account| &account.publishers);
        ids.filter_map(|id| Some(self.publishers.get(id)?.it.clone()))
            .collect()
    }

    /// A circuit waits from now on.
    pub(super) fn begin(
        &mut self,
        wallet: WalletAddress,
        tag: ServiceTag,
        everyone: bool,
        now: Instant,
        it: M,
    ) -> Result<MeetingId, NotTaken> {
        if !self.is_served(&wallet, &tag) {
            return Err(NotTaken::Unserved);
        }
        if self.meetings.len() >= MAX_WAITING {
            return Err(NotTaken::Full);
        }
        let account = self.accounts.entry(wallet).or_default();
        if account.waiting >= MAX_WAITING_OF_ONE {
            return Err(NotTaken::Full);
        }
        account.waiting += 1;
        let meeting = MeetingId(self.number());
        let begun = Meeting {
            wallet,
            tag,
            everyone,
            until: now + PATIENCE,
            asked: Vec::new(),
            tries: 0,
            it,
        };
        self.meetings.insert(meeting, begun);
        Ok(meeting)
    }

    /// What is to be done for a waiting circuit now. Who is told to ask counts as asked.
    pub(super) fn next(
        &mut self,
        id: MeetingId,
        now: Instant,
        mut token: impl FnMut() -> MeetingToken,
    ) -> Step<P> {
        let Some(meeting) = self.meetings.get(&id) else {
            return Step::Over;
        };
        let is_there = |asked: &Asked| self.publishers.contains_key(&asked.publisher);
        let mut can_join = meeting.asked.iter();
        let can_join = can_join.any(|asked| asked.until.is_some() && is_there(asked));
        let latest = meeting.asked.last();
        let latest = latest.filter(|asked| is_there(asked)).and_then(|a| a.until);
        let (until, tries, everyone) = (meeting.until, meeting.tries, meeting.everyone);
        if now >= until {
            self.remove(id);
            return Step::GiveUp;
        }
        if !everyone && let Some(next) = latest.filter(|next| now < *next) {
            return Step::Wait(next.min(until));
        }
        let chosen = match (everyone, tries) {
            (true, 0) => self.unasked(meeting, now),
            (false, ..MAX_TRIES) => self.unasked(meeting, now).into_iter().take(1).collect(),
            _ => Vec::new(),
        };
        if chosen.is_empty() {
            // Who was asked may still join, though late.
            if can_join {
                return Step::Wait(until);
            }
            self.remove(id);
            return Step::GiveUp;
        }
        let asks = chosen
            .into_iter()
            .filter_map(|publisher| self.ask(id, publisher, now, token()));
        Step::Ask(asks.collect())
    }

    /// Those who could get the offer and have not, the best first.
    fn unasked(&self, meeting: &Meeting<M>, now: Instant) -> Vec<PublisherId> {
        let was_asked = |id: &PublisherId| meeting.asked.iter().any(|a| a.publisher == *id);
        let servers = self.servers(&meeting.wallet, &meeting.tag);
        let mut servers: Vec<_> = servers.filter(|(id, _)| !was_asked(id)).collect();
        servers.sort_by_key(|(id, publisher)| {
            (
                publisher.is_shunned(now),
                publisher.joined,
                publisher.asked,
                *id,
            )
        });
        servers.into_iter().map(|(id, _)| id).collect()
    }

    fn ask(
        &mut self,
        id: MeetingId,
        publisher: PublisherId,
        now: Instant,
        token: MeetingToken,
    ) -> Option<(PublisherId, MeetingToken, P)> {
        let number = self.number();
        let meeting = self.meetings.get_mut(&id)?;
        let asked = self.publishers.get_mut(&publisher)?;
        asked.asked = number;
        // Of an offer to everyone most can't know what it is about.
        if !meeting.everyone {
            let since = asked
                .silent_since
                .filter(|since| now < *since + FORGIVEN_AFTER);
            asked.silent_since = since.or(Some(now));
        }
        meeting.tries += 1;
        meeting.asked.push(Asked {
            publisher,
            token,
            until: Some(now + TRY_FOR),
        });
        self.tokens.insert(token, (id, publisher));
        Some((publisher, token, asked.it.clone()))
    }

    /// A publisher had no room for an offer.
    pub(super) fn pass_over(&mut self, token: &MeetingToken) {
        let Some((id, _)) = self.tokens.remove(token) else {
            return;
        };
        if let Some(meeting) = self.meetings.get_mut(&id) {
            meeting.tries -= 1;
            let mut asked = meeting.asked.iter_mut();
            if let Some(asked) = asked.find(|asked| asked.token == *token) {
                asked.until = None;
            }
        }
    }

    /// The publisher that got this token has come with a circuit: the meeting is over, and its circuit counts as joined.
    pub(super) fn join(&mut self, token: &MeetingToken) -> Option<Met<M>> {
        let (id, publisher) = *self.tokens.get(token)?;
        let meeting = self.remove(id)?;
        if let Some(publisher) = self.publishers.get_mut(&publisher) {
            publisher.joined += 1;
            publisher.silent_since = None;
        }
        let it = meeting.it;
        Some(Met { publisher, it })
    }

    /// A joined circuit is over.
    pub(super) fn part(&mut self, publisher: PublisherId) {
        if let Some(publisher) = self.publishers.get_mut(&publisher) {
            publisher.joined -= 1;
        }
    }

    /// A circuit waits no more. That nobody has joined it yet is nobody's fault.
    pub(super) fn withdraw(&mut self, id: MeetingId, now: Instant) {
        let Some(meeting) = self.remove(id) else {
            return;
        };
        for asked in meeting.asked {
            let publisher = self.publishers.get_mut(&asked.publisher);
            if let (Some(until), Some(publisher)) = (asked.until, publisher)
                && publisher.silent_since.map(|since| since + TRY_FOR) == Some(until)
                && now < until
            {
                publisher.silent_since = None;
            }
        }
    }

    fn remove(&mut self, id: MeetingId) -> Option<Meeting<M>> {
        let meeting = self.meetings.remove(&id)?;
        for asked in &meeting.asked {
            self.tokens.remove(&asked.token);
        }
        if let Some(account) = self.accounts.get_mut(&meeting.wallet) {
            account.waiting -= 1;
        }
        self.forget_idle(&meeting.wallet);
        Some(meeting)
    }

    fn forget_idle(&mut self, wallet: &WalletAddress) {
        let account = self.accounts.get(wallet);
        if account.is_some_and(|a| a.publishers.is_empty() && a.waiting == 0) {
            self.accounts.remove(wallet);
        }
    }
}

#[cfg(test)]
mod tests;
