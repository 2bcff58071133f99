//! Transactions about names.

use alloy::{
    primitives::{B256, U256, keccak256},
    sol_types::{SolCall, SolValue},
};
use wallet::{WalletAddress, WalletKey};

use super::{Receipt, Registrar, SubmitError, evm_address};
use crate::{
    contracts::{Claim, NameRegistrar, NameRegistry, NameResolver, ReverseRegistrar},
    index::{NAME_GRACE_S, NameRecord},
    name::{Name, NameError},
    network::NameContracts,
    registrar::NameTerms,
};

const YEAR_S: u64 = 365 * 86_400;
const DAY_S: u64 = 86_400;
/// Days in which the premium of a lapsed name halves, as in the NameRegistrar.
const PREMIUM_DAYS: u64 = 16;

/// A claim to a name: committed to by its hash, revealed when that has aged, so that nobody can be quicker who saw it.
#[derive(Clone)]
pub struct NameClaim(Claim);

impl std::fmt::Debug for NameClaim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Who knew the secret could take the name.
        f.debug_struct("NameClaim").finish_non_exhaustive()
    }
}

impl NameClaim {
    /// Makes a claim of `owner` to a name for `duration_s` seconds that will say the wallet `target`.
    ///
    /// `secret` must be known to nobody else until the claim is revealed.
    ///
    /// # Errors
    /// [`NameError::NotRegistrable`] where nobody can register the name.
    pub fn new(
        name: &Name,
        owner: WalletAddress,
        duration_s: u64,
        target: WalletAddress,
        secret: [u8; 32],
    ) -> Result<Self, NameError> {
        Ok(Self(Claim {
            label: name.label()?.to_owned(),
            owner: evm_address(owner),
            duration: duration_s,
            target: evm_address(target),
            secret: B256::from(secret),
        }))
    }

    /// Makes a claim of a wallet to a name, with a secret that follows from the wallet's key: who is interrupted between
    /// commitment and registration makes the same claim again. `before` is the name's earlier registration, so that
    /// no secret that was shown serves again.
    ///
    /// # Errors
    /// [`NameError::NotRegistrable`] where nobody can register the name.
    pub fn of_wallet(
        name: &Name,
        key: &WalletKey,
        duration_s: u64,
        target: WalletAddress,
        chain_id: u64,
        before: Option<&NameRecord>,
    ) -> Result<Self, NameError> {
        let values = (
            "CONET secret of a claim to a name".to_owned(),
            U256::from(chain_id),
            name.as_str().to_owned(),
            duration_s,
            evm_address(target),
            before.map_or(0, |record| record.expiry_s),
        );
        // Signatures are deterministic (RFC 6979), and nobody else can make this one.
        let signature = key.sign_hash(&keccak256(values.abi_encode()).0);
        let secret = keccak256(signature.as_bytes()).0;
        Self::new(name, key.address(), duration_s, target, secret)
    }

    /// The hash that is committed to, for that chain and NameRegistrar.
    fn commitment(&self, chain_id: u64, registrar: WalletAddress) -> B256 {
        let Self(claim) = self;
        let label = keccak256(claim.label.as_bytes());
        let values = (
            U256::from(chain_id),
            evm_address(registrar),
            label,
            claim.owner,
            claim.duration,
            claim.target,
            claim.secret,
        );
        keccak256(values.abi_encode())
    }
}

impl NameTerms {
    /// What registering or prolonging a name costs at `now_s`, Unix seconds, wei; reckoned here, so that no RPC server
    /// learns which name is wanted. `before` is its earlier registration, if it is to be registered anew.
    ///
    /// # Errors
    /// [`NameError::NotRegistrable`] where nobody can register the name.
    pub fn price_wei(
        &self,
        name: &Name,
        duration_s: u64,
        before: Option<&NameRecord>,
        now_s: u64,
    ) -> Result<u128, NameError> {
        let factor = match name.label()?.chars().count() {
            3 => 64,
            4 => 8,
            _ => 1,
        };
        let year = U256::from(YEAR_S);
        let yearly = U256::from(self.price_per_year_wei);
        let product = yearly * U256::from(factor) * U256::from(duration_s);
        let base = product.div_ceil(year);
        let free_s = before.map(|record| record.expiry_s.saturating_add(NAME_GRACE_S));
        let passed_s = free_s.and_then(|free_s| now_s.checked_sub(free_s));
        let premium = match passed_s.map(|passed_s| (passed_s / DAY_S, passed_s % DAY_S)) {
            Some((days, rest_s)) if days <= PREMIUM_DAYS => {
                let at_days_begin = yearly << (PREMIUM_DAYS - days);
                at_days_begin - at_days_begin * U256::from(rest_s) / U256::from(2 * DAY_S)
            }
            _ => U256::ZERO,
        };
        Ok((base + premium).saturating_to())
    }
}

impl Registrar {
    /// What names cost on this network, and how long commitments age.
    ///
    /// # Errors
    /// [`SubmitError::NoServer`], [`SubmitError::NoNames`].
    pub async fn name_terms(&self) -> Result<NameTerms, SubmitError> {
        let registrar = self.names()?.registrar;
        let price = (self.submitter).view(registrar, NameRegistrar::PRICE_PER_YEARCall {});
        let price_per_year_wei = price.await?.saturating_to();
        let least = (self.submitter).view(registrar, NameRegistrar::MIN_COMMITMENT_AGECall {});
        let min_commitment_age_s = least.await?;
        let greatest = (self.submitter).view(registrar, NameRegistrar::MAX_COMMITMENT_AGECall {});
        Ok(NameTerms {
            price_per_year_wei,
            min_commitment_age_s,
            max_commitment_age_s: greatest.await?,
        })
    }

    /// The Unix second at which a claim was committed to; none where it wasn't, or the commitment is used up. Tells the
    /// RPC server the hash only.
    ///
    /// # Errors
    /// [`SubmitError::NoServer`], [`SubmitError::NoNames`].
    pub async fn commitment_time(&self, claim: &NameClaim) -> Result<Option<u64>, SubmitError> {
        let registrar = self.names()?.registrar;
        let commitment = claim.commitment(self.chain_id, registrar);
        let call = NameRegistrar::commitmentTimeCall { commitment };
        let time_s = self.submitter.view(registrar, call).await?;
        Ok(Some(time_s).filter(|time_s| *time_s != 0))
    }

    /// Commits to a claim; says nothing of it but its hash.
    ///
    /// # Errors
    /// [`SubmitError`]; [`Revert::CommitmentPending`](super::Revert::CommitmentPending) where that was done already.
    pub async fn commit_to_name(&self, claim: &NameClaim) -> Result<Receipt, SubmitError> {
        let registrar = self.names()?.registrar;
        let commitment = claim.commitment(self.chain_id, registrar);
        self.name_call(registrar, NameRegistrar::commitCall { commitment }, 0)
            .await
    }

    /// Registers a name by a claim that was committed to; what is paid above the price comes back.
    ///
    /// # Errors
    /// [`SubmitError`]; [`Revert::CommitmentTooNew`](super::Revert::CommitmentTooNew) where the commitment has not aged.
    pub async fn register_name(
        &self,
        claim: &NameClaim,
        wei: u128,
    ) -> Result<Receipt, SubmitError> {
        let call = NameRegistrar::registerCall {
            claim: claim.0.clone(),
        };
        self.name_call(self.names()?.registrar, call, wei).await
    }

    /// Prolongs the registration of a name, anybody's; what is paid above the price comes back.
    ///
    /// # Errors
    /// [`SubmitError`].
    pub async fn renew_name(
        &self,
        name: &Name,
        duration_s: u64,
        wei: u128,
    ) -> Result<Receipt, SubmitError> {
        let label = name.label()?.to_owned();
        let call = NameRegistrar::renewCall {
            label,
            duration: duration_s,
        };
        self.name_call(self.names()?.registrar, call, wei).await
    }

    /// Gives a name of the paying wallet's to another; what it says stays until the new owner changes it.
    ///
    /// # Errors
    /// [`SubmitError`]; [`Revert::NotNameOwner`](super::Revert::NotNameOwner) where the paying wallet does not own it.
    pub async fn transfer_name(
        &self,
        name: &Name,
        to: WalletAddress,
    ) -> Result<Receipt, SubmitError> {
        let call = NameRegistry::setOwnerCall {
            node: node(name)?,
            newOwner: evm_address(to),
        };
        self.name_call(self.names()?.registry, call, 0).await
    }

    /// Says by which wallet a name of the paying wallet's is known from now on.
    ///
    /// # Errors
    /// [`SubmitError`].
    pub async fn set_name_wallet(
        &self,
        name: &Name,
        wallet: WalletAddress,
    ) -> Result<Receipt, SubmitError> {
        let call = NameResolver::setAddrCall {
            node: node(name)?,
            a: evm_address(wallet),
        };
        self.name_call(self.names()?.resolver, call, 0).await
    }

    /// Says what the paying wallet is called (ENSIP-3); others believe it if the name says the wallet.
    ///
    /// # Errors
    /// [`SubmitError`].
    pub async fn set_own_name(&self, name: &Name) -> Result<Receipt, SubmitError> {
        let name = name.as_str().to_owned();
        let call = ReverseRegistrar::setNameCall { name };
        self.name_call(self.names()?.reverse, call, 0).await
    }

    fn names(&self) -> Result<NameContracts, SubmitError> {
        self.contracts.names().ok_or(SubmitError::NoNames)
    }

    async fn name_call(
        &self,
        to: WalletAddress,
        call: impl SolCall,
        wei: u128,
    ) -> Result<Receipt, SubmitError> {
        (self.submitter)
            .submit(Some(to), U256::from(wei), call.abi_encode().into())
            .await
    }
}

fn node(name: &Name) -> Result<B256, NameError> {
    let node = name.nodes().last().map(|node| B256::from(*node.as_bytes()));
    node.ok_or(NameError::NotBelowConet)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: NameTerms = NameTerms {
        price_per_year_wei: 1_000_000,
        min_commitment_age_s: 1,
        max_commitment_age_s: 2,
    };

    fn price(text: &str, duration_s: u64, before: Option<u64>, now_s: u64) -> u128 {
        let name = Name::parse(text).unwrap();
        let before = before.map(|expiry_s| NameRecord {
            name: name.clone(),
            owner: WalletAddress::from_bytes([1; 20]),
            wallet: None,
            expiry_s,
        });
        (TERMS.price_wei(&name, duration_s, before.as_ref(), now_s)).unwrap()
    }

    #[test]
    fn claim_of_a_wallet_is_the_same_again_and_another_for_other_values() {
        let [alice, bob] = [1, 2].map(crate::test_data::key);
        let name = Name::parse("shop.conet").unwrap();
        let before = NameRecord {
            name: name.clone(),
            owner: bob.address(),
            wallet: None,
            expiry_s: 7,
        };
        let claim = |key: &WalletKey, duration_s, before| {
            NameClaim::of_wallet(&name, key, duration_s, alice.address(), 1, before).unwrap()
        };
        let secret = |claim: NameClaim| claim.0.secret;
        let first = secret(claim(&alice, 5, None));
        assert_eq!(first, secret(claim(&alice, 5, None)));
        for other in [
            claim(&bob, 5, None),
            claim(&alice, 6, None),
            claim(&alice, 5, Some(&before)),
        ] {
            assert_ne!(first, secret(other));
        }
    }

    #[test]
    fn price_is_that_of_the_registrar() {
        assert_eq!(price("abcde.conet", YEAR_S, None, 0), 1_000_000);
        assert_eq!(price("abcd.conet", YEAR_S, None, 0), 8_000_000);
        assert_eq!(price("abc.conet", YEAR_S, None, 0), 64_000_000);
        assert_eq!(price("中文字.conet", YEAR_S, None, 0), 64_000_000);
        assert_eq!(price("abcde.conet", 1, None, 0), 1);
    }

    #[test]
    fn price_of_a_lapsed_name_falls_for_seventeen_days() {
        let free_s = 1_000 + NAME_GRACE_S;
        let premium = |now_s| price("abcde.conet", YEAR_S, Some(1_000), now_s) - 1_000_000;
        assert_eq!(premium(free_s - 1), 0);
        assert_eq!(premium(free_s), 1_000_000 << 16);
        assert_eq!(premium(free_s + DAY_S / 2), (1_000_000 << 16) * 3 / 4);
        assert_eq!(premium(free_s + DAY_S), 1_000_000 << 15);
        assert_eq!(premium(free_s + 16 * DAY_S), 1_000_000);
        assert_eq!(premium(free_s + 17 * DAY_S), 0);
    }
}
