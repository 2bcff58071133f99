//! Registering and prolonging: what costs more than gas.

use std::time::{Duration, Instant};

use ledger::{Name, NameClaim, NameRecord, NameTerms, Revert, SubmitError};

use super::{Desk, RegisterArgs, YEAR_S, coins, ms, nobodys, now_s, read, registered};
use crate::context::Context;
use crate::failure::{Exit, Failure, Outcome};
use crate::moment;

/// How long a commitment that has aged by our clock may take to have aged by the chain's, whose newest block may be some
/// time ago.
const CHAIN_PATIENCE: Duration = Duration::from_secs(120);
/// Wait between two attempts to use a commitment.
const RETRY_EVERY: Duration = Duration::from_secs(1);

/// Registers a name. The same command goes on where an earlier one was interrupted.
pub(super) async fn register(context: &Context, args: &RegisterArgs) -> Outcome {
    let (name, record) = register_as(context, args).await?;
    registered(context, &name, record)
}

/// Registers a name for a year, for the wallet in use.
pub(crate) async fn obtain(context: &Context, name: &Name) -> Outcome<()> {
    let args = RegisterArgs {
        name: name.to_string(),
        years: 1,
        says: None,
        main: false,
        max_price: None,
    };
    register_as(context, &args).await.map(drop)
}

/// The same, unless the wallet has it already.
pub(crate) async fn obtain_unless_ours(context: &Context, name: &Name) -> Outcome<()> {
    let desk = Desk::open(context).await?;
    let before = desk.network.registration(name).await;
    let ours = |record: NameRecord| record.owner == desk.address() && !record.is_expired(now_s());
    match before.is_some_and(ours) {
        true => Ok(()),
        false => obtain(context, name).await,
    }
}

async fn register_as(
    context: &Context,
    args: &RegisterArgs,
) -> Outcome<(Name, Option<NameRecord>)> {
    let name = read(&args.name)?;
    name.label()?;
    let desk = Desk::open(context).await?;
    desk.steps.begin("reading the ledger");
    let before = desk.network.registration(&name).await;
    check_free(&desk, &name, before.as_ref())?;
    let duration_s = args.years * YEAR_S;
    let terms = desk.terms().await?;
    let price_wei = price(&terms, &name, duration_s, before.as_ref(), args.max_price)?;
    desk.afford(price_wei).await?;

    let target = args.says.unwrap_or(desk.address());
    let (key, chain) = (desk.account.key(), desk.file.chain_id);
    let claim = NameClaim::of_wallet(&name, key, duration_s, target, chain, before.as_ref())?;
    commit(&desk, &claim, &terms).await?;
    desk.steps
        .begin(format!("registering {name} for {}", coins(price_wei)));
    reveal(&desk, &claim, price_wei).await?;
    if args.main {
        desk.steps.begin(format!("calling this wallet {name}"));
        desk.registrar.set_own_name(&name).await?;
    }
    let (owner, now_s) = (desk.address(), now_s());
    let ours = |record: &NameRecord| record.owner == owner && !record.is_expired(now_s);
    let record = desk.network.name_seen(&name, ours).await;
    desk.steps.end();
    Ok((name, record))
}

/// Prolongs a registration.
pub(super) async fn renew(context: &Context, name: &str, years: u64) -> Outcome {
    let name = read(name)?;
    name.label()?;
    let desk = Desk::open(context).await?;
    desk.steps.begin("reading the ledger");
    let before = desk.network.registration(&name).await;
    let before = before.filter(|record| !record.is_free(now_s()));
    let before = before.ok_or_else(|| nobodys(&name))?;
    if before.is_expired(now_s()) && before.owner != desk.address() {
        let message = format!(
            "the registration of {name} is over: only {} can renew it now",
            before.owner
        );
        return Err(Failure::new(Exit::Refused, message));
    }
    let duration_s = years * YEAR_S;
    let price_wei = desk
        .terms()
        .await?
        .price_wei(&name, duration_s, None, now_s())?;
    desk.afford(price_wei).await?;
    desk.steps
        .begin(format!("prolonging {name} for {}", coins(price_wei)));
    desk.registrar
        .renew_name(&name, duration_s, price_wei)
        .await?;
    let later = |record: &NameRecord| record.expiry_s > before.expiry_s;
    let record = desk.network.name_seen(&name, later).await;
    desk.steps.end();
    registered(context, &name, record)
}

fn check_free(desk: &Desk, name: &Name, before: Option<&NameRecord>) -> Outcome<()> {
    let Some(record) = before.filter(|record| !record.is_free(now_s())) else {
        return Ok(());
    };
    let until = moment::short(ms(record.expiry_s));
    let message = if record.owner == desk.address() {
        format!("{name} is this wallet's until {until}: conet name renew {name}")
    } else if record.is_expired(now_s()) {
        format!("{name} is over since {until}, but its owner can still renew it: choose another")
    } else {
        format!(
            "{name} belongs to {} until {until}: choose another",
            record.owner
        )
    };
    Err(Failure::new(Exit::Refused, message))
}

/// What it costs, if that is not more than it may.
fn price(
    terms: &NameTerms,
    name: &Name,
    duration_s: u64,
    before: Option<&NameRecord>,
    at_most_wei: Option<u128>,
) -> Outcome<u128> {
    let plain_wei = terms.price_wei(name, duration_s, None, now_s())?;
    let price_wei = terms.price_wei(name, duration_s, before, now_s())?;
    if price_wei <= at_most_wei.unwrap_or(plain_wei) {
        return Ok(price_wei);
    }
    let advice = if price_wei > plain_wei {
        format!(
            "it has lapsed lately and gets cheaper each day, down to {}",
            coins(plain_wei)
        )
    } else {
        "that is more than --max-price".to_owned()
    };
    let message = format!(
        "{name} costs {price_wei} wei ({}): {advice}",
        coins(price_wei)
    );
    Err(Failure::new(Exit::Refused, message))
}

/// Commits to the claim, unless that was done already, and waits until the commitment has aged.
async fn commit(desk: &Desk, claim: &NameClaim, terms: &NameTerms) -> Outcome<()> {
    let usable = |made_s: &u64| now_s() < made_s.saturating_add(terms.max_commitment_age_s);
    let mut made_s = desk.registrar.commitment_time(claim).await?.filter(usable);
    if made_s.is_none() {
        desk.steps
            .begin("committing to the claim, which nobody can read");
        match desk.registrar.commit_to_name(claim).await {
            Ok(_) | Err(SubmitError::Reverted(Revert::CommitmentPending)) => {}
            Err(error) => return Err(error.into()),
        }
        made_s = desk.registrar.commitment_time(claim).await?;
    }
    let usable_s = made_s
        .unwrap_or_else(now_s)
        .saturating_add(terms.min_commitment_age_s);
    // No longer than a fresh one must age, whatever the clocks say.
    let wait_s = usable_s
        .saturating_sub(now_s())
        .min(terms.min_commitment_age_s);
    for left_s in (1..=wait_s).rev() {
        // Once where a line is printed for each step; a terminal counts down.
        if left_s == wait_s || desk.steps.is_live() {
            desk.steps.begin(format!(
                "letting the commitment age, so that nobody can be quicker ({left_s} s)"
            ));
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}

/// Registers, as soon as the chain thinks the commitment old enough.
async fn reveal(desk: &Desk, claim: &NameClaim, price_wei: u128) -> Outcome<()> {
    let begun = Instant::now();
    loop {
        match desk.registrar.register_name(claim, price_wei).await {
            Ok(_) => return Ok(()),
            Err(SubmitError::Reverted(Revert::CommitmentTooNew { .. }))
                if begun.elapsed() < CHAIN_PATIENCE =>
            {
                tokio::time::sleep(RETRY_EVERY).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}
