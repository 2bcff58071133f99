//! Processes that are measured: started on a core of their own, read through `/proc`, ended with us.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};

/// The core of what is measured; `bench/run` puts the rest on another.
const MEASURED_CORE: &str = "0";
/// The core that `bench/run` starts this program on.
const LOAD_CORE: &str = "1";
/// What has many processes gets all there is.
pub(crate) const BOTH_CORES: &str = "0,1";

/// This program on both cores, back on its own when dropped: for the parts in which it plays several people,
/// who would have a machine each and here would wait for each other's arithmetic.
#[derive(Debug)]
pub(crate) struct Unpinned(());

impl Unpinned {
    pub(crate) fn begin() -> anyhow::Result<Self> {
        pin(BOTH_CORES)?;
        Ok(Self(()))
    }
}

impl Drop for Unpinned {
    fn drop(&mut self) {
        let _stays_on_both = pin(LOAD_CORE);
    }
}

/// Puts all threads of this program on these cores.
fn pin(cores: &str) -> anyhow::Result<()> {
    let id = std::process::id().to_string();
    let done = Command::new("taskset")
        .args(["-a", "-c", "-p", cores, &id])
        .stdout(Stdio::null())
        .status()
        .context("taskset does not start")?;
    ensure!(done.success(), "taskset failed");
    Ok(())
}

/// A process that ends with its owner.
#[derive(Debug)]
pub(crate) struct Measured(Child);

impl Measured {
    /// Starts a program on the measured core.
    pub(crate) fn start(program: &str, prepare: impl FnOnce(&mut Command)) -> anyhow::Result<Self> {
        Self::start_on(MEASURED_CORE, program, prepare)
    }

    /// Starts a program on these cores.
    pub(crate) fn start_on(
        cores: &str,
        program: &str,
        prepare: impl FnOnce(&mut Command),
    ) -> anyhow::Result<Self> {
        // It dies with us, however we end.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "taskset", "-c", cores, program]);
        prepare(&mut command);
        let child = command
            .spawn()
            .with_context(|| format!("{program} does not start"))?;
        Ok(Self(child))
    }

    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.0
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// The time that all its threads have spent on a core.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        cpu(self.0.id())
    }

    /// Its resident memory, in bytes.
    pub(crate) fn rss(&self) -> anyhow::Result<u64> {
        rss(self.0.id())
    }
}

/// The time that all threads of a process have spent on a core.
pub(crate) fn cpu(id: u32) -> anyhow::Result<Duration> {
    let mut ns = 0;
    for task in fs::read_dir(format!("/proc/{id}/task"))? {
        // A thread may end meanwhile.
        let Ok(line) = fs::read_to_string(task?.path().join("schedstat")) else {
            continue;
        };
        ns += line
            .split(' ')
            .next()
            .context("schedstat is empty")?
            .parse::<u64>()?;
    }
    Ok(Duration::from_nanos(ns))
}

/// The resident memory of a process, in bytes.
pub(crate) fn rss(id: u32) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    let kib: u64 = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.trim().strip_suffix(" kB"))
        .context("no VmRSS")?
        .trim()
        .parse()?;
    Ok(kib * 1024)
}

impl Drop for Measured {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}
