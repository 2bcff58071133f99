//! The limits of a store on NATS, and opening one.

use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::{CreateStreamError, CreateStreamErrorKind};
use async_nats::jetstream::stream::{DiscardPolicy, RetentionPolicy, StorageType};

use crate::TARGET;
use crate::message::{MARK_KIND, PACKET_KIND, STATE_KIND};

/// Version of subjects, headers and state records.
const FORMAT: &str = "1";

/// Where a stream says its format.
const FORMAT_KEY: &str = "conet-format";

/// Longest name of a store.
const NAME_MAX: usize = 40;

/// Answers of the server that are waited for at once; more appends are answered `Busy`.
const IN_FLIGHT_MAX: usize = 16_384;

/// Room that the stream needs at least.
const LEAST_TOTAL_BYTES: u64 = 1 << 30;

/// How long an answer of the server may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes that the server adds to a packet's message: subject and headers.
pub(crate) const MESSAGE_OVERHEAD: usize = 512;

/// How long messages outlive the time to live at the server, in seconds: clocks differ.
pub(crate) const GRACE_S: u64 = 3600;

/// Settings of a [`NatsStore`](crate::NatsStore); all processes that share one must agree on them.
#[derive(Clone, Debug)]
pub struct NatsConfig {
    /// Servers of the cluster, as `nats://host:port` or `tls://user:password@host:port`, separated by commas.
    pub servers: String,
    /// Name of the store within the cluster: ASCII letters, digits, `-` and `_`, 40 at most.
    pub name: String,
    /// Servers that keep each message: 1, 3 or 5. Default 1.
    pub replicas: usize,
    /// Longest packet, in bytes. Default 1 MiB less 1 KiB, since a server takes messages of 1 MiB by default.
    pub max_packet_bytes: usize,
    /// Bytes of packets that one queue may keep. Default 256 MiB.
    pub queue_quota_bytes: u64,
    /// Packets that one queue may keep. Default 4 Mi.
    pub queue_quota_packets: u64,
    /// How long a packet is kept, and its hash remembered, in milliseconds. Default 14 days.
    pub ttl_ms: u64,
    /// Bytes that the stream may take on each server, which reserves them: where it can't, half of them are asked for,
    /// and so on down to 1 GiB. Default 64 GiB.
    pub max_total_bytes: u64,
    /// Queues that the store may keep. Default 1 Mi.
    pub max_queues: usize,
    /// Account records that the directory may keep. Default 1 Mi.
    pub max_accounts: usize,
}

impl NatsConfig {
    /// The default limits, for a store of that name on those servers.
    pub fn new(servers: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            servers: servers.into(),
            name: name.into(),
            replicas: 1,
            max_packet_bytes: (1 << 20) - (1 << 10),
            queue_quota_bytes: 256 << 20,
            queue_quota_packets: 4 << 20,
            ttl_ms: 14 * 24 * 60 * 60 * 1000,
            max_total_bytes: 64 << 30,
            max_queues: 1 << 20,
            max_accounts: 1 << 20,
        }
    }

    fn check(&self) -> Result<(), OpenError> {
        let refuse = |reason| Err(OpenError::Config { reason });
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if self.name.is_empty() || self.name.len() > NAME_MAX || !self.name.bytes().all(allowed) {
            return refuse("the name must be of 1 to 40 ASCII letters, digits, '-' and '_'");
        }
        if ![1, 3, 5].contains(&self.replicas) {
            return refuse("replicas must be 1, 3 or 5");
        }
        if self.ttl_ms == 0 || self.max_queues == 0 || self.max_packet_bytes == 0 {
            return refuse("ttl_ms, max_queues and max_packet_bytes must not be 0");
        }
        Ok(())
    }

    pub(crate) fn stream_name(&self) -> String {
        format!("conet-{}-packets", self.name)
    }

    pub(crate) fn bucket_name(&self) -> String {
        format!("conet-{}-accounts", self.name)
    }

    /// What all subjects begin with.
    pub(crate) fn prefix(&self) -> String {
        format!("conet.{}", self.name)
    }

    fn stream(&self, max_bytes: u64) -> jetstream::stream::Config {
        let prefix = self.prefix();
        jetstream::stream::Config {
            name: self.stream_name(),
            subjects: vec![
                format!("{prefix}.{PACKET_KIND}.*.*"),
                format!("{prefix}.{STATE_KIND}.*"),
                format!("{prefix}.{MARK_KIND}"),
            ],
            max_messages_per_subject: 1,
            max_bytes: i64::try_from(max_bytes).unwrap_or(i64::MAX),
            // What was acknowledged is never pushed out by what comes.
            discard: DiscardPolicy::New,
            retention: RetentionPolicy::Limits,
            storage: StorageType::File,
            num_replicas: self.replicas,
            allow_direct: true,
            allow_message_ttl: true,
            metadata: [(FORMAT_KEY.to_owned(), FORMAT.to_owned())].into(),
            ..Default::default()
        }
    }
}

/// Why a store on NATS could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// A configured limit makes no sense.
    #[error("invalid store configuration: {reason}")]
    Config {
        /// What is wrong and how it would be right.
        reason: &'static str,
    },
    /// No server could be reached, or none let this process in.
    #[error("could not connect to the NATS servers")]
    Connect(#[source] async_nats::ConnectError),
    /// The servers take shorter messages than the store's packets are.
    #[error(
        "the NATS servers take messages of {bytes} bytes, packets need {needed}: raise max_payload there"
    )]
    MaxPayload {
        /// What the server takes.
        bytes: usize,
        /// What it has to take.
        needed: usize,
    },
    /// The store was written in a format that this version doesn't know.
    #[error("store has format version {found}, this program reads version 1")]
    Version {
        /// The version in the stream's metadata.
        found: String,
    },
    /// The stream or the bucket could not be made or followed; JetStream has to be on, the server 2.11 or later.
    #[error("could not {action} on the NATS servers")]
    JetStream {
        /// What was being done.
        action: &'static str,
        /// Why it failed.
        #[source]
        source: async_nats::Error,
    },
}

impl OpenError {
    pub(crate) fn jetstream<E: Into<async_nats::Error>>(
        action: &'static str,
    ) -> impl Fn(E) -> Self {
        move |source| Self::JetStream {
            action,
            source: source.into(),
        }
    }
}

/// A connection to the cluster, with the store's stream there.
pub(crate) struct Connection {
    pub(crate) client: async_nats::Client,
    pub(crate) context: jetstream::Context,
    pub(crate) stream: jetstream::stream::Stream,
}

/// The stream, made if there is none, with as much room as the servers can reserve.
async fn stream(
    context: &jetstream::Context,
    config: &NatsConfig,
) -> Result<jetstream::stream::Stream, CreateStreamError> {
    let mut bytes = config.max_total_bytes;
    loop {
        let refused = match context.get_or_create_stream(config.stream(bytes)).await {
            Ok(stream) => {
                if bytes < config.max_total_bytes {
                    tracing::warn!(target: TARGET, bytes, wanted = config.max_total_bytes, "the servers have less room to reserve than was asked for");
                }
                return Ok(stream);
            }
            Err(refused) => refused,
        };
        let code = match refused.kind() {
            CreateStreamErrorKind::JetStream(error) => error.error_code(),
            _ => return Err(refused),
        };
        bytes = match code {
            // A cluster without enough servers says the same as one without enough room.
            ErrorCode::STORAGE_RESOURCES_EXCEEDED
            | ErrorCode::INSUFFICIENT_RESOURCES
            | ErrorCode::CLUSTER_NO_PEERS
                if bytes / 2 >= LEAST_TOTAL_BYTES =>
            {
                bytes / 2
            }
            // Another process was faster and found less room, or more.
            ErrorCode::STREAM_NAME_EXIST => {
                return context
                    .get_stream(config.stream_name())
                    .await
                    .map_err(|_| refused);
            }
            _ => return Err(refused),
        };
    }
}

/// Connects, and makes the stream if there is none.
pub(crate) async fn connect(config: &NatsConfig) -> Result<Connection, OpenError> {
    config.check()?;
    let servers: Vec<&str> = config.servers.split(',').map(str::trim).collect();
    let client = async_nats::ConnectOptions::new()
        .name("conet-node")
        .request_timeout(Some(ANSWER_TIMEOUT))
        .connect(servers)
        .await
        .map_err(OpenError::Connect)?;
    let (bytes, needed) = (
        client.server_info().max_payload,
        config.max_packet_bytes + MESSAGE_OVERHEAD,
    );
    if bytes < needed {
        return Err(OpenError::MaxPayload { bytes, needed });
    }
    let context = jetstream::context::ContextBuilder::new()
        .timeout(ANSWER_TIMEOUT)
        .ack_timeout(ANSWER_TIMEOUT)
        .max_ack_inflight(IN_FLIGHT_MAX)
        .build(client.clone());
    let stream = stream(&context, config)
        .await
        .map_err(OpenError::jetstream("make the stream"))?;
    let found = stream
        .cached_info()
        .config
        .metadata
        .get(FORMAT_KEY)
        .cloned();
    match found {
        Some(found) if found == FORMAT => Ok(Connection {
            client,
            context,
            stream,
        }),
        found => Err(OpenError::Version {
            found: found.unwrap_or_default(),
        }),
    }
}
