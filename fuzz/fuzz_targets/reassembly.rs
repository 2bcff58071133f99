//! Chunks of a file in any order and with any numbers: what is taken lies inside the whole, once.
#![no_main]
use std::collections::BTreeSet;

use packet::{Chunk, TransferId};
use protocol::transfer::Assembly;

/// Three bytes a chunk: its index, the length of its data, and what is wrong with it.
fn chunk(head: &[u8; 4], piece: &[u8]) -> Chunk {
    let &[index, data, lie, amount] = piece else { unreachable!("pieces of four") };
    let (total, count) = (u64::from(u16::from_le_bytes([head[0], head[1]])), u32::from(head[2]));
    let mut chunk = Chunk {
        transfer: TransferId::from_bytes([1; 16]),
        index: index.into(),
        count,
        total,
        sha256: [head[3]; 32],
        offset: u64::from(index) * u64::from(data),
        name: String::new(),
        data: vec![index; data.into()].into(),
    };
    match lie % 8 {
        0 => chunk.offset = u64::MAX - u64::from(amount),
        1 => chunk.total = u64::MAX - u64::from(amount),
        2 => chunk.count = u32::MAX - u32::from(amount),
        3 => chunk.index = u32::MAX - u32::from(amount),
        4 => chunk.offset = u64::from(amount),
        _ => {}
    }
    chunk
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((head, pieces)) = bytes.split_first_chunk::<4>() else { return };
    let mut chunks = pieces.chunks_exact(4).map(|piece| chunk(head, piece));
    let Some(first) = chunks.next() else { return };
    let Ok(mut assembly) = Assembly::start(&first) else { return };
    let mut taken = BTreeSet::new();
    for chunk in std::iter::once(first).chain(chunks) {
        let before = assembly.clone();
        match assembly.take(&chunk) {
            Ok(true) => {
                assert!(chunk.offset + chunk.data.len() as u64 <= assembly.total);
                assert!(taken.insert(chunk.index), "taken twice");
            }
            Ok(false) => assert!(taken.contains(&chunk.index)),
            Err(_) => assert_eq!(assembly, before),
        }
        let mut restored = before;
        restored.restore(&assembly.bits());
        assert_eq!(restored, assembly);
    }
    assert_eq!(assembly.received() as usize, taken.len());
});
