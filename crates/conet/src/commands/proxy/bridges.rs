//! Bridges as the proxies see them: streams to nodes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use client::Network;
use client::streams::{OpenError, Purpose, Reset, Stream, StreamPrivacy};
use futures_util::future::BoxFuture;
use gateway::{Ask, Bridges, ConnectError, Datagrams, Duplex, Isolation};
use protocol::NodeId;
use protocol::target::Target;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::datagrams::CarriedDatagrams;
use super::offers::Offers;

/// Opens streams to bridges.
#[derive(Debug)]
pub(super) struct NodeBridges {
    network: Network,
    privacy: StreamPrivacy,
    offers: Offers,
}

impl NodeBridges {
    pub(super) fn new(network: Network, privacy: StreamPrivacy, offers: Offers) -> Self {
        Self {
            network,
            privacy,
            offers,
        }
    }
}

/// A stream as the proxies use it.
pub(super) struct Carried(Option<Stream>);

impl Bridges for NodeBridges {
    fn takes(&self, bridge: NodeId, target: &Target) -> bool {
        self.offers.takes(bridge, target)
    }

    fn offer(&self, bridge: NodeId) -> String {
        self.offers.line(bridge)
    }

    fn note(&self) -> String {
        self.offers.note()
    }

    fn connect(
        &self,
        bridge: NodeId,
        ask: Ask,
    ) -> BoxFuture<'_, Result<Box<dyn Duplex>, ConnectError>> {
        Box::pin(async move {
            let purpose = Purpose::Connect(ask.target);
            let opened = self
                .network
                .open_stream(bridge, purpose, self.privacy, ask.first)
                .await;
            match opened {
                Ok(stream) => Ok(Box::new(Carried::new(stream)) as Box<dyn Duplex>),
                Err(error) => Err(reason(&error)),
            }
        })
    }

    fn associate(
        &self,
        bridge: NodeId,
        _isolation: Isolation,
    ) -> BoxFuture<'_, Result<Box<dyn Datagrams>, ConnectError>> {
        Box::pin(async move {
            let opened = self
                .network
                .open_stream(bridge, Purpose::Datagrams, self.privacy, Bytes::new())
                .await;
            match opened {
                Ok(stream) => Ok(Box::new(CarriedDatagrams::new(stream)) as Box<dyn Datagrams>),
                Err(error) => Err(reason(&error)),
            }
        })
    }
}

fn reason(error: &OpenError) -> ConnectError {
    match error {
        OpenError::Reset(Reset::Denied) => ConnectError::RefusedByPolicy,
        OpenError::Reset(Reset::NoSuchHost) => ConnectError::NoSuchHost,
        OpenError::Reset(Reset::Unreachable) => ConnectError::HostUnreachable,
        OpenError::Reset(Reset::Refused) => ConnectError::ConnectionRefused,
        OpenError::Reset(Reset::TimedOut) => ConnectError::TimedOut,
        OpenError::Reset(Reset::Busy) => ConnectError::Busy,
        OpenError::Path(_) => ConnectError::NetworkDown,
        _ => ConnectError::BridgeLost,
    }
}

impl Carried {
    pub(super) fn new(stream: Stream) -> Self {
        Self(Some(stream))
    }

    fn stream(self: Pin<&mut Self>) -> io::Result<Pin<&mut Stream>> {
        match &mut self.get_mut().0 {
            Some(stream) => Ok(Pin::new(stream)),
            None => Err(io::ErrorKind::ConnectionReset.into()),
        }
    }
}

impl Duplex for Carried {
    fn reset(&mut self) {
        if let Some(stream) = self.0.take() {
            stream.reset(Reset::Aborted);
        }
    }
}

impl AsyncRead for Carried {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.stream() {
            Ok(stream) => stream.poll_read(cx, buf),
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

impl AsyncWrite for Carried {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.stream() {
            Ok(stream) => stream.poll_write(cx, buf),
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.stream() {
            Ok(stream) => stream.poll_flush(cx),
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.stream() {
            Ok(stream) => stream.poll_shutdown(cx),
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}
