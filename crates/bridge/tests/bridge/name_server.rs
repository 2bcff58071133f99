//! A name server on loopback that says what it is told to.

use core::net::{IpAddr, SocketAddr};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use bridge::NameServers;
use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::CNAME;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

/// What a name is.
#[derive(Clone)]
pub(crate) enum Entry {
    Addresses(Vec<IpAddr>),
    Alias(String),
    Fails,
    Silent,
}

/// The server; ends when dropped.
pub(crate) struct NameServer {
    pub(crate) address: SocketAddr,
    questions: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl NameServer {
    pub(crate) async fn start(zone: &[(&str, Entry)]) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let zone: HashMap<String, Entry> = zone
            .iter()
            .map(|(name, entry)| (format!("{name}."), entry.clone()))
            .collect();
        let questions = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&questions);
        let task = tokio::spawn(async move {
            let mut buffer = [0; 4096];
            while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                let query = Message::from_vec(&buffer[..length]).unwrap();
                let asked = query
                    .queries
                    .first()
                    .unwrap()
                    .name()
                    .to_lowercase()
                    .to_string();
                heard.lock().unwrap().push(asked);
                if let Some(answer) = answer(&zone, query) {
                    let _ = socket.send_to(&answer.to_vec().unwrap(), from).await;
                }
            }
        });
        Self {
            address,
            questions,
            task,
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
        self.task.abort();
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

fn answer(zone: &HashMap<String, Entry>, query: Message) -> Option<Message> {
    let question = query.queries.first()?.clone();
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
            Some(Entry::Addresses(addresses)) => {
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
    Some(response)
}
