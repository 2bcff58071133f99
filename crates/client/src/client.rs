//! The client itself: one unlocked wallet of a home, on a network.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ledger::{Name, NetworkFile};
use packet::MessageId;
use protocol::NodeId;
use protocol::target::Target as ServiceTarget;
use wallet::{ContactUri, WalletAddress};
use zeroize::Zeroizing;

use crate::carrier::{Carrier, Privacy, RequestError};
use crate::history::{HistoryEntry, entry_of};
use crate::home::{Account, Home, HomeError, Recipient, RecipientError};
use crate::network::{Network, NetworkError};
use crate::receive::{ListenError, ListenOptions, Listener, Message, listen};
use crate::send::{FlushReport, Outbox, SendError, SendOptions, Sent, Waiting};
use crate::services::{PublishError, Publisher, publish};
use crate::state::Party;
use crate::upkeep::{RouteLedger, Upkeep, UpkeepError};

/// The most lines of history that are read at once.
pub const MAX_HISTORY_READ: u32 = 10_000;

/// What a client is made of.
#[derive(Debug)]
pub struct ClientOptions {
    /// The home folder.
    pub home: PathBuf,
    /// The network to use.
    pub network: NetworkFile,
    /// Label or address of the wallet; the first of the home where none is said.
    pub wallet: Option<String>,
    /// The wallet's password.
    pub password: Zeroizing<String>,
    /// How much of the path is hidden where a message says nothing else.
    pub privacy: Privacy,
    /// Whether contacts get receipts for what came.
    pub receipts: bool,
    /// The address of this machine that exchanges leave from, where it has several; the system's choice
    /// where none is said.
    pub from: Option<IpAddr>,
}

impl ClientOptions {
    /// The usual options: first wallet, empty password, `relayed`, receipts on.
    #[must_use]
    pub fn new(home: impl Into<PathBuf>, network: NetworkFile) -> Self {
        Self {
            home: home.into(),
            network,
            wallet: None,
            password: Zeroizing::default(),
            privacy: Privacy::default(),
            receipts: true,
            from: None,
        }
    }
}

/// Why a client can't be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenClientError {
    /// The home or wallet can't be used.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The network can't be used.
    #[error(transparent)]
    Network(#[from] NetworkError),
}

/// A wallet on a network: sends, listens, answers. Clones share it.
#[derive(Clone)]
pub struct Client {
    home: Home,
    account: Arc<Account>,
    carrier: Arc<dyn Carrier>,
    /// The network itself, where that is what carries.
    network: Option<Network>,
    outbox: Outbox,
    upkeep: Upkeep,
    privacy: Privacy,
    receipts: bool,
}

impl Client {
    /// Unlocks the wallet and opens the network. Speaks to nobody yet; takes about a second for a wallet with the
    /// usual password cost.
    ///
    /// # Errors
    /// [`OpenClientError`] for a wrong password, an unknown wallet or files that can't be used.
    pub async fn open(options: ClientOptions) -> Result<Self, OpenClientError> {
        let (path, selector, password) = (options.home, options.wallet, options.password);
        let unlocked = tokio::task::spawn_blocking(move || {
            let home = Home::open(path)?;
            let head = home.find(selector.as_deref())?;
            let account = home.unlock(&head, &password)?;
            Ok::<_, HomeError>((home, account))
        });
        let (home, account) = match unlocked.await {
            Ok(unlocked) => unlocked?,
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        };
        let network =
            Network::open_from(home.path(), options.network.clone(), options.from).await?;
        network.exclude_as_entries(home.mailboxes()?);
        let ledger = RouteLedger::of(&options.network);
        let carrier = Arc::new(network.clone());
        let mut client = Self::assemble(home, account, carrier, Some(ledger));
        client.network = Some(network);
        client.privacy = options.privacy;
        client.receipts = options.receipts;
        Ok(client)
    }

    /// A client on a carrier of one's own; it has no ledger to list routes on.
    #[must_use]
    pub fn with_carrier(home: Home, account: Account, carrier: Arc<dyn Carrier>) -> Self {
        Self::assemble(home, account, carrier, None)
    }

    fn assemble(
        home: Home,
        account: Account,
        carrier: Arc<dyn Carrier>,
        ledger: Option<RouteLedger>,
    ) -> Self {
        let account = Arc::new(account);
        let outbox = Outbox::new(
            Arc::clone(&account),
            Arc::clone(&carrier),
            home.clock().clone(),
        );
        let upkeep = Upkeep {
            home: home.clone(),
            account: Arc::clone(&account),
            carrier: Arc::clone(&carrier),
            outbox: outbox.clone(),
            ledger,
        };
        Self {
            home,
            account,
            carrier,
            network: None,
            outbox,
            upkeep,
            privacy: Privacy::default(),
            receipts: true,
        }
    }

    /// The home that the wallet lies in.
    #[must_use]
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// The wallet.
    #[must_use]
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// The wallet's address.
    #[must_use]
    pub fn address(&self) -> WalletAddress {
        self.account.address()
    }

    /// What others need to write to this wallet.
    ///
    /// # Errors
    /// [`HomeError`] if its certificate can't be read.
    pub fn contact_uri(&self) -> Result<ContactUri, HomeError> {
        self.account.contact_uri()
    }

    /// Waits until enough nodes are known.
    ///
    /// # Errors
    /// [`RequestError`] if that takes longer than `patience`.
    pub async fn ready(&self, patience: Duration) -> Result<(), RequestError> {
        self.carrier.ready(patience).await
    }

    /// Reads whom to send to: an address, a contact URI, the name of a contact or the label of an own wallet.
    ///
    /// # Errors
    /// [`SendError::Recipient`] says what the text is not.
    pub fn recipient(&self, text: &str) -> Result<Recipient, SendError> {
        Ok(self.home.recipient(text)?)
    }

    /// Reads whom to send to, as [`Client::recipient`] does, or a name of the ledger (`shop.conet`), by the index: nobody
    /// is asked. Waits until the ledger has been read once since the client was opened, ten seconds at most.
    ///
    /// What the home knows comes first: nobody can register the name of a contact.
    ///
    /// # Errors
    /// [`SendError::Recipient`] says what the text is not.
    pub async fn whom(&self, text: &str) -> Result<Recipient, SendError> {
        let text = match self.home.recipient(text) {
            Err(RecipientError::NetworkName(text)) => text,
            known => return Ok(known?),
        };
        let name = Name::parse(&text).map_err(|source| RecipientError::Name { text, source })?;
        match self.carrier.resolve(&name).await {
            Ok(wallet) => Ok(Recipient {
                name: Some(name.to_string()),
                ..self.home.recipient(&wallet.to_string())?
            }),
            Err(source) => Err(RecipientError::Unresolved { name, source }.into()),
        }
    }

    /// Sends a text of at most [`crate::send::MAX_TEXT_BYTES`]; returns when mailboxes have acknowledged it.
    ///
    /// The message is durable in the outbox before the first attempt.
    ///
    /// # Errors
    /// [`SendError::NotYet`] if nothing got through in time (it stays in the outbox), [`SendError::Refused`] if it
    /// can't be sent at all (it does not).
    ///
    /// # Cancel safety
    /// If the future is dropped, the message stays in the outbox.
    pub async fn send_text(
        &self,
        to: &Recipient,
        text: &str,
        options: SendOptions,
    ) -> Result<Sent, SendError> {
        self.outbox
            .send_text(to, text, self.privacy, &options)
            .await
    }

    /// Sends a file of any size up to about 64 GiB; returns when mailboxes have acknowledged all of it.
    ///
    /// A file whose sending was interrupted, to the same recipient and unchanged, goes on where it was.
    ///
    /// # Errors
    /// As [`Client::send_text`], and [`SendError::File`] if the file can't be read.
    ///
    /// # Cancel safety
    /// If the future is dropped, the transfer stays in the outbox.
    pub async fn send_file(
        &self,
        to: &Recipient,
        path: &Path,
        options: SendOptions,
    ) -> Result<Sent, SendError> {
        self.outbox
            .send_file(to, path, self.privacy, &options)
            .await
    }

    /// Answers a message with a text.
    ///
    /// # Errors
    /// [`SendError::NobodyToAnswer`] if it does not tell who sent it; others as [`Client::send_text`].
    pub async fn reply(
        &self,
        message: &Message,
        text: &str,
        options: SendOptions,
    ) -> Result<Sent, SendError> {
        let to = self.sender_of(message)?;
        self.send_text(&to, text, options).await
    }

    /// Whom an answer to a message goes to.
    ///
    /// # Errors
    /// [`SendError::NobodyToAnswer`].
    pub fn sender_of(&self, message: &Message) -> Result<Recipient, SendError> {
        let wallet = message.from.wallet.ok_or(SendError::NobodyToAnswer)?;
        let known = self.home.recipient(&wallet.to_string())?;
        let reply = message.reply.as_ref();
        Ok(Recipient {
            fingerprint: known.fingerprint.or(reply.map(|reply| reply.fingerprint)),
            mailboxes: reply.map_or(known.mailboxes, |reply| reply.mailboxes.clone()),
            ..known
        })
    }

    /// Tries once to send each message of the outbox that is due.
    ///
    /// # Errors
    /// [`SendError::State`] if the outbox can't be read.
    pub async fn flush_outbox(&self) -> Result<FlushReport, SendError> {
        Ok(self.outbox.flush().await?)
    }

    /// Tries once to send each message of the outbox, also those that are not due yet.
    ///
    /// # Errors
    /// [`SendError::State`] if the outbox can't be read.
    pub async fn flush_outbox_now(&self) -> Result<FlushReport, SendError> {
        Ok(self.outbox.flush_all().await?)
    }

    /// What waits in the outbox, oldest first.
    ///
    /// # Errors
    /// [`SendError::State`] if it can't be read.
    pub async fn outbox(&self) -> Result<Vec<Waiting>, SendError> {
        Ok(self.outbox.waiting().await?)
    }

    /// Gives up a message of the outbox; says whether it was there. A process that is sending it just now may
    /// still send it.
    ///
    /// # Errors
    /// [`SendError::State`] if that can't be written down.
    pub async fn drop_from_outbox(&self, id: MessageId) -> Result<bool, SendError> {
        Ok(self.outbox.give_up(id).await?)
    }

    /// Begins to listen, as the only listener of this wallet in this home.
    ///
    /// # Errors
    /// [`ListenError::AlreadyListening`], [`ListenError::NoMailbox`], or what can't be used.
    pub async fn listen(&self, options: ListenOptions) -> Result<Listener, ListenError> {
        let upkeep = self.upkeep.clone();
        listen(
            &self.home,
            &self.account,
            &self.carrier,
            upkeep,
            self.receipts,
            options,
        )
        .await
    }

    /// Serves services of this wallet by the names in `targets`, at most 64: strangers' streams to them come out of the
    /// publisher. Keeps the wallet's standing meanwhile.
    ///
    /// # Errors
    /// [`PublishError`].
    pub async fn publish(&self, targets: Vec<ServiceTarget>) -> Result<Publisher, PublishError> {
        let network = self.network.clone().ok_or(PublishError::NoNetwork)?;
        publish(
            &self.home,
            &self.account,
            network,
            self.upkeep.clone(),
            targets,
        )
        .await
    }

    /// The network that the client uses; none where it has a carrier of its own.
    #[must_use]
    pub fn network(&self) -> Option<&Network> {
        self.network.as_ref()
    }

    /// The last messages to and from somebody, or everybody, oldest first; at most [`MAX_HISTORY_READ`].
    ///
    /// # Errors
    /// [`HomeError::State`] if they can't be read.
    pub async fn history(
        &self,
        with: Option<&Recipient>,
        limit: u32,
    ) -> Result<Vec<HistoryEntry>, HomeError> {
        let party = with.map(|with| Party::Wallet(with.wallet));
        let limit = limit.min(MAX_HISTORY_READ);
        let state = self.account.state();
        let rows = state.run(move |state| state.history(party.as_ref(), limit));
        let rows = rows.await?;
        let book = self.home.contacts()?;
        Ok(rows.into_iter().map(|row| entry_of(row, &book)).collect())
    }

    /// Picks mailboxes at random among the nodes of the network: 1–3.
    ///
    /// # Errors
    /// [`UpkeepError::Network`] or [`UpkeepError::TooFewNodes`].
    pub async fn pick_mailboxes(&self, count: usize) -> Result<Vec<NodeId>, UpkeepError> {
        self.upkeep.pick_mailboxes(count).await
    }

    /// Gives the wallet these mailboxes, best first, and opens accounts there; with `listed` the first of them puts
    /// the route on the ledger. Former mailboxes are still collected from for 16 days.
    ///
    /// # Errors
    /// [`UpkeepError`]; what was decided is kept and tried again by whoever listens.
    pub async fn set_route(&self, mailboxes: Vec<NodeId>, listed: bool) -> Result<(), UpkeepError> {
        self.upkeep.set_mailboxes(mailboxes, listed).await
    }

    /// As [`Client::set_route`], with the mailboxes in `named` and, up to `count`, others at random; one of those that
    /// does not open an account gives way to another.
    ///
    /// # Errors
    /// [`UpkeepError`]; what was decided last is kept and tried again by whoever listens.
    pub async fn fill_route(
        &self,
        named: Vec<NodeId>,
        count: usize,
        listed: bool,
    ) -> Result<(), UpkeepError> {
        self.upkeep.fill_mailboxes(named, count, listed).await
    }

    /// Takes the wallet off its mailboxes: new mail can't reach it once senders have noticed.
    ///
    /// A route on the ledger is replaced by one that is over within an hour. What is under way is still collected.
    ///
    /// # Errors
    /// [`UpkeepError`] if that can't be written down, or no former mailbox puts that on the ledger (then whoever
    /// listens tries again).
    pub async fn clear_route(&self) -> Result<(), UpkeepError> {
        self.upkeep.clear_mailboxes().await
    }

    /// The wallet's route as it has decided: mailboxes, listing, and who has heard of it.
    ///
    /// # Errors
    /// [`HomeError`] if it can't be read.
    pub fn route(&self) -> Result<RouteStatus, HomeError> {
        let identity = self.account.identity()?;
        let sequence = identity.binding.sequence;
        Ok(RouteStatus {
            mailboxes: identity.binding.mailboxes.clone(),
            announced: identity.standing.announced.clone(),
            sequence,
            listed: identity.standing.listed,
            on_ledger: identity.standing.listed
                && identity.standing.route_sequence == Some(sequence),
            former: (identity.standing.retiring.iter())
                .map(|former| former.node)
                .collect(),
        })
    }

    /// Replaces the wallet's encryption subkeys now and tells its mailboxes.
    ///
    /// # Errors
    /// [`UpkeepError`]; the new subkeys are kept and announced by whoever listens.
    pub async fn rotate(&self) -> Result<(), UpkeepError> {
        self.upkeep.rotate().await
    }

    /// Does for the wallet's standing what is due: rotates, destroys old secrets, announces, lists.
    ///
    /// # Errors
    /// [`UpkeepError`] for the first thing that failed; it is tried again by whoever listens.
    pub async fn maintain(&self) -> Result<(), UpkeepError> {
        self.upkeep.maintain().await
    }
}

/// A wallet's route.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RouteStatus {
    /// The mailboxes, best first.
    pub mailboxes: Vec<NodeId>,
    /// Those that have heard of the current certificate.
    pub announced: Vec<NodeId>,
    /// The sequence of certificate and route.
    pub sequence: u64,
    /// Whether the wallet wants its route on the ledger.
    pub listed: bool,
    /// Whether a mailbox has put the current one there.
    pub on_ledger: bool,
    /// Former mailboxes that are still collected from.
    pub former: Vec<NodeId>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("account", &self.account)
            .finish_non_exhaustive()
    }
}
