//! `devnet up`: brings everything up, watches it, takes it down.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::time::Duration;

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::bring_up::BringUp;
use super::demo_wallets;
use super::home_entry::HomeEntry;
use super::members::Members;
use super::notes::HOST;
use super::plan::{DevnetFolder, Plan};
use super::presentation::present;
use crate::commands::devnet::UpArgs;
use crate::context::Context;
use crate::failure::{Context as _, Exit, Failure, Outcome};
use crate::process_lock::{ProcessLock, Taken};
use crate::screen::{Steps, notice};
use crate::stopping;

/// How long the notes service may take, after all else is up, before nobody waits for it: on a chain with slow blocks its
/// name takes longer.
const NOTES_PATIENCE: Duration = Duration::from_secs(10);

/// Runs a devnet until a signal.
pub(crate) async fn up(context: &Context, args: UpArgs) -> Outcome {
    let stop = stopping::on_signal()?;
    let temporary = args
        .ephemeral
        .then(|| tempfile::Builder::new().prefix("conet-devnet-").tempdir())
        .transpose()?;
    let path = match (&temporary, &args.dir) {
        (Some(temporary), _) => temporary.path().to_owned(),
        (None, Some(dir)) => std::path::absolute(dir)?,
        (None, None) => std::path::absolute(context.home_path())?.join("devnet"),
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&path)
        .context(path.display())?;
    let folder = DevnetFolder::new(path);
    let _lock = lock(&folder)?;

    let mut plan = match folder.plan()? {
        Some(mut plan) => {
            plan.resume(&args, &folder.path)?;
            plan
        }
        None => Plan::new(&args)?,
    };
    let mut entry = HomeEntry::look(context, &plan.rpc_url())?;
    folder.keep(&plan)?;

    let (mut chain, mut nodes) = (Members::default(), Members::default());
    let mut services = Members::default();
    let steps = Steps::new(&context.global);
    let ran = tokio::select! {
        biased;
        () = stop.cancelled() => Ok(()),
        came_up = async {
            let mut bring_up = BringUp {
                folder: &folder,
                plan: &mut plan,
                chain: &mut chain,
                allow_targets: &args.allow_target,
                nodes: &mut nodes,
                services: &mut services,
                with_notes: !args.no_notes,
                in_process: args.in_process,
                quota_bytes: args.quota,
                steps: &steps,
            };
            let (network, notes) = bring_up.run().await?;
            entry.put(&network, &folder, !plan.complete)?;
            demo_wallets::put(context, &network, &mut entry.wallets, &steps).await?;
            plan.complete = true;
            folder.keep(&plan)?;
            if let Some(online) = notes {
                steps.begin(format!("publishing {HOST}"));
                // It goes on trying, and what ended it is said below.
                let _later = timeout(NOTES_PATIENCE, online).await;
            }
            Ok(())
        } => came_up,
    };
    steps.end();
    let ran = match ran {
        Ok(()) if !stop.is_cancelled() => match present(context, &folder, &plan, args.ephemeral) {
            Ok(()) => {
                let members = [&mut chain, &mut nodes, &mut services];
                watch(context, &folder, members, &stop).await
            }
            Err(failure) => Err(failure),
        },
        other => other,
    };

    steps.begin("stopping");
    services.stop().await;
    nodes.stop().await;
    chain.stop().await;
    entry.end();
    let cleaned = if args.ephemeral {
        entry.take_out(context)
    } else {
        Ok(())
    };
    steps.end();
    ran.and(cleaned).map(|()| Exit::Done)
}

fn lock(folder: &DevnetFolder) -> Outcome<ProcessLock> {
    match ProcessLock::take(&folder.lock_path()).context(folder.path.display())? {
        Taken::Ours(lock) => Ok(lock),
        Taken::Held(id) => {
            let id = id.map_or_else(String::new, |id| format!(" (process {id})"));
            let advice =
                "see `conet devnet status`, or start another with --dir DIR and --home DIR";
            Err(Failure::error(format!(
                "a devnet runs in {} already{id}: {advice}",
                folder.path.display()
            )))
        }
    }
}

/// Says what ends, until `stop`.
async fn watch(
    context: &Context,
    folder: &DevnetFolder,
    [chain, nodes, services]: [&mut Members; 3],
    stop: &CancellationToken,
) -> Outcome<()> {
    loop {
        let (ended, advice) = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            ended = nodes.ended() => {
                let number = ended.name.trim_start_matches("node ");
                let dir = folder.path.join("nodes").join(number);
                let advice = format!("start it again with `conet node run --dir {}`", dir.display());
                (ended, advice)
            }
            ended = services.ended() => (ended, "start the devnet again to have it back".to_owned()),
            ended = chain.ended() => (ended, "the network goes on delivering without it".to_owned()),
        };
        if !context.global.quiet {
            notice(
                context,
                &format!("{} ended ({}): {advice}", ended.name, ended.how),
            );
        }
    }
}
