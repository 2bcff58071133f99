//! A mailbox's files after damage: the store opens or says why not, and gives nothing that was not put in.
#![no_main]
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use mailbox::{DeviceId, LogConfig, LogStore, PacketStore, QueueId};
use tempfile::TempDir;
use tokio::runtime::Runtime;

const NOW: u64 = 1_800_000_000_000;
const QUEUE: QueueId = QueueId::new([7; 20]);
const DEVICE: DeviceId = DeviceId::new([1; 16]);
const PACKETS: u8 = 24;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
});

/// A folder in memory where the system has such a place: the disk's syncs would take nearly all of the time.
fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// The files of a store that was closed, as they lay there.
static FILES: LazyLock<Vec<(PathBuf, Vec<u8>)>> = LazyLock::new(|| {
    let folder = folder();
    RUNTIME.block_on(async {
        let store = LogStore::open(folder.path(), config()).unwrap();
        store.register_device(QUEUE, DEVICE, NOW).await.unwrap();
        for number in 0..PACKETS {
            store.append(QUEUE, [number; 32], packet(number).into(), NOW).await.unwrap();
        }
    });
    let mut files: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_name().unwrap().into(), fs::read(path).unwrap()))
        .collect();
    files.sort();
    files
});

fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 16 << 10,
        max_packet_bytes: 1 << 10,
        max_total_bytes: 1 << 20,
        ..LogConfig::default()
    }
}

fn packet(number: u8) -> Vec<u8> {
    vec![number; 200 + usize::from(number)]
}

/// Six bytes a wound: which file, where (two bytes), what, and how much.
fn damage(files: &mut [(PathBuf, Vec<u8>)], wound: &[u8]) {
    let &[file, high, low, kind, value, length] = wound else { return };
    let count = files.len();
    let bytes = &mut files[usize::from(file) % count].1;
    let place = usize::from(u16::from_be_bytes([high, low])) % (bytes.len() + 1);
    match kind % 4 {
        0 => bytes.truncate(place),
        1 => bytes.iter_mut().skip(place).take(length.into()).for_each(|byte| *byte = value),
        2 => bytes.iter_mut().skip(place).take(1).for_each(|byte| *byte ^= value),
        _ => {
            let moved: Vec<u8> = bytes.iter().skip(place).take(length.into()).copied().collect();
            let to = usize::from(value) * 8 % (bytes.len() + 1);
            bytes.splice(to..to, moved);
        }
    }
}

fn put(folder: &Path, files: &[(PathBuf, Vec<u8>)]) {
    for (name, bytes) in files {
        fs::write(folder.join(name), bytes).unwrap();
    }
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut files = FILES.clone();
    bytes.chunks_exact(6).take(16).for_each(|wound| damage(&mut files, wound));
    let folder = folder();
    put(folder.path(), &files);
    RUNTIME.block_on(async {
        let Ok(store) = LogStore::open(folder.path(), config()) else { return };
        let Ok(from) = store.register_device(QUEUE, DEVICE, NOW).await else { return };
        let Ok(found) = store.read(QUEUE, DEVICE, from, 100, 1 << 20).await else { return };
        for stored in &found {
            let number = stored.packet.first().copied().unwrap_or(PACKETS);
            assert!(number < PACKETS && stored.packet == packet(number), "a packet that nobody sent");
        }
        assert!(found.windows(2).all(|pair| pair[0].cursor < pair[1].cursor), "out of order");
        // It goes on working, too.
        let _ = store.append(QUEUE, [99; 32], packet(99).into(), NOW).await;
    });
});
