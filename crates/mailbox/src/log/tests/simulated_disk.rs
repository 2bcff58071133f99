//! A disk in memory that can lose what was not synced, run full, fail, and be switched off.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use rand::Rng;

use crate::disk::{Disk, DiskFile};

/// What power failure keeps or drops as one piece.
const SECTOR: usize = 512;

#[derive(Clone)]
enum Op {
    Write(u64, Vec<u8>),
    SetLength(u64),
}

#[derive(Default)]
struct Content {
    now: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Op>,
}

#[derive(Clone)]
enum NameOp {
    Create(String, Arc<File>),
    Rename(String, String),
    Remove(String),
}

#[derive(Default)]
struct Names {
    now: BTreeMap<String, Arc<File>>,
    durable: BTreeMap<String, Arc<File>>,
    unsynced: Vec<NameOp>,
}

#[derive(Default)]
struct Power {
    /// Operations that change something are still possible this many times.
    left: AtomicU64,
    limited: AtomicBool,
    fail_syncs: AtomicBool,
    capacity: AtomicU64,
    used: AtomicU64,
}

/// The disk.
#[derive(Default)]
pub(crate) struct SimulatedDisk {
    names: Mutex<Names>,
    power: Arc<Power>,
}

struct File {
    content: Mutex<Content>,
    power: Arc<Power>,
}

/// An opened file: whoever holds one is counted apart from the disk itself.
struct Handle(Arc<File>);

impl Power {
    fn spend(&self) -> io::Result<()> {
        if self.limited.load(Ordering::SeqCst)
            && self
                .left
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                    left.checked_sub(1)
                })
                .is_err()
        {
            return Err(io::Error::other("switched off"));
        }
        Ok(())
    }

    fn grow(&self, from: usize, to: usize) -> io::Result<()> {
        let capacity = self.capacity.load(Ordering::SeqCst);
        let used = self.used.load(Ordering::SeqCst) + to as u64 - from as u64;
        if capacity > 0 && used > capacity {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.used.store(used, Ordering::SeqCst);
        Ok(())
    }
}

fn apply(content: &mut Vec<u8>, op: &Op, mut keep: impl FnMut() -> bool) {
    match op {
        Op::SetLength(length) => {
            if keep() {
                content.resize(*length as usize, 0);
            }
        }
        Op::Write(offset, bytes) => {
            let mut at = *offset as usize;
            let mut rest = bytes.as_slice();
            while !rest.is_empty() {
                let (sector, after) = rest.split_at(rest.len().min(SECTOR - at % SECTOR));
                if keep() {
                    if content.len() < at + sector.len() {
                        content.resize(at + sector.len(), 0);
                    }
                    content[at..at + sector.len()].copy_from_slice(sector);
                }
                at += sector.len();
                rest = after;
            }
        }
    }
}

impl SimulatedDisk {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// Lets `operations` more changes through, then fails all.
    pub(crate) fn switch_off_after(&self, operations: u64) {
        self.power.left.store(operations, Ordering::SeqCst);
        self.power.limited.store(true, Ordering::SeqCst);
    }

    /// Lets every sync fail, or succeed again.
    pub(crate) fn fail_syncs(&self, fail: bool) {
        self.power.fail_syncs.store(fail, Ordering::SeqCst);
    }

    /// Limits the bytes that all files may take; 0 for no limit.
    pub(crate) fn set_capacity(&self, bytes: u64) {
        self.power.capacity.store(bytes, Ordering::SeqCst);
    }

    pub(crate) fn used(&self) -> u64 {
        self.power.used.load(Ordering::SeqCst)
    }

    /// The disk after a power failure: of what was not synced, any part may be there.
    pub(crate) fn after_power_failure(&self, rng: &mut impl Rng) -> Arc<Self> {
        let names = self.names.lock();
        let mut survived = names.durable.clone();
        let kept = rng.gen_range(0..=names.unsynced.len());
        for op in &names.unsynced[..kept] {
            apply_name(&mut survived, op);
        }
        let likelihood = [0.0, 0.5, 0.9, 1.0][rng.gen_range(0..4)];
        self.image(survived, |content| {
            let mut bytes = content.durable.clone();
            content
                .unsynced
                .iter()
                .for_each(|op| apply(&mut bytes, op, || rng.gen_bool(likelihood)));
            bytes
        })
    }

    /// The disk after the process was killed: everything written is there.
    pub(crate) fn after_kill(&self) -> Arc<Self> {
        let names = self.names.lock();
        self.image(names.now.clone(), |content| content.now.clone())
    }

    fn image(
        &self,
        names: BTreeMap<String, Arc<File>>,
        mut bytes: impl FnMut(&Content) -> Vec<u8>,
    ) -> Arc<Self> {
        let disk = Self::new();
        for (name, file) in names {
            disk.put(&name, bytes(&file.content.lock()));
        }
        disk
    }

    /// Names and lengths of all files.
    pub(crate) fn files(&self) -> Vec<(String, usize)> {
        let names = self.names.lock();
        names
            .now
            .iter()
            .map(|(name, file)| (name.clone(), file.content.lock().now.len()))
            .collect()
    }

    pub(crate) fn bytes(&self, name: &str) -> Vec<u8> {
        self.names.lock().now[name].content.lock().now.clone()
    }

    /// Puts a durable file on the disk.
    pub(crate) fn put(&self, name: &str, bytes: Vec<u8>) {
        self.power
            .used
            .fetch_add(bytes.len() as u64, Ordering::SeqCst);
        let content = Content {
            now: bytes.clone(),
            durable: bytes,
            unsynced: Vec::new(),
        };
        let file = Arc::new(File {
            content: Mutex::new(content),
            power: Arc::clone(&self.power),
        });
        let mut names = self.names.lock();
        names.now.insert(name.to_owned(), Arc::clone(&file));
        names.durable.insert(name.to_owned(), file);
    }
}

fn apply_name(names: &mut BTreeMap<String, Arc<File>>, op: &NameOp) {
    match op {
        NameOp::Create(name, file) => drop(names.insert(name.clone(), Arc::clone(file))),
        NameOp::Remove(name) => drop(names.remove(name)),
        NameOp::Rename(from, to) => {
            if let Some(file) = names.remove(from) {
                names.insert(to.clone(), file);
            }
        }
    }
}

impl SimulatedDisk {
    fn change(&self, op: NameOp) {
        let mut names = self.names.lock();
        apply_name(&mut names.now, &op);
        names.unsynced.push(op);
    }
}

impl Disk for SimulatedDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.names.lock().now.keys().cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        match self.names.lock().now.get(name) {
            Some(file) => Ok(Arc::new(Handle(Arc::clone(file)))),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.power.spend()?;
        let file = Arc::new(File {
            content: Mutex::default(),
            power: Arc::clone(&self.power),
        });
        self.change(NameOp::Create(name.to_owned(), Arc::clone(&file)));
        Ok(Arc::new(Handle(file)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.power.spend()?;
        self.change(NameOp::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.power.spend()?;
        let file = self.names.lock().now.get(name).cloned();
        let length = file.map_or(0, |file| file.content.lock().now.len() as u64);
        self.power.used.fetch_sub(length, Ordering::SeqCst);
        self.change(NameOp::Remove(name.to_owned()));
        Ok(())
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.power.spend()?;
        let mut names = self.names.lock();
        names.durable = names.now.clone();
        names.unsynced.clear();
        Ok(())
    }
}

impl File {
    fn change(&self, op: Op) -> io::Result<()> {
        self.power.spend()?;
        let mut content = self.content.lock();
        let before = content.now.len();
        let after = match &op {
            Op::Write(offset, bytes) => before.max(*offset as usize + bytes.len()),
            Op::SetLength(length) => *length as usize,
        };
        if let Err(error) = self.power.grow(before, after) {
            if let Op::Write(offset, bytes) = &op {
                // As on a real disk, some of it may get there.
                let fits = before.saturating_sub(*offset as usize).min(bytes.len());
                let part = Op::Write(*offset, bytes[..fits].to_vec());
                apply(&mut content.now, &part, || true);
                content.unsynced.push(part);
            }
            return Err(error);
        }
        apply(&mut content.now, &op, || true);
        content.unsynced.push(op);
        Ok(())
    }
}

impl DiskFile for Handle {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let content = self.0.content.lock();
        let rest = content.now.get(offset as usize..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.change(Op::Write(offset, bytes.to_vec()))
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.content.lock().now.len() as u64)
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.0.change(Op::SetLength(length))
    }

    fn reserve(&self, length: u64) -> io::Result<()> {
        let now = self.0.content.lock().now.len() as u64;
        if length > now {
            self.0.change(Op::SetLength(length))
        } else {
            Ok(())
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.0.power.spend()?;
        if self.0.power.fail_syncs.load(Ordering::SeqCst) {
            return Err(io::Error::other("sync failed"));
        }
        let mut content = self.0.content.lock();
        content.durable = content.now.clone();
        content.unsynced.clear();
        Ok(())
    }
}
