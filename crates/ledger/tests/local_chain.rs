//! The contracts, the registrar and the index together, on the local chain.
//!
//! With `CONET_TEST_RPC` set to the URL of another development chain of ID 31337 whose well-known first
//! accounts are funded (anvil, for instance), the same tests run there.

#![expect(
    clippy::unwrap_used,
    reason = "a test that fails here has found something"
)]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use alloy_primitives::U256;
use chain::{BlockTime, Chain, ChainConfig, RunningChain};
use ledger::{
    BridgeOffer, Contracts, DeploymentTerms, Index, NetworkFile, NodeStatement, Registrar, Revert,
    RouteBatch, RouteRecord, SignedClear, SignedRoute, SubmitError, Syncer, deploy, deploy_offers,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;
use wallet::{Fingerprint, KeyId, Mnemonic, WalletAddress, WalletKey};

const MNEMONIC: &str = "test test test test test test test test test test test junk";
const STAKE_WEI: u128 = 1_000_000_000_000_000_000;
const TERMS: DeploymentTerms = DeploymentTerms {
    min_stake_wei: STAKE_WEI,
    unbonding_period_s: 0,
};

/// A chain with the contracts on it, and an index of it.
struct World {
    network: NetworkFile,
    index: Index,
    syncer: Syncer,
    chain: Option<RunningChain>,
}

fn now_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

/// One of the funded accounts; each test pays with its own, so that they may share a chain.
fn payer(number: u32) -> WalletKey {
    let mnemonic = Mnemonic::parse(MNEMONIC).unwrap();
    mnemonic.wallet(number).unwrap()
}

fn stranger() -> WalletKey {
    WalletKey::generate(&mut rand::rngs::OsRng)
}

async fn world(account: u32) -> World {
    world_with(account, BlockTime::Instant).await
}

async fn world_with(account: u32, block_time: BlockTime) -> World {
    let other = std::env::var("CONET_TEST_RPC").ok();
    let chain = match other {
        Some(_) => None,
        None => {
            let wei = U256::from(10_000) * U256::from(STAKE_WEI);
            let accounts = (0..10).map(|number| (*payer(number).address().as_bytes(), wei));
            let config = ChainConfig {
                genesis_accounts: accounts.collect(),
                block_time,
                test_controls: true,
                ..ChainConfig::default()
            };
            let chain = Chain::start(config, CancellationToken::new()).await;
            Some(chain.unwrap())
        }
    };
    let url = other.unwrap_or_else(|| chain.as_ref().unwrap().rpc_url());
    let mut network = NetworkFile {
        version: 1,
        name: "test".into(),
        chain_id: 31_337,
        rpc_urls: vec![url],
        contracts: Contracts {
            node_registry: WalletAddress::from_bytes([0; 20]),
            route_registry: WalletAddress::from_bytes([0; 20]),
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
    let deployed = deploy(&network, &payer(account), &TERMS).await.unwrap();
    network.contracts = deployed.contracts;
    network.start_block = deployed.block;
    let offers = deploy_offers(&network, &payer(account)).await.unwrap();
    network.contracts.bridge_offers = Some(offers);
    let index = Index::open_in_memory(&network).unwrap();
    World {
        syncer: Syncer::new(index.clone(), &network).unwrap(),
        index,
        network,
        chain,
    }
}

impl World {
    fn registrar(&self, key: &WalletKey) -> Registrar {
        Registrar::new(&self.network, key).unwrap()
    }

    async fn sync(&self) {
        for _ in 0..100 {
            if self.syncer.sync_once().await.unwrap().caught_up {
                return;
            }
        }
        panic!("never caught up");
    }

    fn sequence(&self, wallet: &WalletKey) -> Option<u64> {
        let route = self.index.route(&wallet.address(), now_s());
        route.map(|route| route.sequence)
    }

    fn sign(&self, route: RouteRecord, key: &WalletKey) -> SignedRoute {
        let registry = self.network.contracts.route_registry;
        SignedRoute::sign(route, key, self.network.chain_id, registry).unwrap()
    }

    async fn register(&self, operator: &Registrar, node: &WalletKey, endpoint: &str) {
        let statement = NodeStatement {
            operator: operator.payer(),
            transport_key: [7; 32],
            certificate: vec![0xc6; 1_500],
            endpoint: endpoint.into(),
            profile: "plain".into(),
            nonce: operator.node_nonce(node.address()).await.unwrap(),
            deadline_s: now_s() + 3_600,
        };
        let registry = self.network.contracts.node_registry;
        let signed = statement
            .sign(node, self.network.chain_id, registry)
            .unwrap();
        if self.index.node(&node.address()).is_some() {
            operator.update_node(&signed).await.unwrap();
        } else {
            operator.register_node(&signed, STAKE_WEI).await.unwrap();
        }
    }

    /// Calls a method of the chain by plain HTTP.
    async fn control(&self, method: &str, params: &str) -> String {
        let address = self.chain.as_ref().unwrap().address();
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":[{params}]}}"#);
        let request = format!(
            "POST / HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(!answer.contains("error"), "{answer}");
        answer
    }
}

fn route_of(key: &WalletKey, sequence: u64) -> RouteRecord {
    let address = *key.address().as_bytes();
    let mut id = [1; 8];
    id[..7].copy_from_slice(&address[..7]);
    RouteRecord {
        wallet: key.address(),
        fingerprint: Fingerprint::V6([address[0]; 32]),
        key_ids: vec![
            KeyId::from_bytes(id),
            KeyId::from_bytes([address[1] | 1; 8]),
        ],
        mailboxes: vec![WalletAddress::from_bytes([3; 20])],
        sequence,
        expiry_s: now_s() + 86_400,
    }
}

#[tokio::test]
async fn node_registered_updated_and_unbonded_shows_in_the_index() {
    let world = world(0).await;
    let operator = world.registrar(&payer(0));
    assert_eq!(operator.min_stake().await.unwrap(), STAKE_WEI);
    let node = stranger();

    world
        .register(&operator, &node, "http://127.0.0.1:4001")
        .await;
    world.sync().await;
    let record = world.index.node(&node.address()).unwrap();
    assert_eq!(record.endpoint, "http://127.0.0.1:4001");
    assert_eq!(record.operator, operator.payer());
    assert_eq!(record.certificate.len(), 1_500);

    world
        .register(&operator, &node, "http://127.0.0.1:4002")
        .await;
    world.sync().await;
    let record = world.index.node(&node.address()).unwrap();
    assert_eq!(record.endpoint, "http://127.0.0.1:4002");

    operator.add_stake(node.address(), 5).await.unwrap();
    operator.unbond(node.address()).await.unwrap();
    world.sync().await;
    assert!(world.index.nodes().is_empty());
    operator.withdraw(node.address()).await.unwrap();
    world
        .register(&operator, &node, "http://127.0.0.1:4003")
        .await;
    world.sync().await;
    assert_eq!(world.index.nodes().len(), 1);
}

#[tokio::test]
async fn offer_announced_replaced_and_withdrawn_shows_in_the_index() {
    let world = world(8).await;
    let (operator, stranger_pays) = (world.registrar(&payer(8)), world.registrar(&payer(9)));
    let node = stranger();
    let offer = |price_wei, policy: &str| BridgeOffer {
        price_wei,
        policy: policy.into(),
    };
    let first = offer(0, "reject *:25;accept *:*");
    let refused = operator.announce_offer(node.address(), &first).await;
    assert!(
        matches!(
            &refused,
            Err(SubmitError::Reverted(Revert::NodeNotActive { .. }))
        ),
        "{refused:?}"
    );
    world.register(&operator, &node, "http://127.0.0.1:1").await;
    let offered = || async {
        world.sync().await;
        world
            .index
            .node(&node.address())
            .and_then(|node| node.offer.clone())
    };
    assert_eq!(offered().await, None);
    operator
        .announce_offer(node.address(), &first)
        .await
        .unwrap();
    assert_eq!(offered().await, Some(first));
    let second = offer(u128::MAX, &"x".repeat(1_024));
    operator
        .announce_offer(node.address(), &second)
        .await
        .unwrap();
    let refused = stranger_pays.withdraw_offer(node.address()).await;
    assert!(
        matches!(
            &refused,
            Err(SubmitError::Reverted(Revert::NotOperator { .. }))
        ),
        "{refused:?}"
    );
    // New particulars leave the offer as it is.
    world.sync().await;
    world.register(&operator, &node, "http://127.0.0.1:2").await;
    assert_eq!(offered().await, Some(second.clone()));
    operator.withdraw_offer(node.address()).await.unwrap();
    assert_eq!(offered().await, None);

    operator
        .announce_offer(node.address(), &second)
        .await
        .unwrap();
    operator.unbond(node.address()).await.unwrap();
    operator.withdraw(node.address()).await.unwrap();
    world.sync().await;
    world.register(&operator, &node, "http://127.0.0.1:3").await;
    assert_eq!(offered().await, None);
    let gone = offer(0, &"x".repeat(1_025));
    let refused = operator.announce_offer(node.address(), &gone).await;
    assert!(matches!(refused, Err(SubmitError::Offer(_))), "{refused:?}");
}

#[tokio::test]
async fn route_set_by_signature_needs_no_funds_of_its_wallet() {
    let world = world(1).await;
    let helper = world.registrar(&payer(1));
    let alice = stranger();
    let signed = world.sign(route_of(&alice, 1), &alice);
    helper.set_route_by_sig(&signed).await.unwrap();
    world.sync().await;
    let found = world.index.route(&alice.address(), now_s()).unwrap();
    assert_eq!(found, signed.route);
    let claims = world
        .index
        .mailboxes_for_key(&signed.route.key_ids[0], now_s());
    assert_eq!(claims[0].wallet, alice.address());
    assert_eq!(claims[0].mailboxes[..], signed.route.mailboxes[..]);
    assert_eq!(helper.route_sequence(alice.address()).await.unwrap(), 1);

    let again = helper.set_route_by_sig(&signed).await.unwrap_err();
    assert!(
        matches!(
            again,
            SubmitError::Reverted(Revert::StaleSequence {
                sequence: 1,
                current: 1
            })
        ),
        "{again}"
    );

    let registry = world.network.contracts.route_registry;
    let clear = SignedClear::sign(&alice, 2, now_s() + 60, 31_337, registry);
    helper.clear_route_by_sig(&clear).await.unwrap();
    world.sync().await;
    assert_eq!(world.sequence(&alice), None);
}

#[tokio::test]
async fn route_set_and_cleared_by_its_own_wallet_shows_in_the_index() {
    let world = world(2).await;
    let alice = payer(2);
    let registrar = world.registrar(&alice);
    registrar.set_route(&route_of(&alice, 1)).await.unwrap();
    world.sync().await;
    assert_eq!(world.sequence(&alice), Some(1));
    registrar.clear_route(2).await.unwrap();
    world.sync().await;
    assert_eq!(world.sequence(&alice), None);

    let foreign = registrar.set_route(&route_of(&stranger(), 1)).await;
    assert!(matches!(foreign, Err(SubmitError::ForeignRoute { .. })));
}

#[tokio::test]
async fn batch_announced_by_a_node_sets_its_routes() {
    let world = world(3).await;
    let node = payer(3);
    let registrar = world.registrar(&node);
    let wallets: Vec<_> = (0..60).map(|_| stranger()).collect();
    let signed = wallets
        .iter()
        .map(|wallet| world.sign(route_of(wallet, 5), wallet));
    let batch = RouteBatch::new(signed.collect()).unwrap();

    let refused = registrar.submit_batch(&batch).await.unwrap_err();
    assert!(
        matches!(&refused, SubmitError::Reverted(Revert::NotActiveNode { caller }) if *caller == node.address()),
        "{refused}"
    );

    world
        .register(&registrar, &node, "http://127.0.0.1:4001")
        .await;
    registrar.submit_batch(&batch).await.unwrap();
    world.sync().await;
    for wallet in &wallets {
        assert_eq!(world.sequence(wallet), Some(5));
    }

    // What is stored afterwards is not newer, what is signed afterwards is.
    for index in [0, 31, 59] {
        registrar.apply_from_batch(&batch, index).await.unwrap();
    }
    let newer = world.sign(route_of(&wallets[0], 6), &wallets[0]);
    registrar.set_route_by_sig(&newer).await.unwrap();
    world.sync().await;
    assert_eq!(world.sequence(&wallets[0]), Some(6));
    assert_eq!(world.sequence(&wallets[31]), Some(5));
    let current = registrar.route_sequence(wallets[31].address()).await;
    assert_eq!(current.unwrap(), 5);
}

#[tokio::test]
async fn transactions_of_one_wallet_sent_at_once_all_get_in() {
    let world = world(4).await;
    let registrar = world.registrar(&payer(4));
    let wallets: Vec<_> = (0..8).map(|_| stranger().address()).collect();
    let mut running = tokio::task::JoinSet::new();
    let registrar = std::sync::Arc::new(registrar);
    for wallet in wallets.clone() {
        let registrar = std::sync::Arc::clone(&registrar);
        running.spawn(async move { registrar.transfer(wallet, 1_000).await });
    }
    while let Some(receipt) = running.join_next().await {
        receipt.unwrap().unwrap();
    }
    for wallet in wallets {
        assert_eq!(registrar.balance(wallet).await.unwrap(), 1_000);
    }
}

#[tokio::test]
async fn wallet_without_funds_is_told_so() {
    let world = world(5).await;
    let poor = stranger();
    let registrar = world.registrar(&poor);
    let error = registrar.transfer(poor.address(), 1).await.unwrap_err();
    assert!(
        matches!(&error, SubmitError::InsufficientFunds { payer } if *payer == poor.address()),
        "{error}"
    );
}

#[tokio::test]
async fn transaction_on_a_chain_with_slow_blocks_is_waited_for() {
    if std::env::var("CONET_TEST_RPC").is_ok() {
        return;
    }
    let world = world_with(6, BlockTime::Every(Duration::from_millis(700))).await;
    let alice = payer(6);
    let registrar = world.registrar(&alice);
    registrar.set_route(&route_of(&alice, 1)).await.unwrap();
    world.sync().await;
    assert_eq!(world.sequence(&alice), Some(1));

    let hasty = world
        .registrar(&alice)
        .with_receipt_timeout(Duration::from_millis(100));
    let error = hasty.set_route(&route_of(&alice, 2)).await.unwrap_err();
    assert!(matches!(error, SubmitError::NoReceipt { .. }), "{error}");
}

#[tokio::test]
async fn route_that_a_reorganisation_took_away_is_gone() {
    if std::env::var("CONET_TEST_RPC").is_ok() {
        return;
    }
    let world = world(7).await;
    let alice = payer(7);
    let registrar = world.registrar(&alice);
    registrar.set_route(&route_of(&alice, 1)).await.unwrap();
    world.sync().await;
    registrar.set_route(&route_of(&alice, 2)).await.unwrap();
    registrar.transfer(alice.address(), 1).await.unwrap();
    world.sync().await;
    assert_eq!(world.sequence(&alice), Some(2));

    world.control("conet_reorg", "\"0x2\"").await;
    // Blocks of another time, so of other hashes.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    for _ in 0..4 {
        world.control("evm_mine", "").await;
    }
    let report = world.syncer.sync_once().await.unwrap();
    assert!(report.rolled_back_to.is_some());
    world.sync().await;
    assert_eq!(world.sequence(&alice), Some(1));
}

#[tokio::test]
async fn look_ups_go_on_while_the_chain_is_dead() {
    let mut world = world(8).await;
    let alice = payer(8);
    let registrar = world.registrar(&alice);
    registrar.set_route(&route_of(&alice, 1)).await.unwrap();
    world.sync().await;
    let Some(chain) = world.chain.take() else {
        return;
    };
    chain.stop().await;
    let error = world.syncer.sync_once().await.unwrap_err().to_string();
    assert!(error.contains("can't be reached"), "{error}");
    assert_eq!(world.sequence(&alice), Some(1));
    let error = registrar.clear_route(2).await.unwrap_err();
    assert!(matches!(error, SubmitError::NoServer(_)), "{error}");
}

/// A server before the chain that passes transactions on and then breaks off.
async fn start_loser_of_answers(chain: std::net::SocketAddr) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut server = tokio::net::TcpStream::connect(chain).await.unwrap();
                let mut question = vec![0; 65_536];
                let mut answer = vec![0; 65_536];
                loop {
                    // Each question and each answer is small enough to come at once.
                    let read = client.read(&mut question).await.unwrap_or(0);
                    let question =
                        String::from_utf8_lossy(question.get(..read).unwrap_or_default())
                            .into_owned();
                    if question.is_empty() {
                        return;
                    }
                    // The chain refuses foreign hosts.
                    let host = question.lines().find(|line| line.starts_with("host:"));
                    let ours = format!("host: {chain}");
                    let passed = question.replace(host.unwrap_or("host:"), &ours);
                    server.write_all(passed.as_bytes()).await.unwrap();
                    let read = server.read(&mut answer).await.unwrap();
                    if question.contains("eth_sendRawTransaction") {
                        return;
                    }
                    client
                        .write_all(answer.get(..read).unwrap_or_default())
                        .await
                        .unwrap();
                }
            });
        }
    });
    url
}

#[tokio::test]
async fn transfer_whose_answer_was_lost_is_made_once() {
    let mut world = world(9).await;
    let Some(chain) = &world.chain else {
        return;
    };
    let loser = start_loser_of_answers(chain.address()).await;
    world.network.rpc_urls.insert(0, loser);
    let registrar = world.registrar(&payer(9));
    let wallet = stranger().address();
    registrar.transfer(wallet, 1_000).await.unwrap();
    assert_eq!(registrar.balance(wallet).await.unwrap(), 1_000);
}
