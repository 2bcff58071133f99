//! Which way a connection takes: around the network by a bypass rule, or through it. Both are counted here.

use std::sync::Arc;
use std::time::Duration;

use protocol::target::Target;
use tokio::time::timeout;

use crate::bypass::Bypass;
use crate::counters::{Counters, Metered};
use crate::outbound::{Ask, Associated, ConnectError, Direct, Isolation, Outbound, is_service};

/// The ways out.
pub(crate) struct Ways {
    pub(crate) outbound: Arc<dyn Outbound>,
    pub(crate) bypass: Bypass,
    pub(crate) counters: Arc<Counters>,
    pub(crate) connect_timeout: Duration,
}

impl Ways {
    /// Connects, by the way that the bypass rules say, within the time that is set.
    pub(crate) async fn connect(&self, ask: Ask) -> Result<Metered, ConnectError> {
        let first = ask.first.len();
        let way: &dyn Outbound = match self.bypasses(&ask.target) {
            true => &Direct,
            false => &*self.outbound,
        };
        match timeout(self.connect_timeout, way.connect(ask)).await {
            Ok(Ok(connected)) => Ok(Metered::new(connected, &self.counters, first)),
            Ok(Err(error)) => Err(self.failed(error)),
            Err(_) => Err(self.failed(ConnectError::TimedOut)),
        }
    }

    /// Opens a place for datagrams through the network.
    pub(crate) async fn associate(&self, isolation: Isolation) -> Result<Associated, ConnectError> {
        match timeout(self.connect_timeout, self.outbound.associate(isolation)).await {
            Ok(opened) => opened.map_err(|error| self.failed(error)),
            Err(_) => Err(self.failed(ConnectError::TimedOut)),
        }
    }

    pub(crate) fn bypasses(&self, target: &Target) -> bool {
        // Whatever the rules say: outside of the network nobody is to hear of a service.
        !is_service(&target.host) && self.bypass.matches(&target.host)
    }

    fn failed(&self, error: ConnectError) -> ConnectError {
        self.counters.count_failed();
        error
    }
}
