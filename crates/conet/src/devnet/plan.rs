//! What a devnet is made of: chosen once, kept in `devnet.json`.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use ledger::{Contracts, DEV_CHAIN_ID, DevKeys, NetworkFile};
use serde::{Deserialize, Serialize};
use wallet::WalletAddress;

use super::{DEFAULT_NODES, DEV_MNEMONIC, NETWORK_NAME, PLAIN_INTAKE, STAMP_EFFORT, free_ports};
use crate::commands::devnet::UpArgs;
use crate::failure::{Context as _, Failure, Outcome};
use crate::node_folder::NodeFolder;
use crate::sealed_file::write_private;

const FORMAT: u32 = 1;

/// Which chain a devnet stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ChainKind {
    /// The built-in one.
    Revm,
    /// Foundry's anvil.
    Anvil,
}

/// A devnet's plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Plan {
    version: u32,
    pub(crate) chain: ChainKind,
    pub(crate) block_time_s: u32,
    pub(crate) listen: IpAddr,
    pub(crate) chain_port: u16,
    pub(crate) nodes: Vec<PlannedNode>,
    /// Where the contracts are, once they are.
    pub(crate) deployed: Option<PlannedContracts>,
    /// Whether it has once come up whole.
    pub(crate) complete: bool,
}

/// A node of a plan; its folder has its number, counted from 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PlannedNode {
    pub(crate) port: u16,
    pub(crate) admin_port: u16,
    pub(crate) registered: bool,
}

/// Contracts of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PlannedContracts {
    pub(crate) contracts: Contracts,
    pub(crate) block: u64,
}

/// A devnet's folder.
#[derive(Debug, Clone)]
pub(crate) struct DevnetFolder {
    pub(crate) path: PathBuf,
}

impl DevnetFolder {
    pub(crate) fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    pub(crate) fn lock_path(&self) -> PathBuf {
        self.path.join("devnet.lock")
    }

    pub(crate) fn network_path(&self) -> PathBuf {
        self.path.join("network.json")
    }

    pub(crate) fn chain_path(&self) -> PathBuf {
        self.path.join("chain")
    }

    /// The home of the notes service, and its notes.
    pub(crate) fn notes_path(&self) -> PathBuf {
        self.path.join("notes")
    }

    /// The folder of the node at that place in the plan.
    pub(crate) fn node(&self, place: usize) -> NodeFolder {
        NodeFolder::new(self.path.join("nodes").join((place + 1).to_string()))
    }

    /// The plan that is there, if any.
    pub(crate) fn plan(&self) -> Outcome<Option<Plan>> {
        let path = self.plan_path();
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).context(path.display()),
        };
        let plan: Plan = serde_json::from_slice(&text).context(path.display())?;
        if plan.version != FORMAT {
            return Err(Failure::error(format!(
                "{} has format {}: update this program",
                path.display(),
                plan.version
            )));
        }
        Ok(Some(plan))
    }

    pub(crate) fn keep(&self, plan: &Plan) -> Outcome<()> {
        let path = self.plan_path();
        write_private(&path, &serde_json::to_vec_pretty(plan)?).context(path.display())
    }

    fn plan_path(&self) -> PathBuf {
        self.path.join("devnet.json")
    }
}

impl Plan {
    /// A new plan, on free ports.
    pub(crate) fn new(args: &UpArgs) -> Outcome<Self> {
        let chain_port = free_ports(args.listen, 1)?
            .first()
            .copied()
            .unwrap_or_default();
        let mut plan = Self {
            version: FORMAT,
            chain: args.chain,
            block_time_s: args.block_time.unwrap_or(0),
            listen: args.listen,
            chain_port,
            nodes: Vec::new(),
            deployed: None,
            complete: false,
        };
        plan.grow(usize::from(args.nodes.unwrap_or(DEFAULT_NODES)))?;
        Ok(plan)
    }

    /// Takes over what may change from one `up` to the next.
    pub(crate) fn resume(&mut self, args: &UpArgs, folder: &Path) -> Outcome<()> {
        let folder = folder.display();
        if self.listen != args.listen {
            let listen = self.listen;
            let advice = format!("add --listen {listen}, or begin another with --dir DIR");
            return Err(Failure::error(format!(
                "the devnet in {folder} listens on {listen}: {advice}"
            )));
        }
        if self.deployed.is_none() {
            // Nothing is on its chain yet, which perhaps could not even be started.
            self.chain = args.chain;
        }
        if self.chain != args.chain {
            let chain = self
                .chain
                .to_possible_value()
                .map(|value| value.get_name().to_owned())
                .unwrap_or_default();
            let advice = format!("add --chain {chain}, or begin another with --dir DIR");
            return Err(Failure::error(format!(
                "the devnet in {folder} has another chain: {advice}"
            )));
        }
        self.block_time_s = args.block_time.unwrap_or(self.block_time_s);
        self.grow(args.nodes.map_or(0, usize::from))
    }

    /// Adds nodes up to that many; never takes any away.
    fn grow(&mut self, nodes: usize) -> Outcome<()> {
        let taken: Vec<u16> = self
            .nodes
            .iter()
            .flat_map(|node| [node.port, node.admin_port])
            .collect();
        let more = nodes.saturating_sub(self.nodes.len());
        let is_free = |port: &u16| *port != self.chain_port && !taken.contains(port);
        // Twice as many: nodes that don't run just now don't hold their ports.
        let ports: Vec<u16> = free_ports(self.listen, 4 * more + 4)?
            .into_iter()
            .filter(is_free)
            .collect();
        let admins = free_ports(IpAddr::V4(Ipv4Addr::LOCALHOST), 4 * more + 4)?;
        let admins: Vec<u16> = admins
            .into_iter()
            .filter(|port| is_free(port) && !ports.contains(port))
            .collect();
        let new = ports.into_iter().zip(admins).take(more);
        self.nodes.extend(new.map(|(port, admin_port)| PlannedNode {
            port,
            admin_port,
            registered: false,
        }));
        Ok(())
    }

    pub(crate) fn rpc_url(&self) -> String {
        format!("http://{}", self.chain_address())
    }

    pub(crate) fn chain_address(&self) -> SocketAddr {
        SocketAddr::new(self.listen, self.chain_port)
    }

    /// The network file, with contracts at the zero address where there are none yet.
    pub(crate) fn network(&self) -> NetworkFile {
        let zero = WalletAddress::from_bytes([0; 20]);
        let nothing = PlannedContracts {
            contracts: Contracts {
                node_registry: zero,
                route_registry: zero,
                name_registry: None,
                bridge_offers: None,
            },
            block: 0,
        };
        let deployed = self.deployed.unwrap_or(nothing);
        NetworkFile {
            version: 1,
            name: NETWORK_NAME.to_owned(),
            chain_id: DEV_CHAIN_ID,
            rpc_urls: vec![self.rpc_url()],
            contracts: deployed.contracts,
            start_block: deployed.block,
            confirmations: 0,
            bootstrap: Vec::new(),
            plain_intake_path: Some(PLAIN_INTAKE.to_owned()),
            stamp_effort: STAMP_EFFORT,
            dev: Some(DevKeys {
                mnemonic: DEV_MNEMONIC.to_owned(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};
    use crate::commands::devnet::DevnetCommand;

    fn asked(words: &[&str]) -> UpArgs {
        let words = ["conet", "devnet", "up"].iter().chain(words);
        match Cli::try_parse_from(words).unwrap().command {
            Command::Devnet(DevnetCommand::Up(args)) => args,
            other => panic!("{other:?}"),
        }
    }

    /// After `devnet up --chain anvil` on a machine without anvil, `devnet up` refused to begin.
    #[test]
    fn chain_may_be_chosen_anew_until_something_is_on_it() {
        let mut plan = Plan::new(&asked(&["--chain", "anvil"])).unwrap();
        plan.resume(&asked(&[]), Path::new("devnet")).unwrap();
        assert_eq!(plan.chain, ChainKind::Revm);
        plan.deployed = Some(PlannedContracts {
            contracts: serde_json::from_str(
                r#"{"node_registry":"0x5FbDB2315678afecb367f032d93F642f64180aa3",
                    "route_registry":"0xe7f1725E7734CE288F8367e1Bb143E90bb3F0512"}"#,
            )
            .unwrap(),
            block: 1,
        });
        let refused = plan
            .resume(&asked(&["--chain", "anvil"]), Path::new("devnet"))
            .unwrap_err();
        assert!(refused.message().contains("--chain revm"), "{refused:?}");
    }
}
