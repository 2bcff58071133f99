//! What breaks when, drawn from the seed.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use ledger::NetworkFile;
use nix::sys::signal::Signal;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::time::Instant;

use crate::Plan;
use crate::network::{Layout, Network};
use crate::people::{self, Person};
use crate::proxy::Cable;
use crate::verdict;

const NODES: usize = 7;
const PEOPLE: usize = 20;
/// Nodes that are disturbed at once: with two more there would be no path left.
const DISTURBED_AT_ONCE: usize = 3;
/// Time between two disturbances.
const BETWEEN_MS: std::ops::Range<u64> = 50..450;
/// Room of the disk that runs full: its node's store and a little more.
const SMALL_DISK: &str = "size=320m";
/// Pieces in which the small disk is filled.
const FILLER_BYTES: usize = 1 << 20;
/// What a node says that does not begin for lack of room.
const DISK_FULL: &str = "No space left on device";
/// Time after which a process that could not begin has ended.
const BEGINNING: Duration = Duration::from_secs(1);

/// What can happen, and how often in comparison.
const DISTURBANCES: [(Disturbance, u32); 8] = [
    (Disturbance::KillNode, 50),
    (Disturbance::KillPerson, 30),
    (Disturbance::KillChain, 5),
    (Disturbance::Reorganise, 2),
    (Disturbance::PauseNode, 6),
    (Disturbance::CutCable, 6),
    (Disturbance::SilenceCable, 6),
    (Disturbance::FillDisk, 3),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Disturbance {
    KillNode,
    KillPerson,
    KillChain,
    Reorganise,
    PauseNode,
    CutCable,
    SilenceCable,
    FillDisk,
    /// What follows from a full disk; it is not drawn.
    RefuseFullDisk,
}

/// What has to be put right again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Repair {
    StartNode(usize),
    StartPerson(usize),
    StartChain,
    ResumeNode(usize),
    MendCable(usize),
    EmptyDisk,
}

struct Storm {
    rng: StdRng,
    plan: Plan,
    folder: PathBuf,
    network: Network,
    people: Vec<Person>,
    /// In the order in which they are due.
    repairs: Vec<(Instant, Repair)>,
    happened: BTreeMap<Disturbance, u32>,
    kills: u32,
    small_disk: Option<SmallDisk>,
}

/// Lets everything break until enough processes were killed, clears up, and judges.
pub(crate) async fn storm(plan: Plan) -> Result<()> {
    let folder = tempfile::Builder::new().prefix("conet-chaos").tempdir()?;
    let small_disk = SmallDisk::mount(&folder.path().join("node0"))?;
    if small_disk.is_none() {
        println!("no disk runs full: this user may not mount one");
    }
    let layout = Layout {
        nodes: &[&[] as &[&str]; NODES],
        cables: true,
    };
    let network = Network::start(folder.path(), &layout).await?;
    let people = people::make(folder.path(), &NetworkFile::load(&network.file)?, PEOPLE).await?;
    println!("{NODES} nodes and {PEOPLE} people are there");
    let mut storm = Storm {
        rng: StdRng::seed_from_u64(plan.seed),
        plan,
        folder: folder.path().to_owned(),
        network,
        people,
        repairs: Vec::new(),
        happened: BTreeMap::new(),
        kills: 0,
        small_disk,
    };
    let outcome = storm.run().await;
    if outcome.is_err() && std::env::var_os("CONET_CHAOS_KEEP").is_some() {
        drop(storm);
        println!("everything is kept in {}", folder.keep().display());
    }
    outcome
}

impl Storm {
    async fn run(&mut self) -> Result<()> {
        for person in &mut self.people {
            person.process.start()?;
        }
        let begun = Instant::now();
        let mut next = begun + Duration::from_secs(3);
        while self.kills < self.plan.kills {
            self.repair_until(next).await?;
            self.look()?;
            self.disturb().await?;
            next = Instant::now() + Duration::from_millis(self.rng.gen_range(BETWEEN_MS));
        }
        println!(
            "the weather clears after {:?}: {:?}",
            begun.elapsed(),
            self.happened
        );
        fs::write(self.folder.join("quiet"), "")?;
        while let Some((due, _)) = self.repairs.first() {
            let begun = *due + BEGINNING;
            self.repair_until(begun).await?;
            self.look()?;
        }
        self.network.chain_answers().await?;
        let waited = Instant::now();
        verdict::all_arrives(&self.people).await?;
        self.look()?;
        for person in &mut self.people {
            person.process.kill().await?;
        }
        let network = NetworkFile::load(&self.network.file)?;
        let counted = verdict::judge(&self.people, &network).await?;
        println!(
            "{counted}, the last of them {:?} after it cleared",
            waited.elapsed()
        );
        Ok(())
    }

    /// Sleeps until then, and puts right what falls due.
    async fn repair_until(&mut self, until: Instant) -> Result<()> {
        while let Some(&(due, repair)) = self.repairs.first()
            && due <= until
        {
            tokio::time::sleep_until(due).await;
            self.repairs.remove(0);
            self.repair(repair)?;
        }
        tokio::time::sleep_until(until).await;
        Ok(())
    }

    fn repair(&mut self, repair: Repair) -> Result<()> {
        match repair {
            Repair::StartNode(it) => self.network.nodes[it].process.start(),
            Repair::StartPerson(it) => self.people[it].process.start(),
            Repair::StartChain => self.network.chain.start(),
            Repair::ResumeNode(it) => self.network.nodes[it].process.signal(Signal::SIGCONT),
            Repair::MendCable(it) => {
                self.network.nodes[it].set_cable(Cable::Whole);
                Ok(())
            }
            Repair::EmptyDisk => match &self.small_disk {
                Some(disk) => disk.empty(),
                None => Ok(()),
            },
        }
    }

    /// Nothing may end by itself, but for a node that found its disk full as it began: its supervisor starts it
    /// again.
    fn look(&mut self) -> Result<()> {
        if self.small_disk.is_some() && self.network.nodes[0].process.has_refused(DISK_FULL)? {
            *self
                .happened
                .entry(Disturbance::RefuseFullDisk)
                .or_default() += 1;
            let soon = self
                .rng
                .gen_range(Duration::ZERO..Duration::from_millis(1_500));
            self.later(soon, Repair::StartNode(0));
        }
        let nodes = self.network.nodes.iter_mut().map(|node| &mut node.process);
        let people = self.people.iter_mut().map(|person| &mut person.process);
        for process in nodes.chain(people).chain([&mut self.network.chain]) {
            if let Some(how) = process.has_ended()? {
                let log = fs::read_to_string(process.log()).unwrap_or_default();
                let last: Vec<&str> = log.lines().rev().take(20).collect();
                let last: Vec<&str> = last.into_iter().rev().collect();
                let log = process.log().display();
                bail!("{log}: it ended by itself ({how}):\n{}", last.join("\n"));
            }
        }
        Ok(())
    }

    async fn disturb(&mut self) -> Result<()> {
        let all: u32 = DISTURBANCES.iter().map(|(_, often)| often).sum();
        let mut drawn = self.rng.gen_range(0..all);
        let mut what = Disturbance::KillNode;
        for (disturbance, often) in DISTURBANCES {
            what = disturbance;
            if drawn < often {
                break;
            }
            drawn -= often;
        }
        let node = self.rng.gen_range(0..self.network.nodes.len());
        let person = self.rng.gen_range(0..self.people.len());
        let short = self
            .rng
            .gen_range(Duration::ZERO..Duration::from_millis(1_500));
        let long = self
            .rng
            .gen_range(Duration::from_secs(1)..=self.plan.longest_pause);
        let happened = match what {
            Disturbance::KillNode => self.kill_node(node, short).await?,
            Disturbance::KillPerson => self.kill_person(person, short).await?,
            Disturbance::KillChain => self.kill_chain(long, false).await?,
            Disturbance::Reorganise => self.kill_chain(short, true).await?,
            Disturbance::PauseNode => self.pause_node(node, long)?,
            Disturbance::CutCable => self.spoil(node, Cable::Cut, long),
            Disturbance::SilenceCable => self.spoil(node, Cable::Silent, long),
            Disturbance::FillDisk => self.fill_disk(long)?,
            Disturbance::RefuseFullDisk => false,
        };
        if happened {
            *self.happened.entry(what).or_default() += 1;
        }
        Ok(())
    }

    async fn kill_node(&mut self, it: usize, down: Duration) -> Result<bool> {
        // Beginning with a full disk is hard in its own way.
        let full = self.has_full_disk(it) && !self.is_away(it);
        if !full && !self.may_disturb(it) {
            return Ok(false);
        }
        self.network.nodes[it].process.kill().await?;
        self.kills += 1;
        self.later(down, Repair::StartNode(it));
        Ok(true)
    }

    async fn kill_person(&mut self, it: usize, down: Duration) -> Result<bool> {
        if self.is_due(Repair::StartPerson(it)) {
            return Ok(false);
        }
        self.people[it].process.kill().await?;
        self.kills += 1;
        self.later(down, Repair::StartPerson(it));
        Ok(true)
    }

    /// Kills the chain. To reorganise, what it has on disk is changed for what it had earlier: blocks are
    /// gone, and others will have their numbers.
    async fn kill_chain(&mut self, down: Duration, reorganise: bool) -> Result<bool> {
        if self.is_due(Repair::StartChain) {
            return Ok(false);
        }
        self.network.chain.kill().await?;
        self.kills += 1;
        let (now, earlier) = (&self.network.chain_folder, self.folder.join("earlier"));
        if reorganise && earlier.exists() {
            fs::remove_dir_all(now)?;
            fs::rename(&earlier, now)?;
        } else {
            copy(now, &earlier)?;
        }
        self.later(down, Repair::StartChain);
        Ok(true)
    }

    fn pause_node(&mut self, it: usize, pause: Duration) -> Result<bool> {
        if !self.may_disturb(it) {
            return Ok(false);
        }
        self.network.nodes[it].process.signal(Signal::SIGSTOP)?;
        self.later(pause, Repair::ResumeNode(it));
        Ok(true)
    }

    fn spoil(&mut self, it: usize, cable: Cable, pause: Duration) -> bool {
        if !self.may_disturb(it) {
            return false;
        }
        self.network.nodes[it].set_cable(cable);
        self.later(pause, Repair::MendCable(it));
        true
    }

    fn fill_disk(&mut self, pause: Duration) -> Result<bool> {
        let Some(disk) = &self.small_disk else {
            return Ok(false);
        };
        if !self.may_disturb(0) {
            return Ok(false);
        }
        disk.fill()?;
        self.later(pause, Repair::EmptyDisk);
        Ok(true)
    }

    /// Whether a node is well, and enough others are.
    fn may_disturb(&self, node: usize) -> bool {
        let disturbed = |it: usize| self.has_full_disk(it) || self.is_away(it);
        let ill = (0..self.network.nodes.len())
            .filter(|it| disturbed(*it))
            .count();
        !disturbed(node) && ill < DISTURBED_AT_ONCE
    }

    fn has_full_disk(&self, node: usize) -> bool {
        node == 0 && self.is_due(Repair::EmptyDisk)
    }

    /// Whether a node is down, paused or cut off.
    fn is_away(&self, node: usize) -> bool {
        let repairs = [
            Repair::StartNode(node),
            Repair::ResumeNode(node),
            Repair::MendCable(node),
        ];
        repairs.into_iter().any(|repair| self.is_due(repair))
    }

    fn is_due(&self, repair: Repair) -> bool {
        self.repairs.iter().any(|(_, due)| *due == repair)
    }

    fn later(&mut self, wait: Duration, repair: Repair) {
        self.repairs.push((Instant::now() + wait, repair));
        self.repairs.sort_by_key(|(due, _)| *due);
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    if to.exists() {
        fs::remove_dir_all(to)?;
    }
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

/// A small file system in memory.
#[derive(Debug)]
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts one there; `None` where this user may not.
    fn mount(folder: &Path) -> Result<Option<Self>> {
        fs::create_dir_all(folder)?;
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", SMALL_DISK, "tmpfs"])
            .arg(folder)
            .output();
        Ok(mounted
            .is_ok_and(|output| output.status.success())
            .then(|| Self(folder.to_owned())))
    }

    fn fill(&self) -> Result<()> {
        let mut filler = fs::File::create(self.0.join("filler"))?;
        let piece = vec![1; FILLER_BYTES];
        let mut pieces = 0;
        while filler.write_all(&piece).is_ok() {
            pieces += 1;
            ensure!(pieces < 4_096, "the small disk does not run full");
        }
        Ok(())
    }

    fn empty(&self) -> Result<()> {
        fs::remove_file(self.0.join("filler")).context("emptying the small disk")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: its node may not have ended yet.
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}
