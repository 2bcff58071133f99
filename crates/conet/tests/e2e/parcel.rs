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
    post(intake, "application/octet-stream", packet)
}

/// How many transactions an account of the chain has sent.
pub(crate) fn transactions_of(rpc: &str, account: &str) -> Result<u64> {
    let request = serde_json::json!({
        "jsonrpc": "2.0", "id": 1, "method": "eth_getTransactionCount", "params": [account, "latest"],
    });
    let url = format!("{}/", rpc.trim_end_matches('/'));
    let (_, said) = post(&url, "application/json", request.to_string().as_bytes())?;
    let (_, rest) = said
        .split_once("\"result\":\"0x")
        .with_context(|| said.clone())?;
    let (digits, _) = rest.split_once('"').context("no number")?;
    Ok(u64::from_str_radix(digits, 16)?)
}

fn post(url: &str, content_type: &str, body: &[u8]) -> Result<(u16, String)> {
    let rest = url.strip_prefix("http://").context("no http URL")?;
    let (authority, path) = rest.split_once('/').context("no path in the URL")?;
    let mut socket = TcpStream::connect(authority)?;
    socket.set_read_timeout(Some(INTAKE_TIMEOUT))?;
    let length = body.len();
    write!(
        socket,
        "POST /{path} HTTP/1.1\r\nHost: {authority}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    )?;
    socket.write_all(body)?;
    let mut response = String::new();
    socket.read_to_string(&mut response)?;
    let status = response.split_whitespace().nth(1).context("no status")?;
    Ok((status.parse()?, response))
}
