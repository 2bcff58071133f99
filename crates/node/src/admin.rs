//! Health, status and metrics on a port of their own, for the operator only.

use std::sync::Arc;

use axum::Router as Http;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::registry::Registry;
use serde::Serialize;
use tokio::net::TcpListener;

use crate::forward::Router;

/// What `/status` says.
#[derive(Debug, Serialize)]
struct Status {
    id: String,
    version: &'static str,
    nodes_known: usize,
    links: usize,
    accounts: i64,
    sessions: i64,
    streams: i64,
    circuits: i64,
    publishers: i64,
    waiting_circuits: i64,
    joined_circuits: i64,
    bridge_streams: usize,
    offer: Option<Offer>,
    ledger_block: Option<u64>,
    ledger_head: u64,
}

/// What the ledger says that the node offers as a bridge.
#[derive(Debug, Serialize)]
struct Offer {
    policy: String,
    /// A decimal number: JSON's are too short for some.
    price_wei: String,
}

struct Admin {
    router: Arc<Router>,
    registry: Registry,
}

/// Serves until the node stops.
pub(crate) async fn run(listener: TcpListener, router: Arc<Router>) {
    let mut registry = Registry::default();
    router.metrics().register(&mut registry);
    let shutdown = router.shutdown().clone();
    let app = Http::new()
        .route("/health", get(health))
        .route("/status", get(status))
        .route("/metrics", get(metrics))
        .with_state(Arc::new(Admin { router, registry }));
    let served = axum::serve(listener, app)
        .with_graceful_shutdown(shutdown.cancelled_owned())
        .await;
    if let Err(error) = served {
        tracing::error!(target: "node::admin", %error, "the admin port ended");
    }
}

async fn health(State(admin): State<Arc<Admin>>) -> StatusCode {
    if admin.router.shutdown().is_cancelled() {
        StatusCode::SERVICE_UNAVAILABLE
    } else {
        StatusCode::OK
    }
}

async fn status(State(admin): State<Arc<Admin>>) -> axum::Json<Status> {
    let (router, metrics) = (&admin.router, admin.router.metrics());
    let index = router.ledger().index();
    let synced = index.synced_to();
    let record = index.node(&router.local().me);
    let offer = record.as_ref().and_then(|record| record.offer.as_ref());
    axum::Json(Status {
        id: router.local().me.to_string(),
        version: env!("CARGO_PKG_VERSION"),
        nodes_known: index.nodes().len(),
        links: router.links().live(),
        accounts: metrics.accounts.get(),
        sessions: metrics.sessions.get(),
        streams: metrics.streams.get(),
        circuits: metrics.circuits.get(),
        publishers: metrics.publishers.get(),
        waiting_circuits: metrics.waiting.get(),
        joined_circuits: metrics.joined.get(),
        bridge_streams: router.streams().count(),
        offer: offer.map(|offer| Offer {
            policy: offer.policy.as_ref().to_owned(),
            price_wei: offer.price_wei.to_string(),
        }),
        ledger_block: synced.block,
        ledger_head: synced.head,
    })
}

async fn metrics(State(admin): State<Arc<Admin>>) -> Response {
    let synced = admin.router.ledger().index().synced_to();
    admin
        .router
        .metrics()
        .ledger_block
        .set(synced.block.unwrap_or(0));
    let mut text = String::new();
    if prometheus_client::encoding::text::encode(&mut text, &admin.registry).is_err() {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let content_type =
        HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    ([(header::CONTENT_TYPE, content_type)], text).into_response()
}
