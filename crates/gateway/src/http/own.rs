//! The proxy's own pages: a PAC file, a status page and the same as JSON.
//!
//! # Security
//!
//! Browsers on this machine run programs of strangers. None of them gets to read these pages: the `Host` must name this
//! listener by a loopback name or address, which no rebound name does, and a request that another site caused is refused.

use std::net::{IpAddr, SocketAddr};

use http::header::{HOST, HeaderMap, HeaderName, ORIGIN};
use http::uri::Authority;
use http::{Method, Request, Response};
use hyper::body::Incoming;
use protocol::target::Host;
use serde::Serialize;

use super::answers::{Refusal, escape, html, page};
use super::{Body, Http, Visit};
use crate::counters::{Counted, Flow};
use crate::outbound::OutboundStatus;
use crate::pac;

const HTTP_PORT: u16 = 80;

/// What `/status.json` says.
#[derive(Serialize)]
struct Status {
    socks: Option<SocketAddr>,
    http: SocketAddr,
    outbound: OutboundStatus,
    traffic: Counted,
    bypass: Vec<String>,
}

impl Http {
    /// Serves one of the own pages.
    pub(super) fn own(
        &self,
        request: &Request<Incoming>,
        visit: &Visit,
    ) -> Result<Response<Body>, Refusal> {
        let host = self.own_host(request.headers(), visit)?;
        refuse_foreign_sites(request.headers(), &host)?;
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return Err(Refusal::ReadOnly);
        }
        match request.uri().path() {
            "/proxy.pac" => Ok(self.pac(visit)),
            "/" | "/status.json" if !visit.from.ip().to_canonical().is_loopback() => {
                Err(Refusal::Remote)
            }
            "/" => Ok(html(&self.overview(&self.status()))),
            "/status.json" => {
                let status = serde_json::to_string(&self.status()).unwrap_or_default();
                Ok(page("application/json", status))
            }
            _ => Err(Refusal::NoPage),
        }
    }

    /// Checks that a client means this listener and gives the name it means it by.
    fn own_host(&self, headers: &HeaderMap, visit: &Visit) -> Result<Authority, Refusal> {
        let mut hosts = headers.get_all(HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else {
            return Err(Refusal::ForeignHost);
        };
        let authority = Authority::try_from(host.as_bytes()).map_err(|_| Refusal::ForeignHost)?;
        let is_ours = match authority.host().parse() {
            Ok(Host::Name(name)) => name.as_str() == "localhost",
            Ok(Host::Address(address)) => {
                // An address can't be rebound; one of the local network is good where that was let in.
                let is_local =
                    self.allow_remote && address.to_canonical() == visit.local.ip().to_canonical();
                is_local || address.to_canonical().is_loopback()
            }
            Err(_) => false,
        };
        let port = authority.port_u16().unwrap_or(HTTP_PORT);
        let is_bare = !authority.as_str().contains('@');
        match is_ours && is_bare && port == visit.local.port() {
            true => Ok(authority),
            false => Err(Refusal::ForeignHost),
        }
    }

    fn pac(&self, visit: &Visit) -> Response<Body> {
        let reached = visit.local.ip();
        let socks = self.socks.map(|address| seen(address, reached));
        let script = pac::script(&self.ways.bypass, socks, seen(self.http, reached));
        page("application/x-ns-proxy-autoconfig", script)
    }

    fn status(&self) -> Status {
        let rules = self.ways.bypass.rules().iter();
        Status {
            socks: self.socks,
            http: self.http,
            outbound: self.ways.outbound.status(),
            traffic: self.ways.counters.read(),
            bypass: rules.map(ToString::to_string).collect(),
        }
    }

    fn overview(&self, status: &Status) -> String {
        let Status {
            outbound, traffic, ..
        } = status;
        let up = if outbound.is_up { "up" } else { "down" };
        let socks = status
            .socks
            .map_or("off".into(), |address| address.to_string());
        let mut rows = row("all", "", &traffic.total, "")
            + &row("directly", "", &traffic.direct, "")
            + &row("to services", "", &traffic.services, "");
        for bridge in &outbound.bridges {
            let health = match (bridge.is_healthy, bridge.latency_ms) {
                (false, _) => "avoided".to_owned(),
                (true, None) => "not used yet".to_owned(),
                (true, Some(ms)) => format!("{ms} ms"),
            };
            let flow = traffic.bridges.get(&bridge.id).copied().unwrap_or_default();
            rows += &row(&bridge.id, &health, &flow, &bridge.offer);
        }
        format!(
            "<title>CONET proxy</title><meta http-equiv=\"refresh\" content=\"5\"><h1>CONET proxy: {up}</h1><p>{}</p>\
             <p>SOCKS5: {socks}<br>HTTP: {}<br>Automatic: <a href=\"/proxy.pac\">/proxy.pac</a><br>\
             Bypass rules: {}</p><table><tr><th><th>health<th>open<th>opened<th>bytes up<th>bytes down<th>offer{rows}</table>\
             <p>{} could not be opened, {} clients found no place. Where connections go is not kept.</p>",
            escape(&outbound.note),
            status.http,
            status.bypass.len(),
            traffic.failed,
            traffic.turned_away,
        )
    }
}

fn row(name: &str, health: &str, flow: &Flow, offer: &str) -> String {
    format!(
        "<tr><td>{}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}",
        escape(name),
        escape(health),
        flow.open,
        flow.opened,
        flow.up_bytes,
        flow.down_bytes,
        escape(offer)
    )
}

/// A listener's address as this client reaches it.
fn seen(listener: SocketAddr, reached: IpAddr) -> SocketAddr {
    match listener.ip().is_unspecified() {
        true => SocketAddr::new(reached.to_canonical(), listener.port()),
        false => listener,
    }
}

/// Refuses what a page of another site caused. Of two programs on this machine each is another site.
fn refuse_foreign_sites(headers: &HeaderMap, host: &Authority) -> Result<(), Refusal> {
    let own = format!("http://{host}");
    let mut origins = headers.get_all(ORIGIN).iter();
    let sites = headers.get_all(HeaderName::from_static("sec-fetch-site"));
    let are_own = origins.all(|origin| origin.as_bytes().eq_ignore_ascii_case(own.as_bytes()));
    match are_own
        && sites
            .iter()
            .all(|site| site == "none" || site == "same-origin")
    {
        true => Ok(()),
        false => Err(Refusal::ForeignSite),
    }
}
