//! A name server on loopback that says what it is told to.

use core::net::{IpAddr, SocketAddr};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use bridge::NameServers;
use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::CNAME;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinHandle;

/// Ports that are tried until one is free for UDP and TCP alike.
const MAX_BINDS: usize = 100;

type Zone = Arc<HashMap<String, Entry>>;
type Questions = Arc<Mutex<Vec<String>>>;

/// What a name is.
#[derive(Clone)]
pub(crate) enum Entry {
    Addresses(Vec<IpAddr>),
    Alias(String),
    /// Comes over TCP only; over UDP it is cut off.
    Large(Vec<IpAddr>),
    Fails,
    Silent,
}

/// The server; ends when dropped.
pub(crate) struct NameServer {
    pub(crate) address: SocketAddr,
    questions: Questions,
    tasks: [JoinHandle<()>; 2],
}

impl NameServer {
    pub(crate) async fn start(zone: &[(&str, Entry)]) -> Self {
        let (udp, tcp) = bind_both().await;
        let address = udp.local_addr().unwrap();
        let zone = zone
            .iter()
            .map(|(name, entry)| (format!("{name}."), entry.clone()));
        let zone: Zone = Arc::new(zone.collect());
        let questions = Questions::default();
        let tasks = [
            tokio::spawn(serve_udp(udp, Arc::clone(&zone), Arc::clone(&questions))),
            tokio::spawn(serve_tcp(tcp, zone, Arc::clone(&questions))),
        ];
        Self {
            address,
            questions,
            tasks,
        }
    }

    pub(crate) fn servers(&self) -> NameServers {
        NameServers::Given(vec![self.address])
    }

    pub(crate) fn questions(&self) -> Vec<String> {
        self.questions.lock().unwrap().clone()
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// An entry with addresses.
pub(crate) fn addresses(texts: &[&str]) -> Entry {
    Entry::Addresses(texts.iter().map(|text| text.parse().unwrap()).collect())
}

/// An entry that is another name.
pub(crate) fn alias(of: &str) -> Entry {
    Entry::Alias(of.to_owned())
}

async fn bind_both() -> (UdpSocket, TcpListener) {
    for _ in 0..MAX_BINDS {
        let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
            return (udp, tcp);
        }
    }
    panic!("no port is free");
}

async fn serve_udp(socket: UdpSocket, zone: Zone, questions: Questions) {
    let mut buffer = [0; 4096];
    while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
        if let Some(answer) = answer(&zone, &questions, &buffer[..length], false) {
            let _ = socket.send_to(&answer, from).await;
        }
    }
}

async fn serve_tcp(listener: TcpListener, zone: Zone, questions: Questions) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let (zone, questions) = (Arc::clone(&zone), Arc::clone(&questions));
        tokio::spawn(async move {
            // Each message after its length (RFC 1035 4.2.2).
            while let Ok(length) = stream.read_u16().await {
                let mut question = vec![0; length.into()];
                stream.read_exact(&mut question).await.unwrap();
                if let Some(answer) = answer(&zone, &questions, &question, true) {
                    stream
                        .write_u16(answer.len().try_into().unwrap())
                        .await
                        .unwrap();
                    stream.write_all(&answer).await.unwrap();
                }
            }
        });
    }
}

fn answer(zone: &Zone, questions: &Questions, query: &[u8], is_tcp: bool) -> Option<Vec<u8>> {
    let query = Message::from_vec(query).unwrap();
    let question = query.queries.first()?.clone();
    let asked = question.name().to_lowercase().to_string();
    questions.lock().unwrap().push(asked);
    let mut response = query.into_response();
    response.additionals.clear();
    let mut owner = question.name().clone();
    // As a recursive server does, the whole chain goes into the answer; a loop is cut.
    for _ in 0..20 {
        match zone.get(&owner.to_lowercase().to_string()) {
            Some(Entry::Alias(of)) => {
                let of = Name::from_ascii(format!("{of}.")).unwrap();
                let data = RData::CNAME(CNAME(of.clone()));
                response.add_answer(Record::from_rdata(owner, 60, data));
                owner = of;
            }
            Some(Entry::Large(_)) if !is_tcp => {
                response.metadata.truncation = true;
                break;
            }
            Some(Entry::Addresses(addresses) | Entry::Large(addresses)) => {
                for address in addresses {
                    let data = RData::from(*address);
                    let is_asked_for = data.record_type() == question.query_type();
                    if is_asked_for
                        && matches!(question.query_type(), RecordType::A | RecordType::AAAA)
                    {
                        response.add_answer(Record::from_rdata(owner.clone(), 60, data));
                    }
                }
                break;
            }
            Some(Entry::Fails) => {
                response.metadata.response_code = ResponseCode::ServFail;
                break;
            }
            Some(Entry::Silent) => return None,
            None => {
                response.metadata.response_code = ResponseCode::NXDomain;
                break;
            }
        }
    }
    Some(response.to_vec().unwrap())
}
