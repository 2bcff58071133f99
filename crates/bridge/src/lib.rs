//! How a bridge node reaches the web for others: exit policy, resolver, connections, datagrams, limits.
//!
//! A crate of its own so that nothing else depends on a resolver. It never learns who asks (a client is a number), never
//! writes down what is asked for, at no level of the log, and never connects to an address that was not judged in that
//! very form.
//!
//! [`Bridge`] is the whole: [`Bridge::connect`] for connections, [`Bridge::associate`] for datagrams. [`policy`] is pure and
//! says what is let out. docs/bridge.md says the same in plain words.
//!
//! ```
//! use bridge::{Bridge, Config, NameServers};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! let site = listener.local_addr()?;
//! let config = Config {
//!     allow: vec![site.to_string().parse()?],
//!     name_servers: NameServers::Given(vec!["127.0.0.1:53".parse()?]),
//!     ..Config::default()
//! };
//! let bridge = Bridge::new(config)?;
//! let connection = bridge.connect(1, &site.to_string().parse()?).await?;
//! assert_eq!(connection.stream.peer_addr()?, site);
//! assert!(bridge.connect(1, &"127.0.0.1:22".parse()?).await.is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod bridge;
mod connect;
mod dial;
mod limits;
mod outside;
pub mod policy;
mod resolve;
mod udp;

pub use bridge::{Bridge, Config, Timeouts};
pub use connect::{Blame, ConnectError, Connection};
pub use dial::{MAX_ADDRESSES, STAGGER};
pub use limits::{Busy, Gate, Limits, Pending, Permit, Quota};
pub use outside::{Machine, Outside, Route};
pub use resolve::{
    MAX_ANSWERS, NameServers, Resolution, Resolve, ResolveError, SetupError, WebResolver,
};
pub use udp::{
    AssociateError, Association, MAX_DATAGRAM_BYTES, MAX_LOOK_UPS, MAX_PEERS, PEER_IDLE,
    ReceiveError, SendError,
};
