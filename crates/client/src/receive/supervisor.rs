//! Keeps one collector running for each mailbox that the wallet has or had lately.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use parking_lot::Mutex;
use protocol::NodeId;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};

use super::collector::{CaughtUp, Collector};
use super::event::Event;
use super::intake::Intake;
use super::presenter::Collecting;
use crate::carrier::Carrier;
use crate::home::{Account, Home};
use crate::state::{Order, Party};

/// How often to look whether the wallet has other mailboxes now: another process may have set them.
const LOOK: Duration = Duration::from_secs(3);

/// Keeps collectors running; they end with it.
pub(super) struct Supervisor {
    pub(super) home: Home,
    pub(super) account: Arc<Account>,
    pub(super) carrier: Arc<dyn Carrier>,
    pub(super) intake: Arc<Mutex<Intake>>,
    pub(super) stay: bool,
    pub(super) wake: Arc<Notify>,
    pub(super) silent: mpsc::Sender<(Party, Order)>,
    pub(super) notices: mpsc::Sender<Event>,
    pub(super) collecting: watch::Sender<Collecting>,
}

struct Running {
    task: AbortHandle,
    caught_up: Arc<CaughtUp>,
}

impl Supervisor {
    pub(super) async fn run(self) {
        let changed = Arc::new(Notify::new());
        let mut tasks: JoinSet<()> = JoinSet::new();
        let mut running: HashMap<NodeId, Running> = HashMap::new();
        loop {
            if self.stay || running.is_empty() {
                self.adjust(&mut running, &mut tasks, &changed);
            }
            let caught_up = running.values().all(|one| one.caught_up.is_set());
            let over = !self.stay && tasks.is_empty();
            let state = Collecting { caught_up, over };
            self.collecting.send_if_modified(|last| {
                let differs = *last != state;
                *last = state;
                differs
            });
            if over {
                return;
            }
            tokio::select! {
                () = changed.notified() => {}
                Some(ended) = tasks.join_next(), if !tasks.is_empty() => {
                    if let Err(Ok(panic)) = ended.map_err(tokio::task::JoinError::try_into_panic) {
                        std::panic::resume_unwind(panic);
                    }
                }
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    /// Starts what is missing and stops what is no longer wanted.
    fn adjust(
        &self,
        running: &mut HashMap<NodeId, Running>,
        tasks: &mut JoinSet<()>,
        changed: &Arc<Notify>,
    ) {
        let Ok(identity) = self.account.identity() else {
            // It is being replaced, or the disk has trouble: as it was, until the next look.
            return;
        };
        let now_ms = self.home.clock().now_ms();
        let mut wanted = identity.binding.mailboxes.clone();
        for former in &identity.standing.retiring {
            if former.until_ms > now_ms && !wanted.contains(&former.node) {
                wanted.push(former.node);
            }
        }
        running.retain(|node, one| {
            let keep = wanted.contains(node) && !(self.stay && one.task.is_finished());
            if !keep {
                one.task.abort();
            }
            keep
        });
        let alone = wanted.len() == 1;
        for mailbox in wanted {
            running.entry(mailbox).or_insert_with(|| {
                let caught_up = Arc::new(CaughtUp::not_yet(Arc::clone(changed)));
                let collector = self.collector(mailbox, alone, Arc::clone(&caught_up));
                Running {
                    task: tasks.spawn(collector.run()),
                    caught_up,
                }
            });
        }
    }

    fn collector(&self, mailbox: NodeId, alone: bool, caught_up: Arc<CaughtUp>) -> Collector {
        Collector {
            account: Arc::clone(&self.account),
            carrier: Arc::clone(&self.carrier),
            contacts: self.home.contact_file(),
            intake: Arc::clone(&self.intake),
            mailbox,
            stay: self.stay,
            alone,
            wake: Arc::clone(&self.wake),
            silent: self.silent.clone(),
            notices: self.notices.clone(),
            caught_up,
            told: AtomicBool::new(false),
        }
    }
}
