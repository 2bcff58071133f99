//! Reading a log file whole, and putting right what a crash left at its end.

use std::io;
use std::sync::Arc;

use super::frame::{FRAME_HEADER_LEN, Frame, FrameSeal, Scanned, Scanner, write_frame};
use super::header::FILE_HEADER_LEN;
use super::record::kind;
use crate::disk::DiskFile;

/// Longest frame written over a torn part; a commit is shorter.
const FILLER_MAX: u64 = 16 << 20;

/// A part of a file that is no frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gap {
    pub(super) offset: u64,
    pub(super) len: u64,
    /// Commit of the frame that follows; `None` at the end of the file.
    next_commit: Option<u64>,
    /// Whether its header is sound, so that it is known what is missing.
    pub(super) known: bool,
}

/// How a file was found.
#[derive(Debug)]
pub(super) struct Scan {
    pub(super) gaps: Vec<Gap>,
    /// End of its last sound frame.
    pub(super) end: u64,
    /// Its last commit, if it has any frame.
    pub(super) last_commit: Option<u64>,
    last_commit_at: u64,
}

impl Scan {
    /// Whether there is nothing but zeros behind the header.
    pub(super) fn is_blank(&self) -> bool {
        self.last_commit.is_none() && self.gaps.is_empty()
    }
}

/// What was wrong with the last file.
#[derive(Debug, Default)]
pub(super) struct Settled {
    /// Bytes of the last commit that were torn.
    pub(super) torn_bytes: u64,
    /// Parts damaged otherwise.
    pub(super) damage: Vec<Gap>,
}

/// Reads a file from its header to `len`: hands over each sound frame with its offset, and the
/// kind and meta of each whose payload is damaged; that one tells whether it knows what is lost.
pub(super) fn scan_file(
    file: &Arc<dyn DiskFile>,
    seal: FrameSeal,
    len: u64,
    mut sound: impl FnMut(&Frame<'_>, u64),
    mut damaged: impl FnMut(u8, &[u8]) -> bool,
) -> io::Result<Scan> {
    let begin = (FILE_HEADER_LEN as u64).min(len);
    let mut scanner = Scanner::new(Arc::clone(file), seal, begin, len);
    let mut scan = Scan {
        gaps: Vec::new(),
        end: begin,
        last_commit: None,
        last_commit_at: begin,
    };
    loop {
        let (commit, at) = match scanner.next()? {
            None => return Ok(scan),
            Some(Scanned::Gap { offset, len }) => {
                scan.gaps.push(Gap {
                    offset,
                    len,
                    next_commit: None,
                    known: false,
                });
                continue;
            }
            Some(Scanned::DamagedPayload {
                offset,
                header,
                meta,
            }) => {
                let known = damaged(header.kind, meta);
                scan.gaps.push(Gap {
                    offset,
                    len: header.frame_len() as u64,
                    next_commit: None,
                    known,
                });
                continue;
            }
            Some(Scanned::Frame { offset, frame }) => {
                sound(&frame, offset);
                (frame.header.commit, offset)
            }
        };
        if scan.last_commit.is_none_or(|last| commit > last) {
            (scan.last_commit, scan.last_commit_at) = (Some(commit), at);
        }
        scan.end = scanner.offset();
        for gap in scan
            .gaps
            .iter_mut()
            .rev()
            .take_while(|gap| gap.next_commit.is_none())
        {
            gap.next_commit = Some(commit);
        }
    }
}

/// Heals what a crash tore in the file that was written last, and makes all of it durable.
///
/// The next commit stands at the scan's end.
pub(super) fn settle_last(
    file: &dyn DiskFile,
    seal: FrameSeal,
    scan: &Scan,
) -> io::Result<Settled> {
    let mut settled = Settled::default();
    let last = scan.last_commit.unwrap_or(0);
    for gap in &scan.gaps {
        match gap.next_commit {
            // A later commit was begun, so this one had been synced: no crash did that.
            Some(next) if next < last => {
                settled.damage.push(*gap);
                continue;
            }
            Some(_) => cover(file, seal, gap, last)?,
            None => {}
        }
        settled.torn_bytes += gap.len;
    }
    if scan.gaps.iter().any(|gap| gap.next_commit.is_none()) {
        file.set_length(scan.end)?;
    }
    rewrite(file, 0, (FILE_HEADER_LEN as u64).min(scan.end))?;
    rewrite(file, scan.last_commit_at, scan.end)?;
    file.sync()?;
    Ok(settled)
}

/// Writes a frame over a torn part, so that it is not taken for damage later.
fn cover(file: &dyn DiskFile, seal: FrameSeal, gap: &Gap, commit: u64) -> io::Result<()> {
    let (mut offset, end) = (gap.offset, gap.offset + gap.len);
    while end - offset >= FRAME_HEADER_LEN as u64 {
        let len = (end - offset).min(FILLER_MAX);
        let mut payload = vec![0; len as usize - FRAME_HEADER_LEN];
        file.read_at(&mut payload, offset + FRAME_HEADER_LEN as u64)?;
        let mut frame = Vec::with_capacity(len as usize);
        write_frame(
            &mut frame,
            &seal,
            offset,
            kind::FILLER,
            commit,
            &[],
            &payload,
        );
        file.write_at(&frame, offset)?;
        offset += len;
    }
    Ok(())
}

/// Writes a part once more as it is.
///
/// After a failed sync the system may call pages clean that never reached the disk; then they are
/// here to read and a sync says yes, until the power fails. Written again, they are dirty again.
fn rewrite(file: &dyn DiskFile, from: u64, to: u64) -> io::Result<()> {
    const CHUNK: u64 = 1 << 20;
    let mut at = from;
    while at < to {
        let mut bytes = vec![0; (to - at).min(CHUNK) as usize];
        let count = file.read_at(&mut bytes, at)?;
        file.write_at(bytes.get(..count).unwrap_or_default(), at)?;
        at += bytes.len() as u64;
    }
    Ok(())
}
