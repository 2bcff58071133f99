//! Services as the proxies see them: names below `.conet`, and streams to who serves them.

use client::Network;
use client::carrier::Target;
use client::home::Home;
use client::services::{ServiceCall, ServiceError, ServiceNameError};
use client::streams::{Reset, StreamPrivacy};
use futures_util::future::BoxFuture;
use gateway::{Ask, ConnectError, Duplex, Services};
use ledger::ResolveError;
use protocol::target::Host;
use wallet::WalletAddress;

use super::bridges::Carried;

/// Opens streams to services.
#[derive(Debug)]
pub(super) struct NetworkServices {
    network: Network,
    home: Home,
    privacy: StreamPrivacy,
}

impl NetworkServices {
    pub(super) fn new(network: Network, home: Home, privacy: StreamPrivacy) -> Self {
        Self {
            network,
            home,
            privacy,
        }
    }

    async fn open(&self, ask: Ask) -> Result<Box<dyn Duplex>, ConnectError> {
        let Host::Name(host) = &ask.target.host else {
            return Err(ConnectError::Unsupported);
        };
        let resolved = self.network.resolve_service(host).await;
        let wallet = resolved.map_err(|error| unresolved(&error))?;
        let call = ServiceCall {
            wallet: whom(&self.home, wallet),
            target: ask.target,
            privacy: self.privacy,
            caller: None,
            first: ask.first,
        };
        let opened = self.network.open_service(call).await;
        let stream = opened.map_err(|error| unopened(&error))?;
        Ok(Box::new(Carried::new(stream)))
    }
}

impl Services for NetworkServices {
    fn connect(&self, ask: Ask) -> BoxFuture<'_, Result<Box<dyn Duplex>, ConnectError>> {
        Box::pin(self.open(ask))
    }
}

/// A wallet, with what the contact book knows of how to reach it.
pub(in crate::commands) fn whom(home: &Home, wallet: WalletAddress) -> Target {
    match home.recipient(&wallet.to_string()) {
        Ok(known) => Target {
            wallet,
            fingerprint: known.fingerprint,
            mailboxes: known.mailboxes,
        },
        // The ledger may know more than a book that can't be read.
        Err(_) => Target::wallet(wallet),
    }
}

fn unresolved(error: &ServiceNameError) -> ConnectError {
    match error {
        ServiceNameError::Unresolved(ResolveError::Expired { .. }) => ConnectError::NameExpired,
        ServiceNameError::Unresolved(_) => ConnectError::NameUnknown,
        _ => ConnectError::NoName,
    }
}

fn unopened(error: &ServiceError) -> ConnectError {
    match error {
        ServiceError::NoMailbox | ServiceError::NotServed | ServiceError::NoAnswer => {
            ConnectError::NotServed
        }
        ServiceError::Denied => ConnectError::RefusedByService,
        ServiceError::Reset(Reset::Refused) => ConnectError::ConnectionRefused,
        ServiceError::Reset(Reset::Unreachable | Reset::NoSuchHost) => {
            ConnectError::HostUnreachable
        }
        ServiceError::Reset(Reset::TimedOut) | ServiceError::TimedOut => ConnectError::TimedOut,
        ServiceError::Reset(Reset::Busy) => ConnectError::Busy,
        ServiceError::Path(_) => ConnectError::NetworkDown,
        _ => ConnectError::ServiceLost,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_why_a_service_is_not_reached_has_words_of_its_own() {
        let over = ServiceNameError::Unresolved(ResolveError::Expired { expiry_s: 1 });
        assert_eq!(unresolved(&over), ConnectError::NameExpired);
        let unknown = ServiceNameError::Unresolved(ResolveError::Unregistered);
        assert_eq!(unresolved(&unknown), ConnectError::NameUnknown);
        let none = ServiceNameError::Name(ledger::NameError::TooLong);
        assert_eq!(unresolved(&none), ConnectError::NoName);
        for (error, told) in [
            (ServiceError::NotServed, ConnectError::NotServed),
            (ServiceError::Denied, ConnectError::RefusedByService),
            (
                ServiceError::Reset(Reset::Refused),
                ConnectError::ConnectionRefused,
            ),
            (ServiceError::TimedOut, ConnectError::TimedOut),
            (ServiceError::Lost, ConnectError::ServiceLost),
        ] {
            assert_eq!(unopened(&error), told, "{error}");
        }
    }
}
