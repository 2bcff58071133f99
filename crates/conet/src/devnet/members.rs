//! What runs in a devnet: child processes, or tasks of this process.

use std::fs::OpenOptions;
use std::future::Future;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::failure::{Context as _, Outcome};

/// How long a member may take to end by itself; then it is killed.
pub(super) const GRACE: Duration = Duration::from_secs(10);

/// What ended, and how.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) name: String,
    pub(super) how: String,
}

/// Members that run under one token.
#[derive(Debug, Default)]
pub(super) struct Members {
    running: JoinSet<Ended>,
    stop: CancellationToken,
}

impl Members {
    /// Starts a child process of this program with its log appended to a file.
    ///
    /// It gets a pipe as stdin, which ends when this process does, and a process group of its own, so
    /// that Ctrl-C reaches only this process, which then stops its children in order.
    pub(super) fn start_process(
        &mut self,
        name: &str,
        arguments: &[&std::ffi::OsStr],
        log: &Path,
    ) -> Outcome<()> {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .context(log.display())?;
        let child = Command::new(std::env::current_exe()?)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .context(name)?;
        self.running
            .spawn(watch(name.to_owned(), child, self.stop.clone()));
        Ok(())
    }

    /// Starts a task that ends by itself when the token that it is given is cancelled.
    pub(super) fn start_task<F>(&mut self, name: &str, work: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = Outcome<()>> + Send + 'static,
    {
        let (name, work) = (name.to_owned(), work(self.stop.clone()));
        self.running.spawn(async move {
            let how = match work.await {
                Ok(()) => "it ended".to_owned(),
                Err(failure) => failure.message().to_owned(),
            };
            Ended { name, how }
        });
    }

    /// The next member that ends; never, if none is left.
    pub(super) async fn ended(&mut self) -> Ended {
        match self.running.join_next().await {
            Some(Ok(ended)) => ended,
            Some(Err(error)) => Ended {
                name: "a member".to_owned(),
                how: error.to_string(),
            },
            None => std::future::pending().await,
        }
    }

    /// Stops all and waits until they have ended.
    pub(super) async fn stop(&mut self) {
        self.stop.cancel();
        while self.running.join_next().await.is_some() {}
    }
}

async fn watch(name: String, mut child: Child, stop: CancellationToken) -> Ended {
    // Kept until the end: waiting would close it, and the child ends when it is closed.
    let _stdin = child.stdin.take();
    let ended = tokio::select! {
        ended = child.wait() => ended,
        () = stop.cancelled() => {
            terminate(&child);
            match tokio::time::timeout(GRACE, child.wait()).await {
                Ok(ended) => ended,
                Err(_) => {
                    tracing::warn!(target: "devnet", %name, "does not end: it is killed");
                    let _ = child.start_kill();
                    child.wait().await
                }
            }
        }
    };
    let how = ended.map_or_else(|error| error.to_string(), |status| status.to_string());
    Ended { name, how }
}

fn terminate(child: &Child) {
    send(child, Signal::SIGTERM);
}

/// Sends a child what Ctrl-C would.
pub(super) fn interrupt(child: &Child) {
    send(child, Signal::SIGINT);
}

fn send(child: &Child, signal: Signal) {
    // A child that has been waited for has no id: nobody else's process is ever signalled.
    if let Some(id) = child.id().and_then(|id| i32::try_from(id).ok()) {
        let _ = kill(Pid::from_raw(id), signal);
    }
}
