//! What owners ask of their mailbox: each request is proven by the account's certificate.

use std::sync::Arc;

use bytes::Bytes;
use mailbox::{ControlError, Cursor, DeviceId, QueueId};
use protocol::answer::{Answer, Record, Refusal};
use protocol::command::{CodecError, Request, Route, TOKEN_BYTES, Ties, owner_message};
use protocol::stamp::MAX_EFFORT;
use wallet::{Certificate, CertificateBinding, Fingerprint, KeyId, WalletAddress, WalletSignature};

use super::Mailboxes;
use super::accounts::{Account, OpenAccountError};
use crate::clock::now_ms;
use crate::forward::{Postmark, seal_one};
use crate::links::Reply;
use crate::observer::Sight;

/// A challenge can be answered in the span in which it was made and in the next.
const CHALLENGE_SPAN_MS: u64 = 600_000;
/// Accounts that are opened at one price; each further lot costs the base price more.
const ACCOUNTS_AT_ONE_PRICE: usize = 16_384;
/// Routes of one wallet that are paid for within [`ROUTES_SPAN_MS`]: an account costs a second of
/// work, a route costs its mailbox money.
const ROUTES_PAID: u32 = 20;
/// An hour.
pub(super) const ROUTES_SPAN_MS: u64 = 3_600_000;

impl Mailboxes {
    /// Verifies who asks and does what is asked; the answer is sealed to the command's answer key.
    pub(crate) async fn owner(
        self: Arc<Self>,
        ties: &Ties,
        fingerprint: Fingerprint,
        request: &[u8],
        signature: &[u8; 64],
        postmark: &Postmark<'_>,
    ) -> Reply {
        let eyes = self.eyes.clone();
        let answer = match self
            .obey(ties, fingerprint, request, signature, postmark)
            .await
        {
            Ok(Obeyed::Answer(answer)) => answer,
            Ok(Obeyed::Stream(reply)) => return reply,
            Err(refusal) => Answer::Refused(refusal),
        }
        .encode();
        eyes.see(Sight::Answer { answer: &answer });
        seal_one(ties, &answer, false)
    }

    async fn obey(
        self: Arc<Self>,
        ties: &Ties,
        fingerprint: Fingerprint,
        request: &[u8],
        signature: &[u8; 64],
        postmark: &Postmark<'_>,
    ) -> Result<Obeyed, Refusal> {
        let message = owner_message(ties, request);
        let request = Request::decode(request).map_err(|e| match e {
            CodecError::Unsupported { .. } => Refusal::Unsupported,
            _ => Refusal::Malformed,
        })?;
        if let Request::OpenMailbox {
            certificate,
            binding,
            tokens,
        } = request
        {
            let parsed = Certificate::parse(certificate).map_err(|_| Refusal::Malformed)?;
            if parsed.fingerprint() != fingerprint || !parsed.verify_raw(&message, signature) {
                return Err(Refusal::Denied);
            }
            let record = Record {
                certificate: Bytes::copy_from_slice(certificate),
                binding,
            };
            return self
                .open_mailbox(parsed, record, &tokens, postmark)
                .await
                .map(Obeyed::Answer);
        }
        let account = self
            .accounts
            .by_fingerprint(&fingerprint)
            .ok_or(Refusal::NotFound)?;
        if !account.certificate().verify_raw(&message, signature) {
            return Err(Refusal::Denied);
        }
        match request {
            Request::Collect {
                device,
                after,
                window_bytes,
                stay,
            } => {
                let queue = queue_of(&account);
                let device = DeviceId::new(device);
                self.collect(
                    ties,
                    queue,
                    device,
                    after.map(Cursor::new),
                    window_bytes,
                    stay,
                )
                .await
                .map(Obeyed::Stream)
            }
            Request::Acknowledge { device, cursor } => {
                let (queue, device, cursor) = (
                    queue_of(&account),
                    DeviceId::new(device),
                    Cursor::new(cursor),
                );
                self.store
                    .acknowledge(queue, device, cursor, now_ms())
                    .await
                    .map_err(refusal_of)?;
                self.acknowledged(queue, device, cursor);
                Ok(Obeyed::Answer(Answer::Done))
            }
            Request::SubmitRoute { route, signature } => {
                self.submit_route(&account, route, signature).await?;
                Ok(Obeyed::Answer(Answer::Done))
            }
            Request::Serve { tags } => {
                let wallet = account.wallet();
                self.serve(ties, wallet, tags)
                    .map(Obeyed::Stream)
                    .map_err(|it| *it)
            }
            Request::CloseMailbox => {
                whole(async move {
                    self.accounts
                        .remove(&account.wallet())
                        .await
                        .map_err(|_| Refusal::Failed)?;
                    self.rendezvous.dismiss(&account.wallet());
                    self.store
                        .remove_queue(queue_of(&account))
                        .await
                        .map_err(refusal_of)
                })
                .await?;
                Ok(Obeyed::Answer(Answer::Done))
            }
            _ => Err(Refusal::Unsupported),
        }
    }

    async fn open_mailbox(
        &self,
        certificate: Certificate,
        record: Record,
        tokens: &[[u8; TOKEN_BYTES]],
        postmark: &Postmark<'_>,
    ) -> Result<Answer, Refusal> {
        if !self.config.enabled {
            return Err(Refusal::Unsupported);
        }
        let binding: &CertificateBinding = &record.binding;
        binding
            .verify()
            .and_then(|()| binding.verify_certificate(&certificate))
            .map_err(|_| Refusal::Denied)?;
        if !binding.mailboxes.contains(&self.me) {
            return Err(Refusal::Denied);
        }
        let before = self.accounts.by_wallet(&binding.wallet);
        if before.as_ref().is_some_and(|b| b.record() == record) {
            return Ok(Answer::Done);
        }
        // Opening an account is paid for; what an owner does with it later is not.
        let effort = opening_effort(self.config.stamp_effort, self.accounts.count());
        if before.is_none() && !postmark.pays(effort) {
            return Err(Refusal::StampRequired { effort });
        }
        let now = now_ms();
        let unproven: Vec<KeyId> = certificate
            .key_ids()
            .into_iter()
            .filter(|key| !before.as_ref().is_some_and(|b| b.holds(key)))
            .filter(|key| !self.is_proven(key, &certificate, tokens, now))
            .collect();
        if !unproven.is_empty() {
            return Ok(self.challenge(&unproven, &certificate, now));
        }
        let accounts = Arc::clone(&self.accounts);
        let opening = async move {
            accounts
                .open(certificate, record, now)
                .await
                .map_err(refuse)
        };
        whole(opening).await?;
        Ok(Answer::Done)
    }

    /// The token that only the holder of a subkey learns. It needs no memory: it is a MAC.
    fn token(&self, key: &KeyId, certificate: &Certificate, span: u64) -> [u8; TOKEN_BYTES] {
        let mut mac = ring::hmac::Context::with_key(&self.challenge_key);
        mac.update(key.as_bytes());
        mac.update(certificate.fingerprint().as_bytes());
        mac.update(&span.to_be_bytes());
        let mut token = [0; TOKEN_BYTES];
        token.copy_from_slice(mac.sign().as_ref());
        // No token begins like an envelope (a CBOR array), so that a client opens it as plain bytes.
        token[0] &= 0x7f;
        token
    }

    fn is_proven(
        &self,
        key: &KeyId,
        certificate: &Certificate,
        tokens: &[[u8; TOKEN_BYTES]],
        now: u64,
    ) -> bool {
        use subtle::ConstantTimeEq as _;
        let span = now / CHALLENGE_SPAN_MS;
        [span, span.saturating_sub(1)].iter().any(|span| {
            let expected = self.token(key, certificate, *span);
            tokens
                .iter()
                .any(|token| bool::from(token.ct_eq(&expected)))
        })
    }

    fn challenge(&self, keys: &[KeyId], certificate: &Certificate, now: u64) -> Answer {
        let mut rng = rand::thread_rng();
        keys.iter()
            .map(|key| {
                let token = self.token(key, certificate, now / CHALLENGE_SPAN_MS);
                packet::seal_bytes_to(certificate, Some(*key), &token, None, &mut rng)
                    .map(packet::Packet::into_bytes)
            })
            .collect::<Result<_, _>>()
            .map_or(Answer::Refused(Refusal::Malformed), Answer::Challenge)
    }

    /// Counts a route of a wallet; false once it has had enough of them.
    fn may_pay_for(&self, wallet: WalletAddress, now_ms: u64) -> bool {
        let mut paid = self.routes_paid.lock();
        let before = paid.recall(&wallet, now_ms).copied().unwrap_or(0);
        if before >= ROUTES_PAID {
            return false;
        }
        paid.remember(wallet, before + 1, now_ms);
        true
    }

    async fn submit_route(
        &self,
        account: &Account,
        route: Route,
        signature: WalletSignature,
    ) -> Result<(), Refusal> {
        let known = route.wallet == account.wallet()
            && route.fingerprint == account.certificate().fingerprint()
            && route.mailboxes.contains(&self.me);
        if !known {
            return Err(Refusal::Denied);
        }
        if !self.may_pay_for(route.wallet, now_ms()) {
            return Err(Refusal::Busy);
        }
        self.routes.submit(route, signature).await
    }
}

/// What opening one more account costs: so much more with each lot of them that whoever wants to take
/// all places works for years.
fn opening_effort(base: u32, accounts: usize) -> u32 {
    let lots = u32::try_from(accounts / ACCOUNTS_AT_ONE_PRICE).unwrap_or(u32::MAX);
    base.saturating_mul(lots.saturating_add(1)).min(MAX_EFFORT)
}

/// Finishes a change also if who asked for it goes away midway: memory must not differ from the disk.
async fn whole<T: Send + 'static>(
    change: impl Future<Output = Result<T, Refusal>> + Send + 'static,
) -> Result<T, Refusal> {
    tokio::spawn(change).await.unwrap_or(Err(Refusal::Failed))
}

fn refuse(error: OpenAccountError) -> Refusal {
    match error {
        OpenAccountError::Outdated | OpenAccountError::Contested => Refusal::Denied,
        OpenAccountError::Full => Refusal::Busy,
        OpenAccountError::Directory(error) => {
            tracing::error!(target: "node::mailbox", %error, "an account could not be written");
            Refusal::Failed
        }
    }
}

enum Obeyed {
    Answer(Answer),
    Stream(Reply),
}

fn queue_of(account: &Account) -> QueueId {
    QueueId::new(*account.wallet().as_bytes())
}

pub(super) fn refusal_of(error: ControlError) -> Refusal {
    match error {
        ControlError::UnknownDevice | ControlError::PastEnd { .. } => Refusal::Denied,
        ControlError::TooManyDevices { .. }
        | ControlError::TooManyQueues { .. }
        | ControlError::Busy => Refusal::Busy,
        error => {
            tracing::error!(target: "node::mailbox", %error, "a mailbox could not be changed");
            Refusal::Failed
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_grow_dearer_the_more_there_are_and_never_beyond_what_may_be_asked() {
        assert_eq!(opening_effort(100, 0), 100);
        assert_eq!(opening_effort(100, 16_383), 100);
        assert_eq!(opening_effort(100, 16_384), 200);
        assert_eq!(opening_effort(100, 1_000_000), 6_200);
        assert_eq!(opening_effort(u32::MAX, usize::MAX), MAX_EFFORT);
    }

    #[tokio::test]
    async fn change_that_nobody_waits_for_is_carried_out_whole() {
        let (begun, mut begins) = tokio::sync::mpsc::channel::<()>(1);
        let (done, is_done) = tokio::sync::oneshot::channel();
        let asker = tokio::spawn(whole(async move {
            let _said = begun.send(()).await;
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            let _said = done.send(());
            Ok(())
        }));
        begins.recv().await.unwrap();
        asker.abort();
        is_done.await.unwrap();
    }
}
