//! A way out for services of the network itself beside the one for the rest of the world.
//!
//! **Invariant**: a name below `.conet` goes to [`Services`] and to nobody else, as a connection or as the target of a
//! datagram.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use protocol::target::Target;

use super::{
    Ask, Associated, ConnectError, Connected, DatagramError, Datagrams, Duplex, Isolation,
    Outbound, OutboundStatus, is_service,
};

/// What carries connections to services.
pub trait Services: Send + Sync + 'static {
    /// Opens a connection to a service by its name below `.conet`, and waits until it is there.
    fn connect(&self, ask: Ask) -> BoxFuture<'_, Result<Box<dyn Duplex>, ConnectError>>;
}

/// An [`Outbound`] that takes services to [`Services`], and all else to another.
pub struct Split<S> {
    services: S,
    rest: Arc<dyn Outbound>,
}

/// Datagrams to the rest of the world.
struct WithoutServices(Box<dyn Datagrams>);

impl<S: Services> Split<S> {
    /// Splits.
    #[must_use]
    pub fn new(services: S, rest: Arc<dyn Outbound>) -> Self {
        Self { services, rest }
    }
}

impl<S: Services> Outbound for Split<S> {
    fn connect(&self, ask: Ask) -> BoxFuture<'_, Result<Connected, ConnectError>> {
        if !is_service(&ask.target.host) {
            return self.rest.connect(ask);
        }
        Box::pin(async move {
            Ok(Connected {
                stream: self.services.connect(ask).await?,
                bridge: None,
                is_to_service: true,
            })
        })
    }

    fn associate(&self, isolation: Isolation) -> BoxFuture<'_, Result<Associated, ConnectError>> {
        Box::pin(async move {
            let associated = self.rest.associate(isolation).await?;
            Ok(Associated {
                datagrams: Box::new(WithoutServices(associated.datagrams)),
                bridge: associated.bridge,
            })
        })
    }

    fn status(&self) -> OutboundStatus {
        self.rest.status()
    }
}

impl Datagrams for WithoutServices {
    fn send(&self, target: Target, payload: Bytes) -> BoxFuture<'_, Result<(), DatagramError>> {
        if is_service(&target.host) {
            return Box::pin(async { Err(DatagramError::Dropped) });
        }
        self.0.send(target, payload)
    }

    fn receive(&self) -> BoxFuture<'_, Result<(Target, Bytes), DatagramError>> {
        self.0.receive()
    }
}
