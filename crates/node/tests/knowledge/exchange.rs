//! One message from end to end, and which node did what for it.

use std::collections::BTreeSet;
use std::net::IpAddr;

use client::carrier::Privacy;
use client::receive::Listener;
use protocol::NodeId;
use protocol::frame::Kind;

use crate::devnet::Devnet;
use crate::people::{Person, expect};
use crate::record::Seen;

/// Messages that are sent at most until one takes a way on which every node has one part only.
const MESSAGES_MOST: usize = 80;

/// The nodes of one message, by their places in the network, and what each saw while it was under way.
pub(crate) struct Exchange {
    pub(crate) entry: usize,
    /// None if the message went directly.
    pub(crate) relay: Option<usize>,
    pub(crate) mailbox: usize,
    pub(crate) last_entry: usize,
    seen: Vec<Vec<Seen>>,
}

/// Sends messages until one is found whose nodes are all different, and such that its relay serves the
/// recipient as nothing else: that one node serves both ends is a matter of chance, and no promise.
pub(crate) async fn exchange(
    devnet: &Devnet,
    from: &Person,
    to: (&Person, &mut Listener),
    privacy: Privacy,
    text: impl Fn(usize) -> String,
) -> (Exchange, String) {
    let (recipient, listener) = to;
    let uri = recipient.client.contact_uri().unwrap().to_string();
    for attempt in 0..MESSAGES_MOST {
        let marks: Vec<usize> = devnet.nodes.iter().map(|n| n.recorder.mark()).collect();
        let text = text(attempt);
        from.send(&uri, &text, privacy).await;
        let message = expect(listener, &text).await;
        assert_eq!(message.from.wallet, Some(from.client.address()));
        let seen = devnet.nodes.iter().zip(marks);
        let seen = seen.map(|(node, mark)| node.recorder.since(mark)).collect();
        if let Some(exchange) = Exchange::of(devnet, from, recipient, privacy, seen) {
            return (exchange, text);
        }
    }
    panic!("no message took a way of its own")
}

impl Exchange {
    /// Finds the parts; `None` where somebody played two, or looked something up besides.
    fn of(
        devnet: &Devnet,
        from: &Person,
        to: &Person,
        privacy: Privacy,
        seen: Vec<Vec<Seen>>,
    ) -> Option<Self> {
        let wallet = to.client.address();
        let stored = places(&seen, |seen| match seen {
            Seen::Stored(holder, packet) => (*holder == wallet).then(|| packet.clone()),
            _ => None,
        });
        let [(mailbox, packet)] = &stored[..] else {
            panic!("it is stored once, not {} times", stored.len())
        };
        let asked = asked_by(&seen, from.ip);
        let [(entry, outer)] = &asked[..] else {
            return None;
        };
        let opened = places(&seen, |seen| match seen {
            Seen::Command(content) => contains(content, packet).then_some(()),
            _ => None,
        });
        let relay = opened.iter().find(|(place, ())| place != mailbox);
        let relay = relay.map(|(place, ())| *place);
        assert_eq!(relay.is_some(), privacy == Privacy::Relayed);
        // What the entry got is what the next node got from it, and nobody else.
        let next = relay.unwrap_or(*mailbox);
        let from_entry = devnet.nodes[*entry].address;
        let received = places(&seen, |seen| match seen {
            Seen::LinkIn(peer, Kind::Packet, payload) => (payload == outer).then_some(*peer),
            _ => None,
        });
        assert_eq!(received, [(next, from_entry)]);
        let told = places(&seen, |seen| match seen {
            Seen::Told(ip, _) => (*ip == to.ip).then_some(()),
            _ => None,
        });
        let (last_entry, ()) = told.first()?;
        let of_recipient = |place: usize| {
            let all = devnet.nodes[place].recorder.since(0);
            all.iter().any(|seen| seen.address() == Some(to.ip))
        };
        let apart = [Some(*entry), relay, Some(*mailbox)];
        if apart.iter().flatten().any(|place| of_recipient(*place)) {
            return None;
        }
        Some(Self {
            entry: *entry,
            relay,
            mailbox: *mailbox,
            last_entry: *last_entry,
            seen,
        })
    }

    /// The places of the parts, by the names that the tables use.
    pub(crate) fn place(&self, part: &str) -> usize {
        match part {
            "sender's entry" => self.entry,
            "relay" => self.relay.unwrap(),
            "mailbox" => self.mailbox,
            "recipient's entry" => self.last_entry,
            other => panic!("the page names {other}"),
        }
    }

    /// All that a node saw in clear while the message was under way.
    pub(crate) fn seen_by(&self, place: usize) -> impl Iterator<Item = &[u8]> {
        self.seen[place].iter().map(Seen::bytes)
    }

    /// Lengths of the packets that came to it over links, and of those it stored.
    pub(crate) fn got(&self, place: usize) -> BTreeSet<usize> {
        let seen = self.seen[place].iter();
        seen.filter(|it| matches!(it, Seen::Stored(..) | Seen::LinkIn(_, Kind::Packet, _)))
            .map(|seen| seen.bytes().len())
            .collect()
    }

    /// That part of it which the node knows to be from or for an address.
    pub(crate) fn seen_with(&self, place: usize, ip: IpAddr) -> impl Iterator<Item = &[u8]> {
        let with = self.seen[place].iter();
        with.filter(move |seen| seen.address() == Some(ip))
            .map(Seen::bytes)
    }
}

fn places<T>(seen: &[Vec<Seen>], pick: impl Fn(&Seen) -> Option<T>) -> Vec<(usize, T)> {
    let each = seen.iter().enumerate();
    each.flat_map(|(place, seen)| seen.iter().filter_map(&pick).map(move |it| (place, it)))
        .collect()
}

fn asked_by(seen: &[Vec<Seen>], ip: IpAddr) -> Vec<(usize, Vec<u8>)> {
    places(seen, |seen| match seen {
        Seen::Asked(by, packet) => (*by == ip).then(|| packet.clone()),
        _ => None,
    })
}

pub(crate) fn contains(hay: &[u8], needle: &[u8]) -> bool {
    hay.windows(needle.len()).any(|window| window == needle)
}

/// The address of a node, for those who look for nodes.
pub(crate) fn node_at(devnet: &Devnet, place: usize) -> NodeId {
    devnet.nodes[place].address
}
