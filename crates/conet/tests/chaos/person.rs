//! One of the people, as a process of their own: listens all the time, writes to the others, and keeps a journal
//! outside of the client, which is what the verdict goes by.
//!
//! ```text
//! network.json     the network
//! everyone         addresses, a line each
//! quiet            there once nobody shall write any more
//! home/            the home
//! sent             "acknowledged RUN TO NUMBER" a line, written when `send` has returned; each lane of each
//!                  process has a RUN of its own
//! heard            "run N" at each start; "heard FROM RUN NUMBER", "gap FROM" and "warning …" a line
//! ```

use std::fmt::Display;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use client::receive::{Body, Event, ListenOptions};
use client::send::SendOptions;
use client::{Client, ClientOptions};
use ledger::NetworkFile;
use rand::Rng as _;
use rand::seq::SliceRandom as _;
use tokio::task::{JoinSet, LocalSet};

/// The word that makes this program play a person.
pub(crate) const ROLE: &str = "--person";
const PATIENCE: Duration = Duration::from_secs(60);
/// Messages that a person writes at once: each lane waits for its own to be acknowledged.
const LANES: usize = 4;
/// Longest time between two messages of a lane.
const LONGEST_REST_MS: u64 = 800;
/// One message of so many goes with a rotation of the sender's keys.
const ROTATIONS: u32 = 60;
/// One message of so many is a long one.
const LONG_MESSAGES: u32 = 20;
const LONG_BYTES: usize = 30_000;

/// Plays a person until killed.
pub(crate) fn run(folder: &Path) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    LocalSet::new().block_on(&runtime, live(folder))
}

async fn live(folder: &Path) -> Result<()> {
    let shared = folder.parent().context("no folder above")?;
    let mut heard = journal(&folder.join("heard"))?;
    let run = lines(&folder.join("heard"))
        .iter()
        .filter(|line| line.starts_with("run "))
        .count();
    note(&mut heard, format_args!("run {run}"))?;
    let network = NetworkFile::load(&shared.join("network.json"))?;
    let client = Client::open(ClientOptions::new(folder.join("home"), network)).await?;
    client.ready(PATIENCE).await?;
    let mut lives = JoinSet::new();
    for lane in 0..LANES {
        let (client, folder) = (client.clone(), folder.to_owned());
        lives.spawn_local(async move { write(&client, &folder, run * LANES + lane).await });
    }
    lives.spawn_local(async move { listen(&client, heard).await });
    match lives.join_next().await {
        Some(ended) => ended?,
        None => Ok(()),
    }
}

async fn listen(client: &Client, mut heard: File) -> Result<()> {
    loop {
        let mut listener = match client.listen(ListenOptions::default()).await {
            Ok(listener) => listener,
            Err(error) => {
                note(&mut heard, format_args!("warning {error}"))?;
                tokio::time::sleep(Duration::from_millis(300)).await;
                continue;
            }
        };
        while let Some(event) = listener.next().await? {
            match event {
                Event::Message(message) => {
                    let Body::Text(text) = &message.body else {
                        continue;
                    };
                    let from = message.from.wallet.context("a message of nobody")?;
                    let words = text.split_whitespace().take(2).collect::<Vec<_>>();
                    note(&mut heard, format_args!("heard {from} {}", words.join(" ")))?;
                }
                Event::Gap { from, missing } => {
                    let from = from.wallet.context("a gap of nobody")?;
                    note(&mut heard, format_args!("gap {from} {missing}"))?;
                }
                Event::Warning(warning) => {
                    note(&mut heard, format_args!("warning {warning:?}"))?;
                }
                _ => {}
            }
        }
    }
}

async fn write(client: &Client, folder: &Path, run: usize) -> Result<()> {
    let shared = folder.parent().context("no folder above")?;
    let mut sent = journal(&folder.join("sent"))?;
    let me = client.address().to_string();
    let everyone = lines(&shared.join("everyone"));
    let others: Vec<&String> = everyone.iter().filter(|address| **address != me).collect();
    for number in 0_u32.. {
        let (rest, rotate, long) = {
            let mut rng = rand::thread_rng();
            (
                rng.gen_range(0..LONGEST_REST_MS),
                rng.gen_ratio(1, ROTATIONS),
                rng.gen_ratio(1, LONG_MESSAGES),
            )
        };
        tokio::time::sleep(Duration::from_millis(rest)).await;
        while shared.join("quiet").exists() {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        if rotate && let Err(error) = client.rotate().await {
            eprintln!("not rotated: {error}");
        }
        let to = *others.choose(&mut rand::thread_rng()).context("alone")?;
        let recipient = client.recipient(to)?;
        let mut text = format!("{run} {number}");
        if long {
            text.push(' ');
            text.extend(std::iter::repeat_n('x', LONG_BYTES));
        }
        let mut options = SendOptions::default();
        options.patience = Some(PATIENCE);
        match client.send_text(&recipient, &text, options).await {
            Ok(_) => note(&mut sent, format_args!("acknowledged {run} {to} {number}"))?,
            Err(error) => eprintln!("not sent: {error}"),
        }
    }
    Ok(())
}

fn journal(path: &Path) -> Result<File> {
    Ok(OpenOptions::new().create(true).append(true).open(path)?)
}

/// A whole line in one write: the kernel has it, whatever becomes of this process.
fn note(journal: &mut File, line: impl Display) -> Result<()> {
    Ok(journal.write_all(format!("{line}\n").as_bytes())?)
}

/// The whole lines of a file.
pub(crate) fn lines(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.split_inclusive('\n')
        .filter_map(|line| line.strip_suffix('\n'))
        .map(str::to_owned)
        .collect()
}
