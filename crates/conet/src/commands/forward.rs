//! `conet forward`: ports of this machine that lead to services.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use client::Network;
use client::home::{Account, Home};
use client::services::{ServiceCall, ServiceError};
use client::streams::{Reset, Stream, StreamPrivacy};
use ledger::Name;
use parking_lot::Mutex;
use protocol::target::{Host, HostName, Target};
use serde_json::json;
use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::proxy::whom;
use crate::context::Context;
use crate::failure::{Context as _, Exit, Failure, Outcome};
use crate::screen::{self, Steps, print, print_json};
use crate::stopping;

/// How long to wait for the first nodes of the network.
const READY_PATIENCE: Duration = Duration::from_secs(30);
/// Connections at once; more wait to be accepted.
const MAX_CONNECTIONS: usize = 4_096;
/// Bytes that are moved at once in each direction.
const BUFFER_BYTES: usize = 64 * 1024;
/// Wait after a connection could not be accepted: the system may be short of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long the last words to services may take at the end.
const FAREWELL: Duration = Duration::from_millis(300);

/// Arguments of `conet forward`.
#[derive(Debug, Args)]
pub(crate) struct ForwardArgs {
    /// Where to listen, and the service and its port: 127.0.0.1:2222:ssh-box.conet:22. Without an address it is
    /// 127.0.0.1; IPv6 stands in brackets.
    #[arg(value_name = "[ADDR:]PORT:SERVICE:PORT", required = true)]
    forwards: Vec<Forward>,
    /// Prove to the service to be this wallet of the home: a service may let in only some.
    #[arg(long = "as", value_name = "LABEL|0x…")]
    as_wallet: Option<String>,
    /// Leave out the relay: faster, but the entry knows the service's mailbox.
    #[arg(long)]
    direct: bool,
    /// Listen where other machines can connect: whoever reaches the port uses the service as you do.
    #[arg(long)]
    allow_remote: bool,
}

/// One port, and where it leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Forward {
    listen: SocketAddr,
    service: Target,
}

impl FromStr for Forward {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let how = "write it as 127.0.0.1:2222:ssh-box.conet:22";
        let mut parts = text.rsplitn(3, ':');
        let (Some(port), Some(host), Some(listen)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(how.to_owned());
        };
        let listen = match listen.parse::<u16>() {
            Ok(port) => SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port),
            Err(_) => listen
                .parse()
                .map_err(|_| format!("{listen} is no address and port to listen on: {how}"))?,
        };
        let port: NonZeroU16 = port
            .parse()
            .map_err(|_| format!("{port} is no port of a service: {how}"))?;
        let host = service_host(host)?;
        let host = Host::Name(host);
        Ok(Self {
            listen,
            service: Target { host, port },
        })
    }
}

/// A service's name as people write it.
fn service_host(text: &str) -> Result<HostName, String> {
    if !Name::is_meant(text) {
        return Err(format!("{text} is no service: its name ends in .conet"));
    }
    let is_address = text.starts_with("0x") || text.starts_with("0X");
    let host = match is_address || text.split('.').any(|label| label.starts_with("xn--")) {
        true => text.to_owned(),
        false => {
            let name = Name::parse(text).map_err(|error| format!("{text}: {error}"))?;
            name.host().map_err(|error| format!("{text}: {error}"))?
        }
    };
    host.parse().map_err(|error| format!("{text}: {error}"))
}

/// Forwards until a signal.
pub(crate) async fn run(context: &Context, args: ForwardArgs) -> Outcome {
    let stop = stopping::on_signal()?;
    let mut listeners = Vec::new();
    for forward in args.forwards {
        if !args.allow_remote && !forward.listen.ip().to_canonical().is_loopback() {
            let message = format!(
                "{} is open to other machines: listen on 127.0.0.1 or [::1], or add --allow-remote",
                forward.listen
            );
            return Err(Failure::new(Exit::Usage, message));
        }
        let listener = TcpListener::bind(forward.listen).await;
        listeners.push((listener.context(forward.listen)?, forward.service));
    }
    let home = context.home()?;
    let caller = match &args.as_wallet {
        Some(named) => Some(Arc::new(context.unlock(&home, Some(named)).await?)),
        None => None,
    };
    let steps = Steps::new(&context.global);
    steps.begin("joining the network");
    let network = Network::open(context.home_path(), context.network()?).await?;
    network.exclude_as_entries(home.mailboxes()?);
    network.ready(READY_PATIENCE).await?;
    // Typing errors show now and not with the first connection.
    for (_, service) in &listeners {
        if let Host::Name(host) = &service.host {
            (network.resolve_service(host).await).context(service)?;
        }
    }
    steps.end();
    announce(context, &listeners)?;
    let forwarding = Arc::new(Forwarding {
        context: context.clone(),
        network,
        home,
        caller,
        privacy: match args.direct {
            true => StreamPrivacy::Direct,
            false => StreamPrivacy::Relayed,
        },
        told: Mutex::default(),
        stop: stop.clone(),
        tasks: TaskTracker::new(),
        places: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
    });
    let accepting = listeners.into_iter().map(|(listener, service)| {
        let forwarding = Arc::clone(&forwarding);
        async move { forwarding.accept(listener, service).await }
    });
    tokio::select! {
        () = stop.cancelled() => {}
        _ = futures_util::future::join_all(accepting) => {}
    }
    forwarding.tasks.close();
    forwarding.tasks.wait().await;
    tokio::time::sleep(FAREWELL).await;
    Ok(Exit::Done)
}

fn announce(context: &Context, listeners: &[(TcpListener, Target)]) -> Outcome<()> {
    let mut all = Vec::new();
    for (listener, service) in listeners {
        let address = listener.local_addr()?;
        if !context.global.json {
            print(&format!("{address}  →  {service}"))?;
        }
        all.push(json!({ "listen": address, "service": service.to_string() }));
    }
    if context.global.json {
        return print_json(&json!({ "forwards": all }));
    }
    if !context.global.quiet {
        screen::tell("Ctrl-C stops it.");
    }
    Ok(())
}

/// What all forwarded ports share.
struct Forwarding {
    context: Context,
    network: Network,
    home: Home,
    caller: Option<Arc<Account>>,
    privacy: StreamPrivacy,
    /// What went wrong and was told; each of it once until a connection works.
    told: Mutex<BTreeSet<String>>,
    stop: CancellationToken,
    tasks: TaskTracker,
    places: Arc<Semaphore>,
}

impl Forwarding {
    async fn accept(self: Arc<Self>, listener: TcpListener, service: Target) {
        loop {
            let Ok(place) = Arc::clone(&self.places).acquire_owned().await else {
                return;
            };
            let socket = match listener.accept().await {
                Ok((socket, _)) => socket,
                Err(_) => {
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let (this, service) = (Arc::clone(&self), service.clone());
            self.tasks.spawn(async move {
                let _place = place;
                this.carry(socket, service).await;
            });
        }
    }

    async fn carry(&self, mut socket: TcpStream, service: Target) {
        let _best_effort = socket.set_nodelay(true);
        let opened = tokio::select! {
            biased;
            () = self.stop.cancelled() => return,
            opened = self.open(&service) => opened,
        };
        let mut stream = match opened {
            Ok(stream) => stream,
            Err(failure) => {
                let text = format!("{service}: {}", failure.message());
                if self.told.lock().insert(text.clone()) {
                    screen::notice(&self.context, &text);
                }
                let _best_effort = socket.set_zero_linger();
                return;
            }
        };
        self.told.lock().clear();
        let copied = tokio::select! {
            biased;
            () = self.stop.cancelled() => None,
            copied = copy_bidirectional_with_sizes(&mut socket, &mut stream, BUFFER_BYTES, BUFFER_BYTES) => copied.ok(),
        };
        if copied.is_none() {
            // A connection that failed must not look as if it had ended.
            let _best_effort = socket.set_zero_linger();
            stream.reset(Reset::Aborted);
        }
    }

    async fn open(&self, service: &Target) -> Outcome<Stream> {
        let Host::Name(host) = &service.host else {
            return Err(Failure::new(Exit::Usage, "this is no service"));
        };
        let wallet = self.network.resolve_service(host).await?;
        let call = ServiceCall {
            wallet: whom(&self.home, wallet),
            target: service.clone(),
            privacy: self.privacy,
            caller: self.caller.clone(),
            first: Bytes::new(),
        };
        let opened = self.network.open_service(call).await;
        opened.map_err(|error| match error {
            ServiceError::Denied if self.caller.is_none() => Failure::new(
                Exit::Refused,
                "the service does not let in callers whom it does not know: add --as WALLET",
            ),
            error => error.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forward_is_read_with_and_without_an_address_to_listen_on() {
        for (text, listen, service) in [
            (
                "127.0.0.1:2222:ssh-box.conet:22",
                "127.0.0.1:2222",
                "ssh-box.conet:22",
            ),
            ("[::1]:0:Shop.conet:80", "[::1]:0", "shop.conet:80"),
            (
                "2222:b\u{fc}cher.conet:22",
                "127.0.0.1:2222",
                "xn--bcher-kva.conet:22",
            ),
            (
                "1:0x00000000000000000000000000000000000000FF.conet:9",
                "127.0.0.1:1",
                "0x00000000000000000000000000000000000000ff.conet:9",
            ),
        ] {
            let read: Forward = text.parse().unwrap();
            assert_eq!(read.listen, listen.parse().unwrap(), "{text}");
            assert_eq!(read.service.to_string(), service, "{text}");
        }
    }

    #[test]
    fn forward_that_is_none_is_refused() {
        for text in [
            "2222",
            "2222:shop.conet",
            "2222:shop.conet:0",
            "2222:example.org:22",
            "host:2222:shop.conet:22",
            "2222:sh\u{43e}p.conet:22",
            "2222::22",
        ] {
            assert!(text.parse::<Forward>().is_err(), "{text}");
        }
    }
}
