//! How a link to an entry begins on the wire: as the WebSocket of any web page (RFC 6455, 4).

use std::net::{IpAddr, SocketAddr};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use rand::RngCore as _;
use rand::rngs::OsRng;
use tokio::net::{TcpSocket, TcpStream, lookup_host};

use super::entry_link::LinkError;

/// What RFC 6455 has the server hash with the key.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Connects to an endpoint and has the connection upgraded.
pub(super) async fn connect(endpoint: &Uri, from: Option<IpAddr>) -> Result<TcpStream, LinkError> {
    let host = endpoint.host().ok_or(LinkError::Endpoint)?;
    let port = endpoint.port_u16().unwrap_or(80);
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let mut last = None;
    for address in lookup_host((bare, port)).await? {
        match open(address, from).await {
            Ok(socket) => return upgrade(socket, endpoint).await,
            Err(error) => last = Some(error),
        }
    }
    Err(last.map_or(LinkError::Endpoint, LinkError::Io))
}

async fn open(address: SocketAddr, from: Option<IpAddr>) -> std::io::Result<TcpStream> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if let Some(from) = from {
        socket.bind(SocketAddr::new(from, 0))?;
    }
    socket.set_nodelay(true)?;
    socket.connect(address).await
}

async fn upgrade(socket: TcpStream, endpoint: &Uri) -> Result<TcpStream, LinkError> {
    let mut random = [0; 24];
    OsRng.fill_bytes(&mut random);
    let (path, nonce) = random.split_at(8);
    let key = STANDARD.encode(nonce);
    let authority = endpoint.authority().ok_or(LinkError::Endpoint)?;
    let base = endpoint.path().trim_end_matches('/');
    let request = Request::get(format!("{base}/{}", hex::encode(path)))
        .header(header::HOST, authority.as_str())
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_VERSION, "13")
        .header(header::SEC_WEBSOCKET_KEY, &key)
        .body(Empty::<Bytes>::new())
        .map_err(|_| LinkError::Endpoint)?;
    let digest = ring::digest::digest(
        &ring::digest::SHA1_FOR_LEGACY_USE_ONLY,
        format!("{key}{GUID}").as_bytes(),
    );
    let expected = HeaderValue::from_str(&STANDARD.encode(digest));
    let (mut http, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(socket)).await?;
    let connection = tokio::spawn(connection.with_upgrades());
    let response = http.send_request(request).await;
    let granted = response.as_ref().is_ok_and(|response| {
        response.status() == StatusCode::SWITCHING_PROTOCOLS
            && response.headers().get(header::SEC_WEBSOCKET_ACCEPT) == expected.as_ref().ok()
    });
    if !granted {
        connection.abort();
        response?;
        return Err(LinkError::NotANode);
    }
    let upgraded = hyper::upgrade::on(response?).await?;
    let parts = upgraded
        .downcast::<TokioIo<TcpStream>>()
        .map_err(|_| LinkError::NotANode)?;
    // The node waits for us, so that nothing can have been read ahead.
    if !parts.read_buf.is_empty() {
        return Err(LinkError::NotANode);
    }
    Ok(parts.io.into_inner())
}
