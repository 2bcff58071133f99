//! Names from the contracts into the index, on the local chain.

#![expect(
    clippy::unwrap_used,
    reason = "a test that fails here has found something"
)]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use alloy_primitives::U256;
use chain::{BlockTime, Chain, ChainConfig, RunningChain};
use ledger::{
    Contracts, DeploymentTerms, Index, Name, NameClaim, NameTerms, NetworkFile, Registrar,
    ResolveError, Revert, SubmitError, Syncer, deploy, deploy_names,
};
use tokio_util::sync::CancellationToken;
use wallet::{Mnemonic, WalletAddress, WalletKey};

const MNEMONIC: &str = "test test test test test test test test test test test junk";
const COIN_WEI: u128 = 1_000_000_000_000_000_000;
const MONTH_S: u64 = 30 * 86_400;
const TERMS: NameTerms = NameTerms {
    price_per_year_wei: COIN_WEI,
    min_commitment_age_s: 1,
    max_commitment_age_s: 3_600,
};
/// Attempts to use a commitment that ages, each a quarter of a second after the one before.
const MAX_ATTEMPTS: usize = 60;

struct World {
    network: NetworkFile,
    index: Index,
    syncer: Syncer,
    _chain: RunningChain,
}

fn now_s() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap().as_secs()
}

fn payer(number: u32) -> WalletKey {
    Mnemonic::parse(MNEMONIC).unwrap().wallet(number).unwrap()
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

async fn world() -> World {
    let wei = U256::from(10_000) * U256::from(COIN_WEI);
    let accounts = (0..4).map(|number| (*payer(number).address().as_bytes(), wei));
    let config = ChainConfig {
        genesis_accounts: accounts.collect(),
        block_time: BlockTime::Instant,
        ..ChainConfig::default()
    };
    let chain = Chain::start(config, CancellationToken::new())
        .await
        .unwrap();
    let nowhere = WalletAddress::from_bytes([0; 20]);
    let mut network = NetworkFile {
        version: 1,
        name: "test".into(),
        chain_id: 31_337,
        rpc_urls: vec![chain.rpc_url()],
        contracts: Contracts {
            node_registry: nowhere,
            route_registry: nowhere,
            name_registry: None,
            bridge_offers: None,
        },
        start_block: 0,
        confirmations: 0,
        bootstrap: Vec::new(),
        plain_intake_path: None,
        stamp_effort: 0,
        dev: None,
    };
    let terms = DeploymentTerms {
        min_stake_wei: COIN_WEI,
        unbonding_period_s: 0,
    };
    let deployed = deploy(&network, &payer(0), &terms).await.unwrap();
    network.contracts = deployed.contracts;
    network.start_block = deployed.block;
    let registry = deploy_names(&network, &payer(0), &TERMS).await.unwrap();
    network.contracts.name_registry = Some(registry);
    let index = Index::open_in_memory(&network).unwrap();
    World {
        syncer: Syncer::new(index.clone(), &network).unwrap(),
        index,
        network,
        _chain: chain,
    }
}

impl World {
    fn registrar(&self, number: u32) -> Registrar {
        Registrar::new(&self.network, &payer(number)).unwrap()
    }

    async fn sync(&self) {
        for _ in 0..100 {
            if self.syncer.sync_once().await.unwrap().caught_up {
                return;
            }
        }
        panic!("never caught up");
    }

    /// Registers a name for the payer of that number.
    async fn register(&self, number: u32, text: &str) -> Result<(), SubmitError> {
        let registrar = self.registrar(number);
        let owner = registrar.payer();
        let claim = NameClaim::new(&name(text), owner, MONTH_S, owner, [number as u8; 32]).unwrap();
        registrar.commit_to_name(&claim).await?;
        assert!(registrar.commitment_time(&claim).await?.is_some());
        let wei = TERMS.price_wei(&name(text), MONTH_S, None, now_s());
        use_commitment(&registrar, &claim, wei.unwrap()).await
    }
}

async fn use_commitment(
    registrar: &Registrar,
    claim: &NameClaim,
    wei: u128,
) -> Result<(), SubmitError> {
    for _ in 0..MAX_ATTEMPTS {
        match registrar.register_name(claim, wei).await {
            Err(SubmitError::Reverted(Revert::CommitmentTooNew { .. })) => {}
            outcome => return outcome.map(|_| ()),
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    panic!("the commitment never aged");
}

#[tokio::test]
async fn name_registered_handed_on_and_prolonged_shows_in_the_index() {
    let world = world().await;
    let [alice, bob] = [1, 2].map(|number| world.registrar(number));
    let shop = name("shop.conet");
    assert_eq!(alice.name_terms().await.unwrap(), TERMS);
    world.register(1, "shop.conet").await.unwrap();
    alice.set_own_name(&shop).await.unwrap();
    world.sync().await;
    assert_eq!(world.index.resolve(&shop, now_s()), Ok(alice.payer()));
    assert_eq!(
        world.index.name_of(&alice.payer(), now_s()),
        Some(shop.clone())
    );
    let before = world.index.registration(&shop).unwrap();
    assert_eq!(before.owner, alice.payer());
    let expired = world.index.resolve(&shop, before.expiry_s);
    assert!(matches!(expired, Err(ResolveError::Expired { .. })));

    alice.transfer_name(&shop, bob.payer()).await.unwrap();
    let refused = alice.transfer_name(&shop, alice.payer()).await.unwrap_err();
    assert!(
        matches!(refused, SubmitError::Reverted(Revert::NotNameOwner { caller }) if caller == alice.payer()),
        "{refused}"
    );
    bob.set_name_wallet(&shop, bob.payer()).await.unwrap();
    let wei = TERMS.price_wei(&shop, MONTH_S, None, now_s()).unwrap();
    alice.renew_name(&shop, MONTH_S, wei).await.unwrap();
    world.sync().await;
    let after = world.index.registration(&shop).unwrap();
    assert_eq!(after.owner, bob.payer());
    assert_eq!(after.expiry_s, before.expiry_s + MONTH_S);
    assert_eq!(world.index.resolve(&shop, now_s()), Ok(bob.payer()));
    // Alice still says that she is called so, and the name says otherwise.
    assert_eq!(world.index.name_of(&alice.payer(), now_s()), None);
}

#[tokio::test]
async fn name_of_somebody_is_refused_to_others() {
    let world = world().await;
    world.register(1, "shop.conet").await.unwrap();
    let refused = world.register(2, "shop.conet").await.unwrap_err();
    assert!(
        matches!(refused, SubmitError::Reverted(Revert::NameUnavailable)),
        "{refused}"
    );
}

/// Mallory sees alice's claim when it is shown, makes one like it and pays more to be first: it has not been committed
/// to, and once it has, it must age.
#[tokio::test]
async fn claim_that_copies_a_shown_one_comes_too_late() {
    let world = world().await;
    let [alice, mallory] = [1, 2].map(|number| world.registrar(number));
    let shop = name("shop.conet");
    let wei = TERMS.price_wei(&shop, MONTH_S, None, now_s()).unwrap();
    let claim = |owner| NameClaim::new(&shop, owner, MONTH_S, owner, [7; 32]).unwrap();
    let (hers, copied) = (claim(alice.payer()), claim(mallory.payer()));
    alice.commit_to_name(&hers).await.unwrap();
    let refused = mallory.register_name(&copied, wei).await.unwrap_err();
    assert!(
        matches!(refused, SubmitError::Reverted(Revert::UnknownCommitment)),
        "{refused}"
    );
    use_commitment(&alice, &hers, wei).await.unwrap();
    world.sync().await;
    assert_eq!(world.index.resolve(&shop, now_s()), Ok(alice.payer()));
}

#[tokio::test]
async fn name_paid_too_little_for_is_refused_and_too_much_comes_back() {
    let world = world().await;
    let alice = world.registrar(1);
    let shop = name("shopping.conet");
    let wei = TERMS.price_wei(&shop, MONTH_S, None, now_s()).unwrap();
    let claim = NameClaim::new(&shop, alice.payer(), MONTH_S, alice.payer(), [7; 32]).unwrap();
    alice.commit_to_name(&claim).await.unwrap();
    let refused = use_commitment(&alice, &claim, wei - 1).await.unwrap_err();
    assert!(
        matches!(refused, SubmitError::Reverted(Revert::InsufficientPayment { price_wei, .. }) if price_wei == wei),
        "{refused}"
    );
    let before = alice.balance(alice.payer()).await.unwrap();
    use_commitment(&alice, &claim, wei + 100 * COIN_WEI)
        .await
        .unwrap();
    let paid = before - alice.balance(alice.payer()).await.unwrap();
    assert!((wei..wei + COIN_WEI).contains(&paid), "{paid}");
}
