//! `conet name`: names for wallets.

mod registration;

pub(crate) use registration::{obtain, obtain_unless_ours};

use clap::{Args, Subcommand};
use client::Network;
use client::home::Account;
use ledger::{Name, NameRecord, NameTerms, NetworkFile, Registrar, TOP_LABEL};
use serde_json::json;
use wallet::WalletAddress;

use crate::context::Context;
use crate::devnet::dev_funder;
use crate::failure::{Context as _, Exit, Failure, Outcome};
use crate::moment;
use crate::screen::{Steps, print, print_json};

/// Seconds of a year, as the registrar counts them.
const YEAR_S: u64 = 365 * 86_400;
/// What is left for gas, wei, when a wallet's money is looked at: a hundredth of a coin.
const GAS_ALLOWANCE_WEI: u128 = 10_000_000_000_000_000;

/// What `conet name` can do.
#[derive(Debug, Subcommand)]
pub(crate) enum NameCommand {
    /// Register a name for this wallet, which pays.
    Register(RegisterArgs),
    /// Show the wallet that a name says, or the name of a wallet.
    Resolve {
        /// A name (shop.conet) or an address.
        #[arg(value_name = "NAME|0x…")]
        what: String,
    },
    /// Prolong a registration, anybody's; this wallet pays.
    Renew {
        /// The name.
        name: String,
        /// By how many years.
        #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=10))]
        years: u64,
    },
    /// Give a name of this wallet's to another, for good.
    Transfer {
        /// The name.
        name: String,
        /// Whom to: an address, a contact or a name.
        to: String,
    },
    /// Change what a name of this wallet's says.
    Set(SetArgs),
    /// List the names of this wallet.
    List,
}

/// Arguments of `conet name register`.
#[derive(Debug, Args)]
pub(crate) struct RegisterArgs {
    /// The name, with or without .conet.
    name: String,
    /// For how many years.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=10))]
    years: u64,
    /// The wallet that the name says [default: this one].
    #[arg(long, value_name = "0x…", conflicts_with = "main")]
    says: Option<WalletAddress>,
    /// Also call this wallet so, where others see it.
    #[arg(long)]
    main: bool,
    /// Pay at most so much [default: whatever it costs, but no premium of a name that has lapsed lately].
    #[arg(long, value_name = "WEI")]
    max_price: Option<u128>,
}

/// Arguments of `conet name set`.
#[derive(Debug, Args)]
pub(crate) struct SetArgs {
    /// The name.
    name: String,
    /// The wallet that it says from now on [default: this one].
    #[arg(long, value_name = "0x…", conflicts_with = "main")]
    says: Option<WalletAddress>,
    /// Also call this wallet so, where others see it.
    #[arg(long)]
    main: bool,
}

/// Does one of them.
pub(crate) async fn run(context: &Context, command: NameCommand) -> Outcome {
    match command {
        NameCommand::Register(args) => registration::register(context, &args).await,
        NameCommand::Resolve { what } => resolve(context, &what).await,
        NameCommand::Renew { name, years } => registration::renew(context, &name, years).await,
        NameCommand::Transfer { name, to } => transfer(context, &name, &to).await,
        NameCommand::Set(args) => set(context, &args).await,
        NameCommand::List => list(context).await,
    }
}

/// A wallet and the ledger, for what costs gas.
struct Desk {
    account: Account,
    file: NetworkFile,
    network: Network,
    registrar: Registrar,
    steps: Steps,
}

impl Desk {
    async fn open(context: &Context) -> Outcome<Self> {
        let file = network_with_names(context)?;
        let home = context.home()?;
        let account = context.unlock(&home, None).await?;
        let network = Network::open(context.home_path(), file.clone()).await?;
        Ok(Self {
            registrar: Registrar::new(&file, account.key())?,
            account,
            file,
            network,
            steps: Steps::new(&context.global),
        })
    }

    fn address(&self) -> WalletAddress {
        self.account.address()
    }

    async fn terms(&self) -> Outcome<NameTerms> {
        let terms = self.registrar.name_terms().await;
        terms.context("the ledger does not answer")
    }

    /// Sees to it that the wallet can pay: on a devnet everybody's funder helps.
    async fn afford(&self, price_wei: u128) -> Outcome<()> {
        let needed_wei = price_wei.saturating_add(GAS_ALLOWANCE_WEI);
        let address = self.address();
        let balance_wei = self.registrar.balance(address).await?;
        if balance_wei >= needed_wei {
            return Ok(());
        }
        let Some(funder) = dev_funder(&self.file)? else {
            let message = format!(
                "wallet {address} has {} and needs {}: send it some",
                coins(balance_wei),
                coins(needed_wei)
            );
            return Err(Failure::new(Exit::Refused, message));
        };
        Registrar::new(&self.file, &funder)?
            .transfer(address, needed_wei)
            .await?;
        Ok(())
    }

    /// The registration of a name of this wallet's.
    async fn own(&self, name: &Name) -> Outcome<NameRecord> {
        self.steps.begin("reading the ledger");
        let record = self.network.registration(name).await;
        let record = record.ok_or_else(|| nobodys(name))?;
        if record.is_expired(now_s()) {
            return Err(expired(name, &record));
        }
        if record.owner != self.address() {
            let message = format!("{name} belongs to {}: use its wallet", record.owner);
            return Err(Failure::new(Exit::Refused, message));
        }
        Ok(record)
    }
}

async fn resolve(context: &Context, what: &str) -> Outcome {
    let file = network_with_names(context)?;
    let network = Network::open(context.home_path(), file).await?;
    if what.starts_with("0x") || what.starts_with("0X") {
        let wallet: WalletAddress = what.parse()?;
        let Some(name) = network.name_of(&wallet).await else {
            let message = format!("{wallet} calls itself by no name that says this wallet");
            return Err(Failure::new(Exit::NotFound, message));
        };
        return show(context, &network, &name, wallet).await;
    }
    let name = read(what)?;
    match network.resolve(&name).await {
        Ok(wallet) => show(context, &network, &name, wallet).await,
        Err(error) => match network.registration(&name).await {
            Some(record) if record.is_expired(now_s()) => Err(expired(&name, &record)),
            _ => Err(Failure::from(error).in_context(name)),
        },
    }
}

async fn show(context: &Context, network: &Network, name: &Name, wallet: WalletAddress) -> Outcome {
    let record = network.registration(name).await;
    if context.global.json {
        let owner = record.as_ref().map(|record| record.owner);
        let expires = record
            .as_ref()
            .map(|record| moment::rfc3339(ms(record.expiry_s)));
        print_json(
            &json!({ "name": name.as_str(), "wallet": wallet, "owner": owner, "expires": expires }),
        )?;
    } else {
        print(&format!("{wallet}  {name}"))?;
    }
    Ok(Exit::Done)
}

async fn transfer(context: &Context, name: &str, to: &str) -> Outcome {
    let name = read(name)?;
    let desk = Desk::open(context).await?;
    desk.own(&name).await?;
    let to = match context.home()?.recipient(to) {
        Err(client::home::RecipientError::NetworkName(text)) => {
            let other = read(&text)?;
            (desk.network.resolve(&other).await).context(other)?
        }
        known => known?.wallet,
    };
    if to.as_bytes() == &[0; 20] {
        let message = "the zero address could never give it back: name a wallet";
        return Err(Failure::new(Exit::Usage, message));
    }
    desk.afford(0).await?;
    desk.steps.begin(format!("giving {name} to {to}"));
    desk.registrar.transfer_name(&name, to).await?;
    let seen = desk.network.name_seen(&name, |record| record.owner == to);
    let record = seen.await;
    desk.steps.end();
    registered(context, &name, record)
}

async fn set(context: &Context, args: &SetArgs) -> Outcome {
    let name = read(&args.name)?;
    let desk = Desk::open(context).await?;
    let before = desk.own(&name).await?;
    desk.afford(0).await?;
    let wallet = args.says.unwrap_or(desk.address());
    if before.wallet != Some(wallet) {
        desk.steps.begin(format!("letting {name} say {wallet}"));
        desk.registrar.set_name_wallet(&name, wallet).await?;
    }
    if args.main {
        desk.steps.begin(format!("calling this wallet {name}"));
        desk.registrar.set_own_name(&name).await?;
    }
    let seen = (desk.network).name_seen(&name, |record| record.wallet == Some(wallet));
    let record = seen.await;
    desk.steps.end();
    registered(context, &name, record)
}

async fn list(context: &Context) -> Outcome {
    let file = network_with_names(context)?;
    let home = context.home()?;
    let owner = context.wallet(&home, None)?.address;
    let network = Network::open(context.home_path(), file).await?;
    let main = network.name_of(&owner).await;
    for record in network.names_owned_by(&owner).await {
        if context.global.json {
            let mut line = described(&record);
            if let Some(fields) = line.as_object_mut() {
                fields.insert("main".into(), (main.as_ref() == Some(&record.name)).into());
            }
            print_json(&line)?;
            continue;
        }
        let word = if record.is_free(now_s()) {
            "lapsed, anybody's"
        } else if record.is_expired(now_s()) {
            "expired, renew it"
        } else if main.as_ref() == Some(&record.name) {
            "main"
        } else {
            ""
        };
        let says = record
            .wallet
            .map_or_else(|| "says nothing".to_owned(), |wallet| wallet.to_string());
        let until = moment::short(ms(record.expiry_s));
        let line = format!("{:<24} until {until}  {says:<42}  {word}", record.name);
        print(line.trim_end())?;
    }
    Ok(Exit::Done)
}

/// Prints what the ledger says of a name now.
fn registered(context: &Context, name: &Name, record: Option<NameRecord>) -> Outcome {
    let Some(record) = record else {
        let message = format!("{name} is on the ledger, which can't be read yet: look again later");
        return Err(Failure::new(Exit::Unreachable, message));
    };
    if context.global.json {
        print_json(&described(&record))?;
        return Ok(Exit::Done);
    }
    let until = moment::short(ms(record.expiry_s));
    print(&format!("{name} belongs to {} until {until}", record.owner))?;
    match record.wallet {
        Some(wallet) => print(&format!("it says {wallet}"))?,
        None => print("it says nothing: conet name set")?,
    }
    Ok(Exit::Done)
}

fn described(record: &NameRecord) -> serde_json::Value {
    json!({
        "name": record.name.as_str(),
        "owner": record.owner,
        "wallet": record.wallet,
        "expires": moment::rfc3339(ms(record.expiry_s)),
        "expired": record.is_expired(now_s()),
    })
}

/// Reads a name as people write it, with or without its end.
pub(crate) fn read(text: &str) -> Outcome<Name> {
    let text = text.trim();
    let whole = if text.contains('.') {
        text.to_owned()
    } else {
        format!("{text}.{TOP_LABEL}")
    };
    Name::parse(&whole).context(format!("{text} can be no name"))
}

fn network_with_names(context: &Context) -> Outcome<NetworkFile> {
    let file = context.network()?;
    if file.contracts.name_registry.is_none() {
        let message = format!(
            "network {} has no names: its file names no name_registry",
            file.name
        );
        return Err(Failure::new(Exit::NotFound, message));
    }
    Ok(file)
}

fn nobodys(name: &Name) -> Failure {
    let message = format!("nobody has {name}: conet name register {name}");
    Failure::new(Exit::NotFound, message)
}

fn expired(name: &Name, record: &NameRecord) -> Failure {
    let since = moment::short(ms(record.expiry_s));
    let advice = if record.is_free(now_s()) {
        "anybody can register it"
    } else {
        "its owner can still renew it"
    };
    let message = format!("the registration of {name} is over since {since}: {advice}");
    Failure::new(Exit::NotFound, message)
}

fn now_s() -> u64 {
    moment::now_ms() / 1_000
}

const fn ms(seconds: u64) -> u64 {
    seconds.saturating_mul(1_000)
}

/// An amount of wei in coins, for people.
fn coins(wei: u128) -> String {
    const COIN_WEI: u128 = 1_000_000_000_000_000_000;
    // Thousandths, rounded up: nobody is told less than it is.
    let thousandths = wei.div_ceil(COIN_WEI / 1_000);
    format!("{}.{:03} coins", thousandths / 1_000, thousandths % 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_is_read_with_and_without_its_end() {
        assert_eq!(read("Shop").unwrap().as_str(), "shop.conet");
        assert_eq!(read(" shop.conet ").unwrap().as_str(), "shop.conet");
        assert_eq!(read("shop.eth").unwrap_err().exit, Exit::Usage);
        assert_eq!(read("sh\u{200d}op").unwrap_err().exit, Exit::Usage);
    }

    #[test]
    fn amounts_are_rounded_up() {
        assert_eq!(coins(0), "0.000 coins");
        assert_eq!(coins(1), "0.001 coins");
        assert_eq!(coins(1_500_000_000_000_000_000), "1.500 coins");
    }
}
