//! What is served, and by which names.

use client::Client;
use ledger::{Name, ResolveError};
use protocol::target::Target;
use wallet::WalletAddress;

use crate::commands::name;
use crate::context::Context;
use crate::failure::{Context as _, Exit, Failure, Outcome};
use crate::screen::Steps;

/// One server of this machine, and the port by which callers reach it.
#[derive(Debug, Clone)]
pub(super) struct Service {
    pub(super) port: u16,
    pub(super) to: LocalTarget,
}

/// Where a server listens.
#[derive(Debug, Clone)]
pub(super) struct LocalTarget {
    pub(super) target: Target,
    /// Whether it speaks HTTP.
    pub(super) is_http: bool,
}

/// All that is served.
#[derive(Debug)]
pub(super) struct Offered {
    wallet: WalletAddress,
    names: Vec<Name>,
    pub(super) services: Vec<Service>,
}

impl Offered {
    pub(super) fn new(wallet: WalletAddress, names: Vec<Name>, services: Vec<Service>) -> Self {
        Self {
            wallet,
            names,
            services,
        }
    }

    /// What callers call the services.
    pub(super) fn targets(&self) -> Outcome<Vec<Target>> {
        let mut targets = Vec::new();
        for service in &self.services {
            for host in self.hosts()? {
                let target = format!("{host}:{}", service.port);
                targets.push(target.parse::<Target>().context(target)?);
            }
        }
        Ok(targets)
    }

    /// How people write where a service is, its names first.
    pub(super) fn addresses<'o>(&'o self, service: &'o Service) -> impl Iterator<Item = String> {
        let names = self.names.iter().map(|name| name.as_str().to_owned());
        let hosts = names.chain([self.own_host()]);
        hosts.map(|host| service.address(&host))
    }

    /// What requests to a service have in `Host`.
    pub(super) fn authorities(&self, service: &Service) -> Outcome<Vec<String>> {
        let hosts = self.hosts()?.into_iter();
        Ok(hosts
            .map(|host| match service.port {
                80 => host,
                port => format!("{host}:{port}"),
            })
            .collect())
    }

    fn hosts(&self) -> Outcome<Vec<String>> {
        let mut hosts = vec![self.own_host()];
        for name in &self.names {
            hosts.push(name.host().context(name)?);
        }
        Ok(hosts)
    }

    fn own_host(&self) -> String {
        format!("{}.conet", self.wallet.to_string().to_ascii_lowercase())
    }
}

/// Reads which servers are meant.
pub(super) fn services(to: Option<&str>, port: u16, tcp: &[String]) -> Outcome<Vec<Service>> {
    let mut services = Vec::new();
    if let Some(url) = to {
        services.push(Service {
            port,
            to: http_target(url)?,
        });
    }
    for text in tcp {
        services.push(tcp_service(text)?);
    }
    for (place, service) in services.iter().enumerate() {
        let same = |other: &Service| other.port == service.port;
        if services.iter().skip(place + 1).any(same) {
            let message = format!(
                "two servers want port {}: give one another port (--port N, --tcp N=HOST:PORT)",
                service.port
            );
            return Err(Failure::new(Exit::Usage, message));
        }
    }
    Ok(services)
}

fn http_target(url: &str) -> Outcome<LocalTarget> {
    let wrong = |why: &str| {
        let message = format!("{url}: {why}, as in http://127.0.0.1:3000");
        Failure::new(Exit::Usage, message)
    };
    let rest = url.strip_prefix("http://");
    let rest = rest.ok_or_else(|| wrong("give the address of an http server"))?;
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.contains(['/', '?', '#', '@']) {
        return Err(wrong("a server is served as a whole: leave out the path"));
    }
    let with_port = match authority.parse::<Target>() {
        Ok(_) => authority.to_owned(),
        Err(_) => format!("{authority}:80"),
    };
    let target = with_port.parse();
    Ok(LocalTarget {
        target: target.map_err(|error| wrong(&format!("{error}")))?,
        is_http: true,
    })
}

fn tcp_service(text: &str) -> Outcome<Service> {
    let wrong = |why: String| {
        let message = format!("{text}: {why}, as in 127.0.0.1:22 or 2222=127.0.0.1:22");
        Failure::new(Exit::Usage, message)
    };
    let (port, server) = match text.split_once('=') {
        Some((port, server)) => (Some(port), server),
        None => (None, text),
    };
    let target: Target = server.parse().map_err(|error| wrong(format!("{error}")))?;
    let port = match port {
        None => target.port.get(),
        Some(port) => match port.parse() {
            Ok(port @ 1..) => port,
            _ => return Err(wrong("the port is no number from 1 to 65535".to_owned())),
        },
    };
    Ok(Service {
        port,
        to: LocalTarget {
            target,
            is_http: false,
        },
    })
}

/// Reads the names, and sees to it that each says the wallet.
pub(super) async fn names(
    context: &Context,
    client: &Client,
    texts: &[String],
    register: bool,
    steps: &Steps,
) -> Outcome<Vec<Name>> {
    let mut names = Vec::new();
    let Some(network) = client.network() else {
        return Ok(names);
    };
    let wallet = client.address();
    for text in texts {
        let name = name::read(text)?;
        steps.begin(format!("looking up {name}"));
        let mut said = network.resolve(&name).await;
        if said == Err(ResolveError::Unregistered) && register {
            name::obtain(context, &name).await?;
            let ours = |record: &ledger::NameRecord| record.wallet == Some(wallet);
            network.name_seen(&name, ours).await;
            said = network.resolve(&name).await;
        }
        match said {
            Ok(said) if said == wallet => names.push(name),
            Ok(other) => {
                let message = format!(
                    "{name} says {other} and not this wallet, {wallet}: its owner can change that (conet name set {name})"
                );
                return Err(Failure::new(Exit::Refused, message));
            }
            Err(error) => return Err(not_ours(&name, &error)),
        }
    }
    Ok(names)
}

fn not_ours(name: &Name, error: &ResolveError) -> Failure {
    let advice = match error {
        ResolveError::Unregistered => {
            format!("nobody has it: conet name register {name}, or add --register")
        }
        ResolveError::Expired { .. } => {
            format!("its registration is over: conet name renew {name}")
        }
        ResolveError::NoWallet => format!("it says no wallet: conet name set {name}"),
        other => other.to_string(),
    };
    Failure::new(Exit::NotFound, format!("{name}: {advice}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(texts: &[&str]) -> Outcome<Vec<Service>> {
        let texts: Vec<String> = texts.iter().map(ToString::to_string).collect();
        services(None, 80, &texts)
    }

    #[test]
    fn servers_are_read_with_the_ports_that_callers_use() {
        let read = services(
            Some("http://127.0.0.1:3000/"),
            80,
            &["2222=[::1]:22".into()],
        )
        .unwrap();
        let read: Vec<_> = read
            .iter()
            .map(|service| (service.port, service.to.to_string()))
            .collect();
        assert_eq!(
            read,
            [
                (80, "http://127.0.0.1:3000".to_owned()),
                (2222, "[::1]:22".to_owned())
            ]
        );
        assert_eq!(tcp(&["localhost:22"]).unwrap()[0].port, 22);
        let bare = services(Some("http://localhost"), 8080, &[]).unwrap();
        assert_eq!(bare[0].to.to_string(), "http://localhost:80");
    }

    #[test]
    fn servers_that_are_none_are_wrong_usage() {
        for url in [
            "127.0.0.1:3000",
            "https://127.0.0.1:3000",
            "http://127.0.0.1:3000/app",
            "http://me@127.0.0.1:3000",
            "http://",
        ] {
            let refused = services(Some(url), 80, &[]).unwrap_err();
            assert_eq!(refused.exit, Exit::Usage, "{url}");
        }
        for text in ["22", "0=127.0.0.1:22", "x=127.0.0.1:22", "127.0.0.1:0"] {
            assert_eq!(tcp(&[text]).unwrap_err().exit, Exit::Usage, "{text}");
        }
        let twice = tcp(&["127.0.0.1:22", "22=127.0.0.1:2222"]).unwrap_err();
        assert!(twice.message().contains("port 22"));
    }
}
