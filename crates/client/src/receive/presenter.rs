//! Hands messages over: in order, each with its file in place.
//!
//! The inbox on disk is the queue; what is in memory is only who waits for whom. So neither a slow user nor a
//! flood of messages fills the memory.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;

use super::event::{Event, Sender, Warning, in_full, message_of};
use super::lanes::{Lanes, Out, Slot};
use crate::files::{self, PlaceError};
use crate::home::{Account, ContactBook, ContactFile};
use crate::state::{Content, Order, Party, Shown, StateError, Unshown};
use crate::wall_clock::WallClock;

/// Messages that are looked at in one go.
const LOADED_AT_ONCE: u32 = 32;
/// How often to look whether another process or the clock brought something.
const TICK: Duration = Duration::from_secs(1);
/// How often a file that could not be placed is tried again.
const PLACE_AGAIN: Duration = Duration::from_secs(30);
/// How long to wait when the inbox can't be read.
const AGAIN: Duration = Duration::from_secs(5);
/// More than are between presenter and user at any time.
const MAX_HANDED: usize = 64;
/// Files that are tried again; the rest waits for the next run.
const MAX_STUCK: usize = 1_000;

/// An event on its way to the user, with what is to be written down once the user has it.
#[derive(Debug)]
pub(super) struct Handed {
    pub(super) event: Event,
    pub(super) mark: Option<Shown>,
}

/// How far collecting is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Collecting {
    /// Every mailbox has delivered what it kept, or could not be reached.
    pub(super) caught_up: bool,
    /// Nothing more will come.
    pub(super) over: bool,
}

/// Hands messages over; runs until nothing more comes or nobody listens.
pub(super) struct Presenter {
    pub(super) account: Arc<Account>,
    pub(super) contacts: ContactFile,
    pub(super) clock: WallClock,
    pub(super) save_dir: PathBuf,
    pub(super) wake: Arc<Notify>,
    pub(super) silent: mpsc::Receiver<(Party, Order)>,
    pub(super) collecting: watch::Receiver<Collecting>,
    pub(super) messages: mpsc::Sender<Handed>,
    pub(super) lanes: Lanes,
    pub(super) loaded: i64,
    pub(super) stuck: Vec<i64>,
    /// What the user was handed last but may not have marked as shown yet.
    pub(super) handed: VecDeque<i64>,
    pub(super) told_caught_up: bool,
}

impl Presenter {
    pub(super) async fn run(mut self) {
        let mut told = false;
        // Both ends are orderly: what is not shown stays in the inbox.
        while let Err(Stop::State(error)) = self.present().await {
            let reason = in_full(&error);
            tracing::warn!(target: "client::receive", reason, "the inbox can't be read");
            if !std::mem::replace(&mut told, true) {
                let warning = Warning::NotDurable { reason };
                if self.hand(Event::Warning(warning), None).await.is_err() {
                    return;
                }
            }
            tokio::time::sleep(AGAIN).await;
            // From the beginning: who waited for whom may be half done.
            self.lanes = Lanes::default();
            self.stuck.clear();
            self.loaded = 0;
        }
    }

    async fn present(&mut self) -> Result<(), Stop> {
        let mut place_again = Instant::now() + PLACE_AGAIN;
        loop {
            // Looked at first: what was committed before is loaded below.
            let collecting = *self.collecting.borrow();
            self.load().await?;
            let now_ms = self.clock.now_ms();
            let out = self
                .lanes
                .poll(if collecting.over { u64::MAX } else { now_ms });
            self.emit(out).await?;
            if Instant::now() >= place_again {
                place_again = Instant::now() + PLACE_AGAIN;
                for place in std::mem::take(&mut self.stuck) {
                    self.show(place).await?;
                }
            }
            if collecting.caught_up && !self.told_caught_up {
                self.told_caught_up = true;
                self.hand(Event::CaughtUp, None).await?;
            }
            if collecting.over {
                return Ok(());
            }
            self.wait().await?;
        }
    }

    /// Waits until there may be something to do.
    async fn wait(&mut self) -> Result<(), Stop> {
        let now_ms = self.clock.now_ms();
        let until_gap = (self.lanes.deadline_ms())
            .map_or(TICK, |at| Duration::from_millis(at.saturating_sub(now_ms)));
        tokio::select! {
            () = self.wake.notified() => Ok(()),
            _ = self.collecting.changed() => Ok(()),
            Some((party, order)) = self.silent.recv() => self.pass_silently(party, order).await,
            () = tokio::time::sleep(until_gap.min(TICK)) => Ok(()),
            () = self.messages.closed() => Err(Stop::Deaf),
        }
    }

    /// Puts what the inbox got since the last time into its lanes.
    async fn load(&mut self) -> Result<(), Stop> {
        loop {
            let after = self.loaded;
            let state = self.account.state();
            let rows = state
                .run(move |state| state.unshown(after, LOADED_AT_ONCE))
                .await?;
            let count = rows.len();
            let orders: Vec<_> = rows
                .into_iter()
                .map(|row| {
                    (
                        row.place,
                        row.entry.party,
                        row.entry.order,
                        row.entry.received_ms,
                    )
                })
                .collect();
            for (place, party, order, received_ms) in orders {
                self.loaded = place;
                match order {
                    Some(order) => {
                        let slot = Slot::Message(place);
                        let out = self.push(party, order, slot, received_ms).await?;
                        self.emit(out).await?;
                    }
                    None => self.show(place).await?,
                }
            }
            if count < LOADED_AT_ONCE as usize {
                break;
            }
        }
        while let Ok((party, order)) = self.silent.try_recv() {
            self.pass_silently(party, order).await?;
        }
        Ok(())
    }

    async fn pass_silently(&mut self, party: Party, order: Order) -> Result<(), Stop> {
        let now_ms = self.clock.now_ms();
        let out = self.push(party, order, Slot::Silent, now_ms).await?;
        self.emit(out).await
    }

    async fn push(
        &mut self,
        party: Party,
        order: Order,
        slot: Slot,
        since_ms: u64,
    ) -> Result<Vec<Out>, Stop> {
        let expected = if self.lanes.knows(&party, &order) {
            0
        } else {
            let state = self.account.state();
            state
                .run(move |state| state.expected(&party, &order))
                .await?
        };
        Ok(self.lanes.push(party, order, slot, expected, since_ms))
    }

    async fn emit(&mut self, out: Vec<Out>) -> Result<(), Stop> {
        for out in out {
            match out {
                Out::Show(place) => self.show(place).await?,
                Out::Gap(party, missing) => {
                    let from = Sender::of(&party, &self.book());
                    self.hand(Event::Gap { from, missing }, None).await?;
                }
            }
        }
        Ok(())
    }

    /// Hands one message over, its file first put where it belongs.
    async fn show(&mut self, place: i64) -> Result<(), Stop> {
        if self.handed.contains(&place) {
            return Ok(());
        }
        let state = self.account.state();
        let found = state.run(move |state| state.unshown(place - 1, 1)).await?;
        let Some(mut message) = found.into_iter().find(|message| message.place == place) else {
            return Ok(());
        };
        if let Content::File(file) = &message.entry.content
            && file.partial.is_some()
        {
            let name = file.name.clone();
            match self.place(message).await {
                Ok(placed) => message = placed,
                Err(reason) => {
                    if self.stuck.len() < MAX_STUCK {
                        self.stuck.push(place);
                    }
                    let warning = Warning::FileNotPlaced { name, reason };
                    return self.hand(Event::Warning(warning), None).await;
                }
            }
        }
        let mark = Shown {
            place,
            party: message.entry.party,
            order: message.entry.order,
        };
        let event = message_of(message.id, message.entry, &self.book());
        self.hand(Event::Message(Box::new(event)), Some(mark))
            .await?;
        self.handed.push_back(place);
        if self.handed.len() > MAX_HANDED {
            self.handed.pop_front();
        }
        Ok(())
    }

    /// Moves the message's file from the partial ones into the user's folder.
    async fn place(&self, mut message: Unshown) -> Result<Unshown, String> {
        let folder = self.save_dir.clone();
        let partials = self.account.folder().join("partial");
        let placed = self.account.state().run(move |state| {
            let Content::File(file) = &mut message.entry.content else {
                return Ok(Ok(message));
            };
            let Some(partial) = file.partial.clone() else {
                return Ok(Ok(message));
            };
            let mut entry = message.entry.clone();
            let remember = |target: &std::path::Path| {
                if let Content::File(file) = &mut entry.content {
                    file.path = Some(target.to_owned());
                }
                state.amend_received(&message, &entry)
            };
            let Content::File(file) = &message.entry.content else {
                return Ok(Ok(message));
            };
            let remembered = file.path.as_deref();
            let placed = files::place(
                &partials.join(partial),
                &folder,
                &file.name,
                remembered,
                remember,
            );
            Ok(match placed {
                Ok(path) => {
                    if let Content::File(file) = &mut message.entry.content {
                        file.path = Some(path);
                    }
                    Ok(message)
                }
                Err(PlaceError::Remember(error)) => return Err(error),
                Err(error) => Err(in_full(&error)),
            })
        });
        placed.await.unwrap_or_else(|error| Err(in_full(&error)))
    }

    async fn hand(&self, event: Event, mark: Option<Shown>) -> Result<(), Stop> {
        let handed = self.messages.send(Handed { event, mark }).await;
        handed.map_err(|_| Stop::Deaf)
    }

    fn book(&self) -> ContactBook {
        // Without the book nobody has a name; the message is shown all the same.
        self.contacts.read().unwrap_or_default()
    }
}

/// Why presenting ends early.
enum Stop {
    Deaf,
    State(StateError),
}

impl From<StateError> for Stop {
    fn from(error: StateError) -> Self {
        Self::State(error)
    }
}
