//! `conet-notes`: the notes service as a program of its own, to be published by `conet serve`.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use clap::Parser;
use notes::Notes;

/// A notes service without login, for `conet serve --to http://127.0.0.1:3000`.
#[derive(Parser)]
struct Args {
    /// Where to listen, on this machine only: whoever reaches it directly could say to be any wallet.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:3000")]
    listen: SocketAddr,
    /// Where the notes are kept.
    #[arg(long, value_name = "FILE", default_value = "notes.db")]
    db: PathBuf,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Args { listen, db } = Args::parse();
    ensure!(
        listen.ip().is_loopback(),
        "{listen} is open to other machines: listen on 127.0.0.1 or [::1]"
    );
    let notes = Notes::open(&db).with_context(|| format!("{} can't be opened", db.display()))?;
    let listener = tokio::net::TcpListener::bind(listen).await;
    let listener = listener.with_context(|| format!("{listen} can't be listened on"))?;
    println!("notes on http://{}", listener.local_addr()?);
    let stopped = async {
        let _no_signals = tokio::signal::ctrl_c().await;
    };
    Ok(notes::serve(listener, notes, stopped).await?)
}
