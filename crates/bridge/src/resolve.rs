//! From a target to addresses that may be connected to.
//!
//! A name is resolved once for each connection, each of its addresses is judged, and what was judged is what is connected
//! to: there is no second look-up that could answer otherwise (DNS rebinding). Aliases (CNAME) need no rule of their own,
//! since it is the addresses at their end that are judged.
//!
//! **Of a name with good and bad addresses the good ones are used.** To refuse the whole name would protect nobody, since
//! the bad addresses are not connected to in either case, and it would break sites that publish an address of their own
//! network by mistake.

mod hickory;

use core::future::Future;
use core::net::IpAddr;
use core::pin::Pin;

use protocol::target::{Host, Target};
use thiserror::Error;

use crate::policy::{Checked, Denial, Exit};
use protocol::target::HostName;

pub use hickory::{NameServers, SetupError, WebResolver};

/// The addresses of one name that are judged at most; the rest of a longer answer is not looked at.
pub const MAX_ANSWERS: usize = 32;

/// What [`Resolve::resolve`] comes to.
pub type Resolution<'a> =
    Pin<Box<dyn Future<Output = Result<Vec<IpAddr>, ResolveError>> + Send + 'a>>;

/// Whoever knows the addresses of names.
pub trait Resolve: Send + Sync + 'static {
    /// Finds the addresses of a name, of both families, in any order.
    fn resolve<'a>(&'a self, name: &'a HostName) -> Resolution<'a>;
}

/// Why a name has no addresses. Says nothing of the name, so that it can be logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// The name does not exist or has no addresses.
    #[error("there is no such host")]
    NoSuchHost,
    /// No name server gave an answer.
    #[error("no name server gave an answer")]
    Failed,
}

/// Why there is nothing to connect to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LookUpError {
    Denied(Denial),
    Resolve(ResolveError),
}

/// Judges a target, resolves its name if it has one, and judges what it resolved to.
pub(crate) async fn look_up(
    exit: &Exit,
    resolver: &dyn Resolve,
    target: &Target,
) -> Result<Vec<Checked>, LookUpError> {
    let name = match &target.host {
        Host::Name(name) => name,
        Host::Address(address) => {
            let checked = exit.check(None, *address, target.port);
            return checked.map(|one| vec![one]).map_err(LookUpError::Denied);
        }
    };
    exit.check_name(name, target.port)
        .map_err(LookUpError::Denied)?;
    let answers = resolver.resolve(name).await.map_err(LookUpError::Resolve)?;
    let mut accepted: Vec<Checked> = Vec::new();
    let mut denial = None;
    for address in answers.into_iter().take(MAX_ANSWERS) {
        match exit.check(Some(name), address, target.port) {
            Ok(checked) if !accepted.contains(&checked) => accepted.push(checked),
            Ok(_) => {}
            Err(why) => denial = Some(why),
        }
    }
    match (accepted.is_empty(), denial) {
        (false, _) => Ok(accepted),
        (true, Some(why)) => Err(LookUpError::Denied(why)),
        (true, None) => Err(LookUpError::Resolve(ResolveError::NoSuchHost)),
    }
}
