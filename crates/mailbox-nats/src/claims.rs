//! What the processes of one key have obeyed: each command's nonce is claimed once among them.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{DiscardPolicy, StorageType};
use bytes::Bytes;

use crate::config::{NatsConfig, OpenError, connect};
use crate::store::is_conflict;

/// How long a claim stands: a command is accepted within two minutes of its time by each clock, and
/// the clocks of one operator's machines differ by less than a few.
const CLAIM_KEPT: Duration = Duration::from_secs(15 * 60);

/// Claims that stand at once, at most; new ones are refused then, so that none is forgotten early.
const CLAIMS_MAX: i64 = 16 << 20;

/// Claims of nonces in a stream beside the store's.
pub struct NatsClaims {
    context: jetstream::Context,
    prefix: String,
}

impl NatsClaims {
    /// Connects, and makes the stream if there is none.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open(config: &NatsConfig) -> Result<Self, OpenError> {
        let connection = connect(config).await?;
        let prefix = format!("{}.claim", config.prefix());
        let stream = jetstream::stream::Config {
            name: format!("conet-{}-claims", config.name),
            subjects: vec![format!("{prefix}.*")],
            max_messages_per_subject: 1,
            max_messages: CLAIMS_MAX,
            max_age: CLAIM_KEPT,
            discard: DiscardPolicy::New,
            storage: StorageType::File,
            num_replicas: config.replicas,
            // The condition on each claim is what keeps it single.
            duplicate_window: Duration::from_secs(1),
            ..Default::default()
        };
        connection
            .context
            .get_or_create_stream(stream)
            .await
            .map_err(OpenError::jetstream("make the stream of claims"))?;
        Ok(Self {
            context: connection.context,
            prefix,
        })
    }

    /// Claims a nonce; `false` if some process claimed it within the last 15 minutes.
    ///
    /// # Errors
    /// When the servers don't answer or have no room: the nonce may be claimed then, so the command
    /// must not be obeyed.
    pub async fn claim(&self, nonce: [u8; 16]) -> Result<bool, std::io::Error> {
        let subject = format!("{}.{}", self.prefix, hex::encode(nonce));
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Expected-Last-Subject-Sequence", "0");
        let message = PublishMessage::build()
            .headers(headers)
            .payload(Bytes::new());
        let claimed = async { self.context.send_publish(subject, message).await?.await };
        match claimed.await {
            Ok(_) => Ok(true),
            Err(error) if is_conflict(&error) => Ok(false),
            Err(error) => Err(std::io::Error::other(error)),
        }
    }
}
