//! When a long-running command ends: a signal, or the end of the process that started it.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A token that is cancelled by Ctrl-C, SIGTERM or SIGHUP; a second signal ends the process at once.
pub(crate) fn on_signal() -> std::io::Result<CancellationToken> {
    let token = CancellationToken::new();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let on_signal = token.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hang_up.recv() => {}
            }
            if on_signal.is_cancelled() {
                std::process::exit(130);
            }
            on_signal.cancel();
        }
    });
    Ok(token)
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
