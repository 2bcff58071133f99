//! All names in memory, and what they come to at one moment.
//!
//! **Invariant:** a name stands here if and only if it stands in the NameRegistry at the block that was read last: no
//! node from it upwards has expired, and each was given in the present generation of the one above.

use std::collections::HashMap;

use wallet::WalletAddress;

use super::name_row::NameRow;
use crate::name::{MAX_NAME_LABELS, Name, NameNode};

/// Seconds after its expiry in which only its holder can renew a name, as in the NameRegistrar.
pub const NAME_GRACE_S: u64 = 90 * 86_400;
/// The label below which a name says what names have to say that nobody has made, as in DNS.
const WILDCARD: &str = "*";

/// The names at one moment.
#[derive(Debug, Default)]
pub(super) struct NameTable {
    rows: HashMap<NameNode, NameRow>,
}

/// What the ledger says of a registered name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameRecord {
    /// The name.
    pub name: Name,
    /// To whom it belongs; in its days of grace, to whom it belonged.
    pub owner: WalletAddress,
    /// The wallet that it says, if any.
    pub wallet: Option<WalletAddress>,
    /// Unix second from which it says nothing.
    pub expiry_s: u64,
}

/// Why a name says no wallet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// Nobody has the name.
    #[error("nobody has registered it")]
    Unregistered,
    /// The registration is over; names below an expired one are meant too.
    #[error("its registration is over since {expiry_s} (Unix seconds)")]
    Expired {
        /// When it ended, Unix seconds.
        expiry_s: u64,
    },
    /// Its owner has not said a wallet.
    #[error("it says no wallet")]
    NoWallet,
    /// Its owner chose a resolver whose events are not read here.
    #[error("it says its wallet by a contract that is not known here")]
    ForeignResolver,
}

impl NameRecord {
    /// Tells whether the name says nothing any more at `now_s`, Unix seconds.
    #[must_use]
    pub const fn is_expired(&self, now_s: u64) -> bool {
        self.expiry_s <= now_s
    }

    /// Tells whether anybody may register it at `now_s`, Unix seconds.
    #[must_use]
    pub const fn is_free(&self, now_s: u64) -> bool {
        self.expiry_s.saturating_add(NAME_GRACE_S) <= now_s
    }
}

impl NameTable {
    /// Puts a node's row in place of its old one; no row removes it.
    pub(super) fn put(&mut self, node: NameNode, row: Option<&[u8]>) {
        match row.and_then(NameRow::read) {
            Some(row) => self.rows.insert(node, row),
            None => self.rows.remove(&node),
        };
    }

    pub(super) fn len(&self) -> usize {
        (self.rows.values())
            .filter(|row| !row.label.is_empty())
            .count()
    }

    /// The wallet that a name says.
    pub(super) fn resolve(&self, name: &Name, now_s: u64) -> Result<WalletAddress, ResolveError> {
        let nodes = name.nodes();
        let top = nodes.first().and_then(|node| self.rows.get(node));
        // Who was given nothing by the registrar has no name, whatever there is below it.
        let top = top.ok_or(ResolveError::Unregistered)?;
        if let Some(expiry_s) = top.expiry_s.filter(|expiry_s| *expiry_s <= now_s) {
            return Err(ResolveError::Expired { expiry_s });
        }
        let standing = |node: &NameNode| self.standing(*node, now_s);
        let own = nodes.last().and_then(standing);
        let row = own.or_else(|| {
            let nearest = nodes.iter().rev().find(|node| standing(node).is_some())?;
            self.standing(nearest.below(WILDCARD), now_s)
        });
        let row = row.ok_or(ResolveError::Unregistered)?;
        if !row.resolver_known {
            return Err(ResolveError::ForeignResolver);
        }
        row.wallet.ok_or(ResolveError::NoWallet)
    }

    /// What a wallet is called: the name that it gave itself, if that name says the wallet.
    pub(super) fn called(&self, wallet: &WalletAddress, now_s: u64) -> Option<Name> {
        let digits = hex::encode(wallet.as_bytes());
        let reverse = NameNode::ROOT.below("reverse").below("addr").below(&digits);
        let row = self.standing(reverse, now_s)?;
        if !row.resolver_known {
            return None;
        }
        let name = Name::parse(&row.called).ok()?;
        // In another form it could be taken for another.
        let normal = name.as_str() == row.called;
        (normal && self.resolve(&name, now_s) == Ok(*wallet)).then_some(name)
    }

    /// The registration of a name directly below `.conet`, expired or not; none where there never was one.
    pub(super) fn registered(&self, name: &Name) -> Option<NameRecord> {
        let nodes = name.nodes();
        let [node] = nodes.as_slice() else {
            return None;
        };
        self.rows.get(node).and_then(record)
    }

    /// The registered names of a wallet, expired ones too, in order. Looks at all names.
    pub(super) fn of_owner(&self, owner: &WalletAddress) -> Vec<NameRecord> {
        let rows = self.rows.values().filter(|row| row.owner == *owner);
        let mut records: Vec<_> = rows.filter_map(record).collect();
        records.sort_by(|a, b| a.name.cmp(&b.name));
        records
    }

    /// The row of a node that has an owner and stands.
    fn standing(&self, node: NameNode, now_s: u64) -> Option<&NameRow> {
        let found = self.rows.get(&node)?;
        let mut row = found;
        // As often as a name has parts; the registry has none with more.
        for _ in 0..MAX_NAME_LABELS {
            if row.expiry_s.is_some_and(|expiry_s| expiry_s <= now_s) {
                return None;
            }
            let Some(parent) = self.rows.get(&row.parent) else {
                break;
            };
            if parent.generation != row.parent_generation {
                return None;
            }
            row = parent;
        }
        found.has_owner().then_some(found)
    }
}

fn record(row: &NameRow) -> Option<NameRecord> {
    Some(NameRecord {
        name: Name::of_label(&row.label)?,
        owner: row.owner,
        wallet: row.wallet.filter(|_| row.resolver_known),
        expiry_s: row.expiry_s?,
    })
}
