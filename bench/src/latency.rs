//! How long a message of 1 KiB takes through a whole network, beside a chain of three nginx.
//!
//! The network is `conet devnet up`, every node a process of its own; sender and listener are the SDK in this
//! one. The proxies do nothing else, so what is above them is cryptography and one write to the disk, which
//! the same run measures alone.

use std::fs::File;
use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use client::receive::{Event, ListenOptions};
use client::send::SendOptions;
use packet::{ContentType, Draft, MessageId, Sender, SessionId, SizeClass};
use rand::rngs::OsRng;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use wallet::{CertificateBinding, CertificateKind, SecretCertificate, WalletKey};

use crate::devnet::Devnet;
use crate::http_sink;
use crate::peer::NginxChain;
use crate::process::Unpinned;
use crate::report::{Figure, LEAST_ROUNDS, Report, quantile};
use crate::world::now_s;

const TEXT_BYTES: usize = 1_024;
/// Messages of a round.
const MESSAGES: usize = 100;
const FEW_MESSAGES: usize = 10;
/// One message at most.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Default)]
struct Latencies {
    acknowledged: Vec<f64>,
    heard: Vec<f64>,
    proxied: Vec<f64>,
    /// What a message may take: twice the proxies, and what can't be saved.
    aim: Vec<f64>,
    crypto: Vec<f64>,
    fsync: Vec<f64>,
}

/// Milliseconds since then.
fn ms(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

/// Measures from the call of `send_text` to its return (the mailbox has signed), and to the moment the
/// listener hears.
pub(crate) async fn measure(report: &mut Report, quick: bool) -> anyhow::Result<()> {
    let messages = if quick { FEW_MESSAGES } else { MESSAGES };
    let _both = Unpinned::begin()?;
    let devnet = Devnet::up().await?;
    let (alice, bob) = (devnet.client("alice").await?, devnet.client("bob").await?);
    let to = alice.recipient(&bob.address().to_string())?;
    let mut options = ListenOptions::default();
    options.stay = true;
    let mut listener = bob.listen(options).await?;
    let (hear, mut heard) = mpsc::channel(16);
    let listening = tokio::spawn(async move {
        while let Ok(Some(event)) = listener.next().await {
            if let Event::Message(message) = event
                && hear.send((message.id, Instant::now())).await.is_err()
            {
                return;
            }
        }
    });
    let chain = NginxChain::start(http_sink::start(64).await?).await?;
    let mut proxied = TcpStream::connect(chain.socket()?).await?;
    proxied.set_nodelay(true)?;

    let mut costs = Costs::new(&devnet)?;
    let text = "x".repeat(TEXT_BYTES);
    let mut rounds = Vec::new();
    for round in 0..=LEAST_ROUNDS {
        let mut of_round = Latencies::default();
        for _ in 0..if round == 0 { FEW_MESSAGES } else { messages } {
            let begun = Instant::now();
            let sent = alice.send_text(&to, &text, SendOptions::default()).await?;
            of_round.acknowledged.push(ms(begun));
            let (id, at) = tokio::time::timeout(PATIENCE, heard.recv())
                .await?
                .context("the listener ended")?;
            ensure!(id == sent.id, "another message came");
            of_round.heard.push((at - begun).as_secs_f64() * 1e3);
            let (posted, again) = (
                post(&mut proxied, &text).await?,
                post(&mut proxied, &text).await?,
            );
            let (crypto, fsync) = costs.once()?;
            of_round.proxied.push(posted);
            of_round.aim.push(posted + again + crypto + fsync);
            of_round.crypto.push(crypto);
            of_round.fsync.push(fsync);
        }
        if round > 0 {
            rounds.push(of_round);
        }
    }
    listening.abort();
    for (part, name) in [(0.5, "p50"), (0.99, "p99")] {
        let of = |pick: fn(&Latencies) -> &Vec<f64>| -> Vec<f64> {
            rounds.iter().map(|r| quantile(pick(r), part)).collect()
        };
        let (proxied, aim) = (of(|r| &r.proxied), of(|r| &r.aim));
        for (what, ours) in [
            ("sent → acknowledged", of(|r| &r.acknowledged)),
            ("sent → heard", of(|r| &r.heard)),
        ] {
            let name = format!("latency: {what}, {name}");
            let figure = Figure::beside(&name, "ms", ours.clone(), "three nginx", &proxied);
            report.add(figure);
            let aim = Figure::beside(&name, "ms", ours, "the aim", &aim);
            report.add(
                aim.note("twice three nginx, the cryptography and one fsync, one after the other"),
            );
        }
        let crypto = Figure::alone(
            format!("latency: cryptography of one, {name}"),
            "ms",
            of(|r| &r.crypto),
        );
        report
            .add(crypto.note("seal and open the message, seal and open its layer, the signatures"));
        let fsync = format!("latency: one fsync, {name}");
        report.add(Figure::alone(fsync, "ms", of(|r| &r.fsync)));
    }
    Ok(())
}

/// Posts a body through the proxies and waits for the whole answer.
async fn post(socket: &mut TcpStream, body: &str) -> anyhow::Result<f64> {
    let request = format!(
        "POST /c HTTP/1.1\r\nHost: c\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let begun = Instant::now();
    socket.write_all(request.as_bytes()).await?;
    let mut response = Vec::new();
    loop {
        let read = socket.read_buf(&mut response).await?;
        ensure!(read > 0, "the proxy closed the connection");
        if http_sink::message_bytes(&response).is_some_and(|length| response.len() >= length) {
            return Ok(ms(begun));
        }
    }
}

/// What can't be saved on the way.
struct Costs {
    wallet: WalletKey,
    alice: SecretCertificate,
    bob: SecretCertificate,
    node: SecretCertificate,
    binding: CertificateBinding,
    file: File,
}

impl Costs {
    fn new(devnet: &Devnet) -> anyhow::Result<Self> {
        let wallet = WalletKey::generate(&mut OsRng);
        let person = |kind| SecretCertificate::create(&wallet, kind, now_s(), &mut OsRng);
        let (alice, bob) = (person(CertificateKind::V6)?, person(CertificateKind::V6)?);
        let node = person(CertificateKind::NODE)?;
        let binding = CertificateBinding::sign(&wallet, alice.certificate(), 1, Vec::new())?;
        let file = File::create(devnet.folder().join("fsync"))?;
        Ok(Self {
            wallet,
            alice,
            bob,
            node,
            binding,
            file,
        })
    }

    /// The cryptography of one message and one fsync, in milliseconds.
    fn once(&mut self) -> anyhow::Result<(f64, f64)> {
        let sender = Sender {
            wallet: &self.wallet,
            certificate: &self.alice,
            binding: &self.binding,
        };
        let draft = Draft {
            message_id: MessageId::random(&mut OsRng),
            time_ms: now_s() * 1_000,
            content_type: ContentType::TEXT.to_owned(),
            session: SessionId::random(&mut OsRng),
            sequence: 0,
            reply: None,
            body: vec![b'x'; TEXT_BYTES].into(),
        };
        let (bob, node) = (&self.bob, &self.node);
        let begun = Instant::now();
        let sealed = packet::seal(&draft, Some(&sender), bob.certificate(), &mut OsRng)?;
        let length = sealed.as_bytes().len() + packet::LAYER_BYTES;
        let layer = packet::seal_layer(node.certificate(), sealed.as_bytes(), length, &mut OsRng)?;
        packet::open_layer(layer.as_bytes(), node)?;
        packet::open(sealed.as_bytes(), bob)?;
        let crypto = ms(begun);

        let begun = Instant::now();
        self.file.write_all(&[0; SizeClass::K4.frame_bytes()])?;
        self.file.sync_data()?;
        Ok((crypto, ms(begun)))
    }
}
