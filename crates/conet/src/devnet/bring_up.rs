//! Starting a devnet, step by step; each step finds what an earlier `up` has done already.

use std::ffi::OsStr;
use std::path::Path;
use std::time::{Duration, Instant};

use ledger::{
    DeploymentTerms, NameTerms, NetworkFile, Registrar, deploy, deploy_names, deploy_offers,
};
use node::NodeKeys;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use wallet::{Mnemonic, WalletKey};

use super::chain::{self, ChainArgs};
use super::members::Members;
use super::notes::NotesService;
use super::plan::{ChainKind, DevnetFolder, Plan, PlannedContracts};
use crate::admin_port;
use crate::failure::{Context as _, Exit, Failure, Outcome};
use crate::node_folder::{self, BridgeSettings, NodePlace, Settings, StoreChoice};
use crate::screen::Steps;

/// Least stake of a devnet's nodes, wei: one coin.
const MIN_STAKE_WEI: u128 = 1_000_000_000_000_000_000;
/// How long a stake stays locked: an hour, so that leaving can be tried.
const UNBONDING_PERIOD_S: u64 = 3_600;
/// Names on a devnet: a hundredth of a coin for a year, and a commitment that ages as long as one can watch it.
const NAME_TERMS: NameTerms = NameTerms {
    price_per_year_wei: 10_000_000_000_000_000,
    min_commitment_age_s: 3,
    max_commitment_age_s: 86_400,
};
/// What a node gets, wei: its stake, and gas for tens of thousands of routes.
const NODE_FUNDS_WEI: u128 = 20 * MIN_STAKE_WEI;
/// How many nodes of a devnet are bridges: its first ones.
const BRIDGES: usize = 2;
/// How long the chain may take to answer.
const CHAIN_PATIENCE: Duration = Duration::from_secs(30);
/// How long the nodes may take to know each other.
const NODE_PATIENCE: Duration = Duration::from_secs(60);
/// How often something that is awaited is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A devnet that is being started.
#[derive(Debug)]
pub(super) struct BringUp<'a> {
    pub(super) folder: &'a DevnetFolder,
    pub(super) plan: &'a mut Plan,
    pub(super) chain: &'a mut Members,
    pub(super) nodes: &'a mut Members,
    pub(super) services: &'a mut Members,
    pub(super) in_process: bool,
    /// Whether there is a notes service.
    pub(super) with_notes: bool,
    /// What nodes that are made now keep for one wallet.
    pub(super) quota_bytes: Option<u64>,
    /// What its bridges reach besides what is public.
    pub(super) allow_targets: &'a [String],
    pub(super) steps: &'a Steps,
}

impl BringUp<'_> {
    /// Starts the chain and all nodes; returns when each node knows all, and what will tell that the notes service is
    /// reached.
    pub(super) async fn run(&mut self) -> Outcome<(NetworkFile, Option<oneshot::Receiver<()>>)> {
        self.start_chain().await?;
        self.deploy_contracts().await?;
        let network = self.plan.network();
        network.save(&self.folder.network_path())?;
        let (tell_up, nodes_are_up) = oneshot::channel();
        let notes = match self.with_notes {
            true => {
                let service = NotesService::new(self.folder, &network)?;
                Some(service.start(self.services, nodes_are_up))
            }
            false => None,
        };
        self.register_nodes(&network).await?;
        self.start_nodes()?;
        self.await_nodes().await?;
        let _without_notes = tell_up.send(());
        Ok((network, notes))
    }

    async fn start_chain(&mut self) -> Outcome<()> {
        self.steps.begin("starting the chain");
        let args = ChainArgs {
            dir: self.folder.chain_path(),
            listen: self.plan.chain_address(),
            block_time: self.plan.block_time_s,
            kind: self.plan.chain,
        };
        let log = self.folder.path.join("chain.log");
        if self.in_process && args.kind == ChainKind::Revm {
            self.chain.start_task("the chain", |stop| async move {
                chain::run_here(&args, stop).await
            });
        } else {
            let kind = if args.kind == ChainKind::Revm {
                "revm"
            } else {
                "anvil"
            };
            let (listen, block_time) = (args.listen.to_string(), args.block_time.to_string());
            let words = [
                "devnet",
                "chain",
                "--listen",
                &listen,
                "--block-time",
                &block_time,
                "--kind",
                kind,
                "--dir",
            ];
            let mut arguments: Vec<&OsStr> = words.iter().map(OsStr::new).collect();
            arguments.push(args.dir.as_os_str());
            self.chain.start_process("the chain", &arguments, &log)?;
        }
        let registrar = Registrar::new(&self.plan.network(), &first_funder()?)?;
        let begun = Instant::now();
        let answers = async {
            loop {
                match registrar.balance(registrar.payer()).await {
                    Ok(_) => return Ok(()),
                    Err(error) if begun.elapsed() > CHAIN_PATIENCE => {
                        return Err(Failure::from(error));
                    }
                    Err(_) => tokio::time::sleep(LOOK_EVERY).await,
                }
            }
        };
        tokio::select! {
            answered = answers => answered.context("the chain does not answer"),
            ended = self.chain.ended() => {
                Err(Failure::error(format!("the chain ended ({}): {}", ended.how, last_line(&log))))
            }
        }
    }

    async fn deploy_contracts(&mut self) -> Outcome<()> {
        let funder = first_funder()?;
        if self.plan.deployed.is_some() {
            let there = Registrar::new(&self.plan.network(), &funder)?
                .min_stake()
                .await;
            let advice = format!("remove {} and start again", self.folder.path.display());
            there.context(format!("the chain has lost the contracts, {advice}"))?;
            self.deploy_names(&funder).await?;
            return self.deploy_offers(&funder).await;
        }
        self.steps.begin("deploying the contracts");
        let terms = DeploymentTerms {
            min_stake_wei: MIN_STAKE_WEI,
            unbonding_period_s: UNBONDING_PERIOD_S,
        };
        let deployed = deploy(&self.plan.network(), &funder, &terms)
            .await
            .context("deploying the contracts")?;
        self.plan.deployed = Some(PlannedContracts {
            contracts: deployed.contracts,
            block: deployed.block,
        });
        self.folder.keep(self.plan)?;
        self.deploy_names(&funder).await?;
        self.deploy_offers(&funder).await
    }

    /// Puts names on the chain, unless they are there; a devnet from before names gets them now.
    async fn deploy_names(&mut self, funder: &WalletKey) -> Outcome<()> {
        let network = self.plan.network();
        let Some(deployed) = &mut self.plan.deployed else {
            return Ok(());
        };
        if deployed.contracts.name_registry.is_some() {
            return Ok(());
        }
        self.steps.begin("deploying the contracts of names");
        let registry = deploy_names(&network, funder, &NAME_TERMS)
            .await
            .context("deploying the contracts of names")?;
        deployed.contracts.name_registry = Some(registry);
        self.folder.keep(self.plan)
    }

    /// Puts the bridges' offers on the chain, unless they are there; bridges of a devnet from before announce theirs when they run.
    async fn deploy_offers(&mut self, funder: &WalletKey) -> Outcome<()> {
        let network = self.plan.network();
        let Some(deployed) = &mut self.plan.deployed else {
            return Ok(());
        };
        if deployed.contracts.bridge_offers.is_some() {
            return Ok(());
        }
        self.steps.begin("deploying the contract of bridges");
        let offers = deploy_offers(&network, funder)
            .await
            .context("deploying the contract of bridges")?;
        deployed.contracts.bridge_offers = Some(offers);
        self.folder.keep(self.plan)
    }

    /// Makes, funds and registers the nodes that aren't yet, all at once.
    async fn register_nodes(&mut self, network: &NetworkFile) -> Outcome<()> {
        let new: Vec<usize> = (self.plan.nodes.iter().enumerate())
            .filter(|(_, node)| !node.registered)
            .map(|(place, _)| place)
            .collect();
        if new.is_empty() {
            return Ok(());
        }
        self.steps.begin(format!("registering {} nodes", new.len()));
        let funder = std::sync::Arc::new(Registrar::new(network, &first_funder()?)?);
        let mut registering = JoinSet::new();
        for place in new {
            let (keys, settings) = self.keys(place, network)?;
            let (network, funder) = (network.clone(), std::sync::Arc::clone(&funder));
            registering.spawn(async move {
                let address = keys.wallet.address();
                if funder.balance(address).await? < NODE_FUNDS_WEI / 2 {
                    funder.transfer(address, NODE_FUNDS_WEI).await?;
                }
                node_folder::register(&network, &keys, &settings, Some(MIN_STAKE_WEI)).await?;
                node_folder::announce(&network, &keys, &settings).await?;
                Outcome::Ok(place)
            });
        }
        while let Some(registered) = registering.join_next().await {
            let place = registered?.context("registering a node")?;
            if let Some(node) = self.plan.nodes.get_mut(place) {
                node.registered = true;
            }
            self.folder.keep(self.plan)?;
        }
        Ok(())
    }

    /// Makes or opens the node at that place.
    fn keys(&self, place: usize, network: &NetworkFile) -> Outcome<(NodeKeys, Settings)> {
        let folder = self.folder.node(place);
        if folder.exists() {
            return Ok((node_folder::unlock(folder.path(), "")?, folder.settings()?));
        }
        let bridge = (place < BRIDGES).then(|| BridgeSettings {
            policy: None,
            allow: self.allow_targets.to_vec(),
            price_wei: 0,
        });
        let node = self
            .plan
            .nodes
            .get(place)
            .ok_or_else(|| Failure::error("no such node"))?;
        let listen = (self.plan.listen, node.port).into();
        let admin = (std::net::Ipv4Addr::LOCALHOST, node.admin_port).into();
        let place = NodePlace {
            listen,
            admin,
            endpoint: None,
            quota_bytes: self.quota_bytes,
            store: StoreChoice::default(),
            bridge,
        };
        let (settings, keys) = folder.create(network, place, "")?;
        Ok((keys, settings))
    }

    fn start_nodes(&mut self) -> Outcome<()> {
        self.steps
            .begin(format!("starting {} nodes", self.plan.nodes.len()));
        for place in 0..self.plan.nodes.len() {
            let folder = self.folder.node(place);
            folder.set_network(&self.plan.network())?;
            if !self.allow_targets.is_empty() {
                let mut settings = folder.settings()?;
                if let Some(bridge) = &mut settings.bridge {
                    bridge.allow = self.allow_targets.to_vec();
                    folder.set_settings(&settings)?;
                }
            }
            let name = format!("node {}", place + 1);
            if self.in_process {
                let (settings, keys) =
                    (folder.settings()?, node_folder::unlock(folder.path(), "")?);
                self.nodes.start_task(&name, |stop| async move {
                    folder.run(settings, keys, stop).await
                });
                continue;
            }
            let mut arguments: Vec<&OsStr> = ["node", "run", "--until-stdin-ends", "--dir"]
                .map(OsStr::new)
                .to_vec();
            arguments.push(folder.path().as_os_str());
            self.nodes
                .start_process(&name, &arguments, &folder.path().join("node.log"))?;
        }
        Ok(())
    }

    /// Waits until each node has read all nodes from the ledger.
    async fn await_nodes(&mut self) -> Outcome<()> {
        let count = self.plan.nodes.len();
        let admins: Vec<_> = (self.plan.nodes.iter())
            .map(|node| (std::net::Ipv4Addr::LOCALHOST, node.admin_port).into())
            .collect();
        let begun = Instant::now();
        let ready = async {
            for (place, admin) in admins.into_iter().enumerate() {
                self.steps.begin(format!(
                    "waiting for the nodes to know each other ({place} of {count})"
                ));
                while known_nodes(admin).await < count {
                    if begun.elapsed() > NODE_PATIENCE {
                        let message = format!("node {} does not come up: see its log", place + 1);
                        return Err(Failure::new(Exit::Unreachable, message));
                    }
                    tokio::time::sleep(LOOK_EVERY).await;
                }
            }
            Ok(())
        };
        tokio::select! {
            ready = ready => ready,
            ended = self.nodes.ended() => {
                let number = ended.name.trim_start_matches("node ");
                let log = self.folder.path.join("nodes").join(number).join("node.log");
                Err(Failure::error(format!("{} ended ({}): {}", ended.name, ended.how, last_line(&log))))
            }
            ended = self.chain.ended() => Err(Failure::error(format!("the chain ended ({})", ended.how))),
        }
    }
}

/// The last thing that a log says, or where it is.
fn last_line(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let line = text.lines().rev().find(|line| !line.trim().is_empty());
    line.map_or_else(|| format!("see {}", log.display()), str::to_owned)
}

async fn known_nodes(admin: std::net::SocketAddr) -> usize {
    let status = admin_port::status(admin).await;
    let known = status
        .as_ref()
        .and_then(|status| status.get("nodes_known")?.as_u64());
    usize::try_from(known.unwrap_or(0)).unwrap_or(0)
}

/// The account that pays for a devnet's making.
pub(super) fn first_funder() -> Outcome<WalletKey> {
    Ok(Mnemonic::parse(super::DEV_MNEMONIC)?.wallet(0)?)
}
