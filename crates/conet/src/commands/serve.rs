//! `conet serve`: a server of this machine, reachable at a wallet and its names.

mod door;
mod offered;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use client::Client;
use client::services::{Incoming, Publisher, Standing};
use client::streams::Reset;
use serde_json::json;
use tokio::sync::{Semaphore, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wallet::WalletAddress;

use crate::context::Context;
use crate::failure::{Context as _, Exit, Failure, Outcome};
use crate::screen::{self, Steps, print, print_json};
use crate::session::{self, Settings};
use crate::stopping;
use door::{Door, Rules, Tally};
use offered::{Offered, Service};

/// The port of services by default.
const HTTP_PORT: u16 = 80;
/// Connections at once; callers of more are told that the service is busy.
const MAX_CONNECTIONS: usize = 4_096;
/// How long to wait for the first mailbox before the user is told that it takes longer.
const ONLINE_PATIENCE: Duration = Duration::from_secs(20);
/// How long the last words to callers may take at the end.
const FAREWELL: Duration = Duration::from_millis(300);
/// How often the live line changes.
const LINE_EVERY: Duration = Duration::from_millis(500);

/// Arguments of `conet serve`.
#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct ServeArgs {
    /// An HTTP server: http://127.0.0.1:3000. It is told by the field Conet-Wallet which wallet signed a request.
    #[arg(long, value_name = "URL", required_unless_present = "tcp")]
    to: Option<String>,
    /// Any TCP server, on its own port or on another one that callers use: 127.0.0.1:22, or 2222=127.0.0.1:22.
    #[arg(long, value_name = "[PORT=]HOST:PORT")]
    tcp: Vec<String>,
    /// The port by which callers reach the HTTP server.
    #[arg(long, value_name = "N", default_value_t = HTTP_PORT, value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
    /// A name of this wallet's by which it is reached too.
    #[arg(long, value_name = "NAME")]
    name: Vec<String>,
    /// Register names that nobody has; this wallet pays.
    #[arg(long, requires = "name")]
    register: bool,
    /// The Host that the HTTP server sees [default: what the caller wrote].
    #[arg(long, value_name = "HOST", requires = "to")]
    host_header: Option<String>,
    /// Let in only callers who prove to be this wallet: an address, contact or name. May be said several times.
    #[arg(long, value_name = "0x…|NAME")]
    allow: Vec<String>,
}

/// Serves until a signal.
pub(crate) async fn run(context: &Context, args: ServeArgs) -> Outcome {
    let stop = stopping::on_signal()?;
    serve(context, args, stop, announce).await
}

/// Serves one HTTP server under one name until `stop`; says when callers can reach it, and prints nothing.
pub(crate) async fn publish(
    context: &Context,
    url: &str,
    name: &str,
    stop: CancellationToken,
    online: oneshot::Sender<()>,
) -> Outcome<()> {
    let args = ServeArgs {
        to: Some(url.to_owned()),
        tcp: Vec::new(),
        port: HTTP_PORT,
        name: vec![name.to_owned()],
        register: true,
        host_header: None,
        allow: Vec::new(),
    };
    let tell = |_: &Context, _: &Client, _: &Offered| {
        let _nobody_waits = online.send(());
        Ok(())
    };
    serve(context, args, stop, tell).await.map(drop)
}

async fn serve(
    context: &Context,
    args: ServeArgs,
    stop: CancellationToken,
    announce: impl FnOnce(&Context, &Client, &Offered) -> Outcome<()>,
) -> Outcome {
    let services = offered::services(args.to.as_deref(), args.port, &args.tcp)?;
    let client = context.client(Settings::default()).await?;
    let steps = Steps::new(&context.global);
    steps.begin("joining the network");
    session::ready(&client).await?;
    if client.route()?.mailboxes.is_empty() {
        steps.begin("opening a mailbox, at which callers meet the service");
        client.fill_route(Vec::new(), 1, true).await?;
    }
    let names = offered::names(context, &client, &args.name, args.register, &steps).await?;
    let allowed = allowed(&client, &args.allow).await?;
    let offered = Offered::new(client.address(), names, services);
    let rules = Rules {
        allowed,
        host_header: args.host_header,
        chain_id: context.network()?.chain_id,
    };
    let doors = offered.services.iter().map(|service| {
        let door = Door::new(service, offered.authorities(service)?.into_iter(), &rules)?;
        Ok((service.port, door))
    });
    let doors = doors.collect::<Outcome<Vec<_>>>()?;
    let publisher = client.publish(offered.targets()?).await?;
    steps.begin("going online at the wallet's mailboxes");
    let is_online = online(publisher.standing()).await;
    steps.end();
    announce(context, &client, &offered)?;
    if !is_online {
        screen::notice(
            context,
            "no mailbox of this wallet can be reached yet: going on trying",
        );
    }
    Serving {
        context,
        doors,
        tally: Arc::default(),
        tasks: TaskTracker::new(),
        stop,
    }
    .run(publisher)
    .await
}

/// The wallets that are let in; everybody where none is named.
async fn allowed(
    client: &Client,
    named: &[String],
) -> Outcome<Option<Arc<BTreeSet<WalletAddress>>>> {
    if named.is_empty() {
        return Ok(None);
    }
    let mut wallets = BTreeSet::new();
    for text in named {
        wallets.insert(client.whom(text).await.context(text)?.wallet);
    }
    Ok(Some(Arc::new(wallets)))
}

/// Waits until the publisher is online somewhere; false if that takes long.
async fn online(mut standing: watch::Receiver<Standing>) -> bool {
    let online = standing.wait_for(|standing| !standing.online.is_empty());
    matches!(
        tokio::time::timeout(ONLINE_PATIENCE, online).await,
        Ok(Ok(_))
    )
}

fn announce(context: &Context, client: &Client, offered: &Offered) -> Outcome<()> {
    if context.global.json {
        let services: Vec<_> = offered
            .services
            .iter()
            .map(|service| {
                let addresses: Vec<String> = offered.addresses(service).collect();
                json!({ "port": service.port, "to": service.to.to_string(), "addresses": addresses })
            })
            .collect();
        return print_json(&json!({ "wallet": client.address(), "services": services }));
    }
    for service in &offered.services {
        for address in offered.addresses(service) {
            print(&format!("{address}  →  {}", service.to))?;
        }
    }
    if !client.route()?.listed {
        screen::notice(
            context,
            "this wallet's route is not on the ledger: only who has its contact (conet wallet share) can call",
        );
    }
    if !context.global.quiet {
        screen::tell("Ctrl-C takes it off the network.");
    }
    Ok(())
}

/// The services while they are served.
struct Serving<'c> {
    context: &'c Context,
    doors: Vec<(u16, Arc<Door>)>,
    tally: Arc<Tally>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Serving<'_> {
    async fn run(self, mut publisher: Publisher) -> Outcome {
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let line = Steps::new(&self.context.global);
        let mut standing = publisher.standing();
        let mut was_online = !standing.borrow_and_update().online.is_empty();
        let mut tick = tokio::time::interval(LINE_EVERY);
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                incoming = publisher.next() => match incoming {
                    Some(incoming) => self.welcome(incoming, &places),
                    None => return Err(Failure::error("the publisher has ended by itself")),
                },
                Ok(()) = standing.changed() => {
                    let is_online = !standing.borrow_and_update().online.is_empty();
                    if is_online != was_online {
                        was_online = is_online;
                        self.tell_standing(&standing.borrow());
                    }
                }
                _ = tick.tick(), if line.is_live() => line.begin(self.tally.line()),
            }
        }
        line.end();
        publisher.close().await;
        self.tasks.close();
        self.tasks.wait().await;
        tokio::time::sleep(FAREWELL).await;
        if !self.context.global.json && !self.context.global.quiet {
            screen::tell(self.tally.line());
        }
        Ok(Exit::Done)
    }

    fn welcome(&self, incoming: Incoming, places: &Arc<Semaphore>) {
        let port = incoming.target.port.get();
        let door = self.doors.iter().find(|(number, _)| *number == port);
        let place = Arc::clone(places).try_acquire_owned();
        let (Some((_, door)), Ok(place)) = (door, place) else {
            return incoming.stream.reset(Reset::Busy);
        };
        let (door, tally, stop) = (Arc::clone(door), Arc::clone(&self.tally), self.stop.clone());
        let context = self.context.clone();
        self.tasks.spawn(async move {
            let _place = place;
            door.serve(&context, incoming, &tally, stop).await;
        });
    }

    fn tell_standing(&self, standing: &Standing) {
        if !standing.online.is_empty() {
            return screen::notice(self.context, "online again");
        }
        let reasons = standing.offline.iter();
        let reasons: Vec<String> = reasons
            .map(|(mailbox, reason)| format!("{mailbox}: {reason}"))
            .collect();
        let text = format!(
            "no mailbox of this wallet can be reached, trying again: {}",
            reasons.join("; ")
        );
        screen::notice(self.context, &text);
    }
}

impl std::fmt::Display for offered::LocalTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.is_http {
            true => write!(f, "http://{}", self.target),
            false => write!(f, "{}", self.target),
        }
    }
}

impl Service {
    /// How people write where it is.
    fn address(&self, host: &str) -> String {
        match (self.to.is_http, self.port) {
            (true, 80) => format!("http://{host}/"),
            (true, port) => format!("http://{host}:{port}/"),
            (false, port) => format!("{host}:{port}"),
        }
    }
}
