//! Whatever is not HTTP: bytes, as they come.

use std::io;

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional_with_sizes};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::CONNECT_TIMEOUT;

/// Bytes under way in one direction at most.
const BUFFER_BYTES: usize = 32 * 1024;

/// Why a stream was not served to its end.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TcpError {
    /// The server can't be connected to.
    #[error("the server behind this service can't be connected to")]
    Connect(#[source] io::Error),
    /// One side broke off.
    #[error("a side of the connection broke off")]
    Broken(#[source] io::Error),
}

/// Connects to `target` (`HOST:PORT`) and copies both ways until both have ended. An end on one side leaves the opposite
/// direction open.
///
/// # Errors
/// [`TcpError`] where the server is not there or one side broke off; the server then sees a reset and no end, and the
/// stream is dropped without one.
///
/// # Cancel safety
/// Dropping the future drops both.
pub async fn serve_tcp<S>(mut stream: S, target: &str) -> Result<(), TcpError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let connected = match timeout(CONNECT_TIMEOUT, TcpStream::connect(target)).await {
        Ok(connected) => connected,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    };
    let mut server = connected.map_err(TcpError::Connect)?;
    // It only saves time.
    let _refused = server.set_nodelay(true);
    if let Err(error) = copy(&mut stream, &mut server).await {
        // Without it the server takes half a file for a whole one.
        let _closed_already = server.set_zero_linger();
        return Err(TcpError::Broken(error));
    }
    Ok(())
}

/// Copies both ways until both sides have ended or one has broken off.
pub(crate) async fn copy(
    one: &mut (impl AsyncRead + AsyncWrite + Unpin),
    other: &mut (impl AsyncRead + AsyncWrite + Unpin),
) -> io::Result<()> {
    copy_bidirectional_with_sizes(one, other, BUFFER_BYTES, BUFFER_BYTES)
        .await
        .map(|_| ())
}
