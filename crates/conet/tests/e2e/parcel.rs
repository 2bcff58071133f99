//! Packets made by hand and handed in at a plain intake: what `conet send` would never send.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use packet::{Chunk, ContentType, Draft, MessageId, SessionId, TransferId};
use rand::rngs::OsRng;
use sha2::{Digest as _, Sha256};
use wallet::{Certificate, KeyId};

use crate::devnet::wait_until;
use crate::person::Person;

const INTAKE_TIMEOUT: Duration = Duration::from_secs(60);

/// The certificate that a person gives to whoever asks.
pub(crate) fn certificate_of(person: &Person) -> Result<Certificate> {
    let output = person.run(&["wallet", "export", "--certificate"])?;
    Ok(Certificate::parse(&output.stdout)?)
}

/// A text that nobody signed, sealed to one subkey as a stock OpenPGP program does.
pub(crate) fn plain_text(to: &Certificate, key_id: KeyId, text: &str) -> Result<Vec<u8>> {
    let sealed = packet::seal_bytes_to(to, Some(key_id), text.as_bytes(), None, &mut OsRng)?;
    Ok(sealed.as_bytes().to_vec())
}

/// A whole file in one packet, that nobody signed, under whatever name.
pub(crate) fn file(to: &Certificate, name: &str, content: &[u8]) -> Result<Vec<u8>> {
    let chunk = Chunk {
        transfer: TransferId::random(&mut OsRng),
        index: 0,
        count: 1,
        total: content.len() as u64,
        sha256: Sha256::digest(content).into(),
        offset: 0,
        name: name.to_owned(),
        data: content.to_vec().into(),
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let draft = Draft {
        message_id: MessageId::random(&mut OsRng),
        time_ms: now.as_millis().try_into()?,
        content_type: ContentType::CHUNK.to_owned(),
        session: SessionId::random(&mut OsRng),
        sequence: 0,
        reply: None,
        body: chunk.encode().into(),
    };
    let sealed = packet::seal(&draft, None, to, &mut OsRng)?;
    Ok(sealed.as_bytes().to_vec())
}

/// Hands a packet in at a plain intake until the node takes it: it reads new routes from the ledger in its own time.
pub(crate) fn deliver(intake: &str, packet: &[u8]) -> Result<()> {
    wait_until("the node takes the packet", || {
        Ok(hand_in(intake, packet)?.0 == 200)
    })
}

/// Hands a packet in at a plain intake; returns the status and what the node says.
pub(crate) fn hand_in(intake: &str, packet: &[u8]) -> Result<(u16, String)> {
    let rest = intake.strip_prefix("http://").context("no http URL")?;
    let (authority, path) = rest.split_once('/').context("no path in the URL")?;
    let mut socket = TcpStream::connect(authority)?;
    socket.set_read_timeout(Some(INTAKE_TIMEOUT))?;
    let length = packet.len();
    write!(
        socket,
        "POST /{path} HTTP/1.1\r\nHost: {authority}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    )?;
    socket.write_all(packet)?;
    let mut response = String::new();
    socket.read_to_string(&mut response)?;
    let status = response.split_whitespace().nth(1).context("no status")?;
    Ok((status.parse()?, response))
}
