//! CONNECT, and whatever else turns a client's connection into a pipe.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use protocol::target::{Target, TargetError};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::answers::{Refusal, nothing};
use super::credentials::isolation;
use super::{Body, Http, Visit};
use crate::counters::Metered;
use crate::outbound::{Ask, Duplex};
use crate::splice::splice;

impl Http {
    /// Opens a connection to the host and port that are named, and hands the client's over to it.
    pub(super) async fn tunnel(
        &self,
        request: Request<Incoming>,
        visit: &Visit,
    ) -> Result<Response<Body>, Refusal> {
        let authority = request.uri().authority().ok_or(TargetError::NoHost)?;
        let port = authority.port_u16().ok_or(TargetError::Port)?;
        let target: Target = format!("{}:{port}", authority.host()).parse()?;
        let ask = Ask {
            target: target.clone(),
            isolation: isolation(request.headers())?,
            first: Bytes::new(),
        };
        let connected = self.ways.connect(ask).await;
        let mut server = connected.map_err(|error| Refusal::Connect { target, error })?;
        let (client, place) = (hyper::upgrade::on(request), Arc::clone(&visit.place));
        self.doorman.spawn(async move {
            let _place = place;
            let Some((client, early)) = taken::<TcpStream>(client).await else {
                return server.reset();
            };
            match server.write_all(&early).await {
                Ok(()) => splice(client, server).await,
                Err(_) => cut(client, server),
            }
        });
        Ok(Response::new(nothing()))
    }

    /// Joins a client and an origin that have agreed to speak something else.
    pub(super) fn join(&self, client: OnUpgrade, server: OnUpgrade, visit: &Visit) {
        let place = Arc::clone(&visit.place);
        self.doorman.spawn(async move {
            let _place = place;
            let (client, server) =
                tokio::join!(taken::<TcpStream>(client), taken::<Metered>(server));
            let (Some((mut client, from_client)), Some((mut server, from_server))) =
                (client, server)
            else {
                return;
            };
            let early = async {
                server.write_all(&from_client).await?;
                client.write_all(&from_server).await
            };
            match early.await {
                Ok(()) => splice(client, server).await,
                Err(_) => cut(client, server),
            }
        });
    }
}

/// The connection below HTTP, and what had been read of it.
async fn taken<T: Duplex + 'static>(upgrade: OnUpgrade) -> Option<(T, Bytes)> {
    let upgraded: Upgraded = upgrade.await.ok()?;
    let parts = upgraded.downcast::<TokioIo<T>>().ok()?;
    Some((parts.io.into_inner(), parts.read_buf))
}

fn cut(mut client: impl Duplex, mut server: impl Duplex) {
    client.reset();
    server.reset();
}
