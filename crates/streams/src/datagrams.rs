//! Datagrams in a stream (`docs/wire-format.md`, 11.5): each with where it goes, or where it came from.

use std::io;

use bytes::{Bytes, BytesMut};
use protocol::target::Target;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// Bytes of a datagram's payload at most.
pub const MAX_DATAGRAM_BYTES: usize = 65_507;

/// Writes a datagram: length of the target's text as `u8`, the text, length of the payload as `u16`, the payload.
///
/// # Errors
/// [`io::ErrorKind::InvalidInput`] for a payload that is too long; else as the stream.
///
/// # Cancel safety
/// None: a part of it may have been written.
pub async fn write_datagram(
    to: &mut (impl AsyncWrite + Unpin),
    target: &Target,
    payload: &[u8],
) -> io::Result<()> {
    let text = target.to_string();
    // A target's text is no longer than a host name and a port.
    let (Ok(text_bytes), true) = (
        u8::try_from(text.len()),
        payload.len() <= MAX_DATAGRAM_BYTES,
    ) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let mut out = BytesMut::with_capacity(3 + text.len() + payload.len());
    out.extend_from_slice(&[text_bytes]);
    out.extend_from_slice(text.as_bytes());
    out.extend_from_slice(&(payload.len() as u16).to_be_bytes());
    out.extend_from_slice(payload);
    to.write_all(&out).await
}

/// Reads a datagram; `None` at the end of the stream.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] where the target is none or the payload too long; else as the stream.
///
/// # Cancel safety
/// None: a part of it may have been read.
pub async fn read_datagram(
    from: &mut (impl AsyncRead + Unpin),
) -> io::Result<Option<(Target, Bytes)>> {
    let text_bytes = match from.read_u8().await {
        Ok(length) => usize::from(length),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut text = vec![0; text_bytes];
    from.read_exact(&mut text).await?;
    let target = std::str::from_utf8(&text).ok().and_then(|t| t.parse().ok());
    let target: Target = target.ok_or(io::ErrorKind::InvalidData)?;
    let length = usize::from(from.read_u16().await?);
    if length > MAX_DATAGRAM_BYTES {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut payload = vec![0; length];
    from.read_exact(&mut payload).await?;
    Ok(Some((target, payload.into())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn datagrams_come_out_as_they_went_in() {
        let (mut near, mut far) = tokio::io::duplex(1 << 20);
        let long = format!(
            "{}.{}:65535",
            "a".repeat(63),
            ["b".repeat(60).as_str(); 3].join(".")
        );
        for (target, length) in [("[::1]:53", 0), ("example.org:1", 65_507), (&long, 1)] {
            let target: Target = target.parse().unwrap();
            let payload = vec![7; length];
            write_datagram(&mut near, &target, &payload).await.unwrap();
            let read = read_datagram(&mut far).await.unwrap().unwrap();
            assert_eq!(read, (target, Bytes::from(payload)));
        }
        let target = "example.org:1".parse().unwrap();
        let too_long = write_datagram(&mut near, &target, &[0; 65_508]).await;
        assert_eq!(too_long.unwrap_err().kind(), io::ErrorKind::InvalidInput);
        drop(near);
        assert!(read_datagram(&mut far).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn bytes_that_are_no_datagram_are_refused() {
        for bytes in [
            &b"\x03abc\0\0"[..],
            b"\x04\xff\xff:1\0\0",
            b"\x05a.b:1\xff\xff",
        ] {
            let read = read_datagram(&mut &bytes[..]).await;
            assert_eq!(read.unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
        let cut = read_datagram(&mut &b"\x05a.b:1\0\x02x"[..]).await;
        assert_eq!(cut.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
