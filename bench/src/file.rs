//! A large file, sent and received, beside `curl` through three nginx.
//!
//! Ours is encrypted, signed, stored durably at a mailbox, collected, checked and written to the recipient's
//! disk; curl's passes three proxies and is thrown away.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use client::receive::{Body, Event, ListenOptions};
use client::send::SendOptions;
use rand::RngCore as _;

use crate::devnet::Devnet;
use crate::http_sink;
use crate::peer::NginxChain;
use crate::report::{Figure, LEAST_ROUNDS, Report};

const FILE_BYTES: usize = 1 << 30;
const SMALL_FILE_BYTES: usize = 16 << 20;
const PIECE_BYTES: usize = 1 << 20;

/// Measures MB/s from the call of `send_file` to the whole file at the recipient.
pub(crate) async fn measure(report: &mut Report, quick: bool) -> anyhow::Result<()> {
    let bytes = if quick { SMALL_FILE_BYTES } else { FILE_BYTES };
    let devnet = Devnet::up().await?;
    let (alice, bob) = (devnet.client("alice").await?, devnet.client("bob").await?);
    let to = alice.recipient(&bob.address().to_string())?;
    let save_dir = devnet.folder().join("saved");
    std::fs::create_dir_all(&save_dir)?;
    let mut options = ListenOptions::default();
    (options.save_dir, options.stay) = (Some(save_dir), true);
    let mut listener = bob.listen(options).await?;
    let chain = NginxChain::start(http_sink::start(64).await?).await?;
    let url = format!("http://{}/f", chain.socket()?);

    let file = devnet.folder().join("file");
    let (mut sent, mut stored, mut uploaded) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=LEAST_ROUNDS {
        // Another file each time: the same one would be one that is there.
        let length = if round == 0 { SMALL_FILE_BYTES } else { bytes };
        fill(&file, length)?;
        let rate = |since: Instant| length as f64 / 1e6 / since.elapsed().as_secs_f64();

        let begun = Instant::now();
        let sending = async {
            let sent = alice.send_file(&to, &file, SendOptions::default()).await?;
            anyhow::Ok((sent, rate(begun)))
        };
        let receiving = async {
            loop {
                let event = listener.next().await?.context("the listener ended")?;
                if let Event::Message(message) = event
                    && let Body::File(file) = message.body
                {
                    return anyhow::Ok((file, rate(begun)));
                }
            }
        };
        let ((_, stored_rate), (received, rate_received)) = tokio::try_join!(sending, receiving)?;
        let path = received.path.context("the file is nowhere")?;
        ensure!(
            std::fs::metadata(&path)?.len() == length as u64,
            "cut short"
        );
        std::fs::remove_file(&path)?;

        let begun = Instant::now();
        let status = tokio::process::Command::new("curl")
            .args([
                "-sS",
                "-f",
                "-o",
                "/dev/null",
                "-H",
                "Expect:",
                "-X",
                "POST",
                "-T",
            ])
            .arg(&file)
            .arg(&url)
            .status()
            .await?;
        ensure!(status.success(), "curl failed");
        if round > 0 {
            uploaded.push(rate(begun));
            sent.push(rate_received);
            stored.push(stored_rate);
        }
    }
    let peer = "curl + nginx";
    report.add(Figure::beside(
        "file: sent → received",
        "MB/s",
        sent,
        peer,
        &uploaded,
    ));
    report.add(Figure::beside(
        "file: sent → stored",
        "MB/s",
        stored,
        peer,
        &uploaded,
    ));
    Ok(())
}

fn fill(path: &Path, bytes: usize) -> anyhow::Result<()> {
    let mut file = File::create(path)?;
    let mut piece = vec![0; PIECE_BYTES];
    for _ in 0..bytes / PIECE_BYTES {
        rand::thread_rng().fill_bytes(&mut piece);
        file.write_all(&piece)?;
    }
    Ok(file.sync_all()?)
}
