//! The listener: what a user holds to hear messages.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;

use super::event::{Event, Warning};
use super::intake::Intake;
use super::lanes::Lanes;
use super::presenter::{Collecting, Handed, Presenter};
use super::supervisor::Supervisor;
use crate::carrier::Carrier;
use crate::home::{Account, Home, HomeError, HomeLock};
use crate::state::{Shown, StateError};
use crate::upkeep::{Passes, Upkeep};

/// Messages on their way to the user; each may be as long as a packet.
const MESSAGES: usize = 4;
/// Receipts and warnings on their way to the user; more are dropped.
const NOTICES: usize = 256;
/// Places in sessions that nothing is shown for, on their way to the presenter.
const SILENT: usize = 4_096;

/// How long a listener that does not stay goes on for the wallet's outbox and standing.
const LAST_UPKEEP: Duration = Duration::from_secs(30);

/// How to listen.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ListenOptions {
    /// Where files are put; into the account's own folder where none is said.
    pub save_dir: Option<PathBuf>,
    /// Stays for what comes later; otherwise the listener ends when all that is kept has come.
    pub stay: bool,
    /// Goes on sending what waits in the outbox.
    pub flush_outbox: bool,
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self {
            save_dir: None,
            stay: true,
            flush_outbox: true,
        }
    }
}

/// Why nobody can listen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// Another process listens for this wallet in this home.
    #[error("another process listens for this wallet already: end it first")]
    AlreadyListening,
    /// The wallet has no mailbox to collect from.
    #[error("this wallet has no mailbox yet: give it one with `conet route set --mailbox auto`")]
    NoMailbox,
    /// The wallet was restored, and the network can't be asked for its mailboxes.
    #[error("this wallet was restored and its mailboxes can't be found now: try again later")]
    NotRestored(#[source] crate::upkeep::UpkeepError),
    /// The home can't be used.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The wallet's state can't be used.
    #[error(transparent)]
    State(#[from] StateError),
}

/// Hears what comes for a wallet. Dropping it ends listening; nothing that was not handed over is lost.
#[derive(Debug)]
pub struct Listener {
    account: Arc<Account>,
    clock: crate::wall_clock::WallClock,
    messages: mpsc::Receiver<Handed>,
    notices: mpsc::Receiver<Event>,
    pending: Option<Shown>,
    upkeep: watch::Receiver<Passes>,
    _tasks: JoinSet<()>,
    _lock: HomeLock,
}

impl Listener {
    /// The next event; `None` when a listener that does not stay has heard all.
    ///
    /// Asking for it says that the event before was dealt with: a message is then never handed over again.
    ///
    /// # Errors
    /// [`ListenError::State`] if that can't be written down; asking again tries again.
    ///
    /// # Cancel safety
    /// No event is lost if the future is dropped.
    pub async fn next(&mut self) -> Result<Option<Event>, ListenError> {
        self.done().await?;
        let event = tokio::select! {
            biased;
            Some(notice) = self.notices.recv() => Some(notice),
            handed = self.messages.recv() => match handed {
                Some(handed) => {
                    self.pending = handed.mark;
                    Some(handed.event)
                }
                None => {
                    self.wait_for_upkeep().await;
                    // What the tasks said last.
                    self.notices.try_recv().ok()
                }
            },
        };
        Ok(event)
    }

    /// A listener that does not stay still tries once to send what waits and to tell mailboxes what they must know.
    async fn wait_for_upkeep(&mut self) {
        let complete = self.upkeep.wait_for(Passes::are_complete);
        let _ = tokio::time::timeout(LAST_UPKEEP, complete).await;
    }

    /// Says that the last event was dealt with, without asking for another.
    ///
    /// # Errors
    /// As [`Listener::next`].
    pub async fn done(&mut self) -> Result<(), ListenError> {
        let Some(mark) = self.pending else {
            return Ok(());
        };
        let now_ms = self.clock.now_ms();
        let state = self.account.state();
        state
            .run(move |state| state.mark_shown(&mark, now_ms))
            .await?;
        self.pending = None;
        Ok(())
    }
}

/// Begins to listen.
pub(crate) async fn listen(
    home: &Home,
    account: &Arc<Account>,
    carrier: &Arc<dyn Carrier>,
    upkeep: Upkeep,
    receipts: bool,
    options: ListenOptions,
) -> Result<Listener, ListenError> {
    let lock = account.lock_listening()?;
    let lock = lock.ok_or(ListenError::AlreadyListening)?;
    upkeep.settle().await.map_err(ListenError::NotRestored)?;
    // Also if it was another command that found the former life.
    let restored = upkeep.take_restored().await;
    let restored = restored.map_err(ListenError::NotRestored)?;
    let identity = account.identity()?;
    if identity.binding.mailboxes.is_empty() && identity.standing.retiring.is_empty() {
        return Err(ListenError::NoMailbox);
    }
    let save_dir = (options.save_dir).unwrap_or_else(|| account.folder().join("received"));
    // Relative to where the user is now, not wherever the process may go.
    let save_dir = std::path::absolute(&save_dir).unwrap_or(save_dir);
    let intake = Intake::new(home, Arc::clone(account), receipts)?;

    let wake = Arc::new(Notify::new());
    let (silent_in, silent) = mpsc::channel(SILENT);
    let (notices_in, notices) = mpsc::channel(NOTICES);
    let (messages_in, messages) = mpsc::channel(MESSAGES);
    let (collecting_in, collecting) = watch::channel(Collecting::default());
    if restored {
        let _ = notices_in.try_send(Event::Warning(Warning::Restored));
    }
    let mut tasks = JoinSet::new();
    let presenter = Presenter {
        account: Arc::clone(account),
        contacts: home.contact_file(),
        clock: home.clock().clone(),
        save_dir,
        wake: Arc::clone(&wake),
        silent,
        collecting,
        messages: messages_in,
        lanes: Lanes::default(),
        loaded: 0,
        stuck: Vec::new(),
        handed: std::collections::VecDeque::new(),
        told_caught_up: false,
    };
    tasks.spawn(presenter.run());
    let supervisor = Supervisor {
        home: home.clone(),
        account: Arc::clone(account),
        carrier: Arc::clone(carrier),
        intake: Arc::new(Mutex::new(intake)),
        stay: options.stay,
        wake,
        silent: silent_in,
        notices: notices_in.clone(),
        collecting: collecting_in,
    };
    tasks.spawn(supervisor.run());
    let (passed, upkeep_passed) = watch::channel(Passes::default());
    tasks.spawn(upkeep.run(notices_in, options.flush_outbox, passed));
    Ok(Listener {
        account: Arc::clone(account),
        clock: home.clock().clone(),
        messages,
        notices,
        pending: None,
        upkeep: upkeep_passed,
        _tasks: tasks,
        _lock: lock,
    })
}
