//! When a long-running command ends: a signal, or the end of the process that started it.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A token that is cancelled by Ctrl-C, SIGTERM, or SIGHUP if that is not ignored (`nohup`); a second signal
/// ends the process at once.
pub(crate) fn on_signal() -> std::io::Result<CancellationToken> {
    let token = CancellationToken::new();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = if hang_up_is_ignored() {
        None
    } else {
        Some(signal(SignalKind::hangup())?)
    };
    let on_signal = token.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                () = received(&mut hang_up) => {}
            }
            if on_signal.is_cancelled() {
                std::process::exit(130);
            }
            on_signal.cancel();
        }
    });
    Ok(token)
}

async fn received(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}

/// Whether this process was started so that the end of its terminal does not concern it. Where the system
/// does not say (no Linux), it does.
fn hang_up_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    // The lowest bit is signal 1, SIGHUP.
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & 1 == 1)
}

/// Also cancels `token` when stdin ends: the parent holds its other end and writes nothing, so that its
/// children end when it does, however it ends.
pub(crate) fn with_stdin(token: &CancellationToken) {
    let token = token.clone();
    // A thread of its own: a blocked read of tokio's stdin would keep the runtime from ending.
    std::thread::spawn(move || {
        use std::io::Read as _;
        let mut buffer = [0; 64];
        let mut stdin = std::io::stdin().lock();
        while matches!(stdin.read(&mut buffer), Ok(1..)) {}
        token.cancel();
    });
}
