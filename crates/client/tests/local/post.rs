//! A network in memory: mailboxes that store, deliver and forget as told, with faults to order.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use client::carrier::{
    Carried, Carrier, Collection, Delivery, LookUpError, OwnerKeys, Privacy, RequestError,
    Resolved, Stored, SubmitError, Target,
};
use packet::Packet;
use protocol::NodeId;
use protocol::answer::{Item, Record};
use protocol::command::{DeviceId, Route};
use tokio::sync::watch;
use wallet::{Certificate, CertificateBinding, KeyId, WalletAddress, WalletSignature};

/// The nodes of the network.
pub(crate) fn node(number: u8) -> NodeId {
    NodeId::from_bytes([number; 20])
}

type Hook = Arc<dyn Fn(NodeId, u64) + Send + Sync>;

/// The network; clones share it.
#[derive(Clone)]
pub(crate) struct Post {
    inner: Arc<Mutex<Inner>>,
    changed: watch::Sender<u64>,
}

#[derive(Default)]
pub(crate) struct Inner {
    accounts: HashMap<(NodeId, WalletAddress), MailAccount>,
    /// Mailboxes out of reach.
    pub(crate) dead: HashSet<NodeId>,
    /// So many submissions fail.
    pub(crate) fail_submits: u32,
    /// So many submissions are stored, but their answers are lost.
    pub(crate) lose_answers: u32,
    /// Submissions wait for ever.
    pub(crate) hang_submits: bool,
    /// Submissions take that long.
    pub(crate) slowness: Duration,
    /// Streams break after so many packets.
    pub(crate) break_after: Option<u32>,
    /// Acknowledgements get lost.
    pub(crate) lose_acknowledgements: bool,
    /// A full mailbox holds so many packets.
    pub(crate) capacity: Option<usize>,
    /// Superseded keys are refused, and senders know old certificates.
    pub(crate) refuse_superseded: bool,
    pub(crate) stale: HashMap<WalletAddress, Resolved>,
    /// Submissions and look-ups that were begun.
    pub(crate) asked: u32,
    /// Packets that mailboxes took.
    pub(crate) stored: Vec<Packet>,
    /// Hears acknowledgements before they count.
    pub(crate) on_acknowledge: Option<Hook>,
}

struct MailAccount {
    record: Record,
    certificate: Certificate,
    keys: HashSet<KeyId>,
    queue: VecDeque<(u64, Bytes)>,
    hashes: HashSet<[u8; 32]>,
    next: u64,
    acknowledged: HashMap<DeviceId, u64>,
}

impl Post {
    pub(crate) fn new() -> Self {
        Self {
            inner: Arc::default(),
            changed: watch::channel(0).0,
        }
    }

    /// The network's state, to look at or to order faults.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    pub(crate) fn touch(&self) {
        self.changed.send_modify(|version| *version += 1);
    }

    /// Packets at a mailbox that a device has not acknowledged, of the wallet's first device.
    pub(crate) fn unacknowledged(&self, mailbox: NodeId, wallet: WalletAddress) -> usize {
        let inner = self.lock();
        let account = &inner.accounts[&(mailbox, wallet)];
        let last = account.acknowledged.values().max().copied().unwrap_or(0);
        account
            .queue
            .iter()
            .filter(|(cursor, _)| *cursor > last)
            .count()
    }

    /// The certificate that a mailbox gives for a wallet.
    pub(crate) fn resolved(&self, wallet: WalletAddress) -> Option<Resolved> {
        self.lock().resolve(&wallet)
    }

    /// Forgets the packets of a mailbox.
    pub(crate) fn empty(&self, mailbox: NodeId) {
        let mut inner = self.lock();
        for ((node, _), account) in &mut inner.accounts {
            if *node == mailbox {
                account.queue.clear();
            }
        }
    }

    /// Puts a packet into a mailbox, whoever sealed it.
    pub(crate) fn put(&self, mailbox: NodeId, packet: Packet) {
        self.lock().store(mailbox, &packet).unwrap();
        self.touch();
    }
}

impl Inner {
    fn resolve(&self, wallet: &WalletAddress) -> Option<Resolved> {
        let newest = self
            .accounts
            .iter()
            .filter(|((_, of), _)| of == wallet)
            .map(|(_, account)| account)
            .max_by_key(|account| account.record.binding.sequence)?;
        Some(Resolved {
            wallet: *wallet,
            certificate: newest.certificate.clone(),
            binding: newest.record.binding.clone(),
            mailboxes: newest.record.binding.mailboxes.clone(),
        })
    }

    fn store(&mut self, mailbox: NodeId, packet: &Packet) -> Result<Stored, SubmitError> {
        let refuse = self.refuse_superseded;
        let capacity = self.capacity.unwrap_or(usize::MAX);
        let account = self
            .accounts
            .iter_mut()
            .find(|((node, _), account)| {
                *node == mailbox && account.keys.contains(&packet.key_id())
            })
            .map(|(_, account)| account)
            .ok_or_else(|| SubmitError::Refused("no such key".into()))?;
        if refuse && account.certificate.subkey(&packet.key_id()).is_none() {
            return Err(SubmitError::Superseded(Box::new(account.record.clone())));
        }
        let stored = Stored {
            node: mailbox,
            time_ms: 1,
        };
        if account.hashes.contains(&packet.hash()) {
            return Ok(stored);
        }
        let last = account.acknowledged.values().max().copied().unwrap_or(0);
        let held = account
            .queue
            .iter()
            .filter(|(cursor, _)| *cursor > last)
            .count();
        if held >= capacity {
            return Err(SubmitError::QueueFull);
        }
        account.hashes.insert(packet.hash());
        account.next += 1;
        let bytes = packet.clone().into_bytes();
        account.queue.push_back((account.next, bytes));
        self.stored.push(packet.clone());
        Ok(stored)
    }

    fn account(
        &mut self,
        keys: OwnerKeys<'_>,
        mailbox: NodeId,
    ) -> Result<&mut MailAccount, RequestError> {
        if self.dead.contains(&mailbox) {
            return Err(RequestError::Unreachable("it is dead".into()));
        }
        let wallet = keys.binding.wallet;
        let account = self.accounts.get_mut(&(mailbox, wallet));
        account.ok_or(RequestError::NotFound)
    }
}

impl Carrier for Post {
    fn ready(&self, _: Duration) -> Carried<'_, Result<(), RequestError>> {
        Box::pin(async { Ok(()) })
    }

    fn nodes(&self) -> Vec<NodeId> {
        (1..=5).map(node).collect()
    }

    fn submit<'a>(
        &'a self,
        packet: &'a Packet,
        mailboxes: &'a [NodeId],
        _: Privacy,
    ) -> Carried<'a, Result<Stored, SubmitError>> {
        Box::pin(async move {
            self.lock().asked += 1;
            if self.lock().hang_submits {
                std::future::pending::<()>().await;
            }
            let slowness = self.lock().slowness;
            tokio::time::sleep(slowness).await;
            let result = {
                let mut inner = self.lock();
                if inner.fail_submits > 0 {
                    inner.fail_submits -= 1;
                    return Err(SubmitError::Unreachable("ordered to fail".into()));
                }
                let alive = mailboxes.iter().copied();
                let alive = alive.filter(|mailbox| !inner.dead.contains(mailbox));
                let mut result = Err(SubmitError::Unreachable("all are dead".into()));
                for mailbox in alive.collect::<Vec<_>>() {
                    result = inner.store(mailbox, packet);
                    if result.is_ok() {
                        break;
                    }
                }
                if result.is_ok() && inner.lose_answers > 0 {
                    inner.lose_answers -= 1;
                    result = Err(SubmitError::Unreachable("the answer is lost".into()));
                }
                result
            };
            self.touch();
            result
        })
    }

    fn broadcast<'a>(
        &'a self,
        _: &'a Packet,
        _: Privacy,
    ) -> Carried<'a, Result<Stored, SubmitError>> {
        Box::pin(async { Err(SubmitError::Refused("nobody keeps it".into())) })
    }

    fn at_hand(&self, target: &Target) -> Option<Resolved> {
        let inner = self.lock();
        let stale = inner.stale.get(&target.wallet).cloned();
        stale.or_else(|| inner.resolve(&target.wallet))
    }

    fn look_up<'a>(&'a self, target: &'a Target) -> Carried<'a, Result<Resolved, LookUpError>> {
        Box::pin(async move {
            self.lock().asked += 1;
            self.at_hand(target).ok_or(LookUpError::NotFound)
        })
    }

    fn accept<'a>(
        &'a self,
        target: &'a Target,
        record: Record,
    ) -> Carried<'a, Result<Resolved, LookUpError>> {
        Box::pin(async move {
            let certificate = Certificate::parse(&record.certificate).unwrap();
            let binding = record.binding;
            binding.verify().unwrap();
            binding.verify_certificate(&certificate).unwrap();
            if binding.wallet != target.wallet {
                return Err(LookUpError::Untrusted("of another wallet".into()));
            }
            Ok(Resolved {
                wallet: binding.wallet,
                mailboxes: binding.mailboxes.clone(),
                certificate,
                binding,
            })
        })
    }

    fn open_mailbox<'a>(
        &'a self,
        keys: OwnerKeys<'a>,
        mailbox: NodeId,
    ) -> Carried<'a, Result<(), RequestError>> {
        Box::pin(async move {
            keys.binding.verify().unwrap();
            let certificate = keys.certificate.certificate().clone();
            keys.binding.verify_certificate(&certificate).unwrap();
            let mut inner = self.lock();
            if inner.dead.contains(&mailbox) {
                return Err(RequestError::Unreachable("it is dead".into()));
            }
            let record = record_of(&certificate, keys.binding);
            let of = (mailbox, keys.binding.wallet);
            let account = inner.accounts.entry(of).or_insert_with(|| MailAccount {
                record: record.clone(),
                certificate: certificate.clone(),
                keys: HashSet::new(),
                queue: VecDeque::new(),
                hashes: HashSet::new(),
                next: 0,
                acknowledged: HashMap::new(),
            });
            if record.binding.sequence < account.record.binding.sequence {
                return Err(RequestError::Refused("a lower sequence".into()));
            }
            account.keys.extend(certificate.key_ids());
            account.record = record;
            account.certificate = certificate;
            Ok(())
        })
    }

    fn submit_route<'a>(
        &'a self,
        _: OwnerKeys<'a>,
        _: NodeId,
        _: &'a Route,
        _: WalletSignature,
    ) -> Carried<'a, Result<(), RequestError>> {
        Box::pin(async { Ok(()) })
    }

    fn close_mailbox<'a>(
        &'a self,
        keys: OwnerKeys<'a>,
        mailbox: NodeId,
    ) -> Carried<'a, Result<(), RequestError>> {
        Box::pin(async move {
            self.lock().accounts.remove(&(mailbox, keys.binding.wallet));
            Ok(())
        })
    }

    fn acknowledge<'a>(
        &'a self,
        keys: OwnerKeys<'a>,
        mailbox: NodeId,
        device: DeviceId,
        cursor: u64,
    ) -> Carried<'a, Result<(), RequestError>> {
        Box::pin(async move {
            let hook = self.lock().on_acknowledge.clone();
            if let Some(hook) = hook {
                hook(mailbox, cursor);
            }
            {
                let mut inner = self.lock();
                if inner.lose_acknowledgements {
                    return Err(RequestError::Unreachable("ordered to fail".into()));
                }
                let account = inner.account(keys, mailbox)?;
                account.acknowledged.insert(device, cursor);
            }
            self.touch();
            Ok(())
        })
    }

    fn collect<'a>(
        &'a self,
        keys: OwnerKeys<'a>,
        collection: Collection,
    ) -> Carried<'a, Result<Box<dyn Delivery>, RequestError>> {
        Box::pin(async move {
            let mut inner = self.lock();
            let break_after = inner.break_after;
            let account = inner.account(keys, collection.mailbox)?;
            let acknowledged = account.acknowledged.get(&collection.device).copied();
            Ok(Box::new(Stream {
                post: self.clone(),
                of: (collection.mailbox, keys.binding.wallet),
                collection,
                last: acknowledged.unwrap_or(0),
                caught_up: false,
                break_after,
                changed: self.changed.subscribe(),
            }) as Box<dyn Delivery>)
        })
    }
}

struct Stream {
    post: Post,
    of: (NodeId, WalletAddress),
    collection: Collection,
    last: u64,
    caught_up: bool,
    break_after: Option<u32>,
    changed: watch::Receiver<u64>,
}

enum Step {
    Item(Item),
    End,
    Wait,
}

impl Stream {
    fn step(&mut self) -> Result<Step, RequestError> {
        let inner = self.post.lock();
        if inner.dead.contains(&self.of.0) {
            return Err(RequestError::Unreachable("it died".into()));
        }
        let Some(account) = inner.accounts.get(&self.of) else {
            return Err(RequestError::NotFound);
        };
        let next = account.queue.iter().find(|(cursor, _)| *cursor > self.last);
        if let Some((cursor, packet)) = next {
            let device = &self.collection.device;
            let acknowledged = account.acknowledged.get(device).copied().unwrap_or(0);
            let under_way: usize = account
                .queue
                .iter()
                .filter(|(cursor, _)| (acknowledged + 1..=self.last).contains(cursor))
                .map(|(_, packet)| packet.len())
                .sum();
            let window = self.collection.window_bytes as usize;
            if under_way > 0 && under_way + packet.len() > window {
                return Ok(Step::Wait);
            }
            match &mut self.break_after {
                Some(0) => return Err(RequestError::Unreachable("it broke".into())),
                Some(left) => *left -= 1,
                None => {}
            }
            self.last = *cursor;
            return Ok(Step::Item(Item::Packet {
                cursor: *cursor,
                stored_at_ms: 1,
                packet: packet.clone(),
            }));
        }
        if !self.caught_up {
            self.caught_up = true;
            return Ok(Step::Item(Item::CaughtUp {
                cursor: self.last,
                node_time_ms: 1,
            }));
        }
        Ok(if self.collection.stay {
            Step::Wait
        } else {
            Step::End
        })
    }
}

impl Delivery for Stream {
    fn next(&mut self) -> Carried<'_, Result<Option<Item>, RequestError>> {
        Box::pin(async move {
            loop {
                self.changed.borrow_and_update();
                match self.step()? {
                    Step::Item(item) => return Ok(Some(item)),
                    Step::End => return Ok(None),
                    Step::Wait => {
                        let _ = self.changed.changed().await;
                    }
                }
            }
        })
    }
}

fn record_of(certificate: &Certificate, binding: &CertificateBinding) -> Record {
    Record {
        certificate: certificate.to_bytes().into(),
        binding: binding.clone(),
    }
}
