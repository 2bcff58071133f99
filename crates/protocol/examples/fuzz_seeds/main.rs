//! Writes the fuzz targets' seeds: a few real messages of each kind that a target reads.
//!
//! ```sh
//! cargo run --release --example fuzz_seeds          # renews fuzz/seeds
//! ```
//!
//! All of it is made of fixed keys that hold nothing. But for the ephemeral keys of handshakes and the times in
//! signatures of a stock OpenPGP program, each run writes the same bytes. Inputs that a long run found and that were
//! kept lie beside them under their hash, and stay.

mod identities;
mod messages;
mod packets;
mod people;
mod streams;
mod texts;

use std::error::Error;
use std::fs;
use std::path::PathBuf;

/// How writing ends.
type Outcome = Result<(), Box<dyn Error>>;
/// A target, and what writes its seeds.
type Writer = (&'static str, fn(&mut Seeds) -> Outcome);

/// The seeds of one target.
struct Seeds {
    place: PathBuf,
    written: usize,
}

impl Seeds {
    fn of(target: &str) -> Result<Self, Box<dyn Error>> {
        let top = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let place = top.join("../../fuzz/seeds").join(target);
        fs::create_dir_all(&place)?;
        Ok(Self { place, written: 0 })
    }

    fn put(&mut self, name: &str, bytes: impl AsRef<[u8]>) -> Outcome {
        self.written += bytes.as_ref().len();
        Ok(fs::write(self.place.join(name), bytes)?)
    }
}

fn main() -> Outcome {
    let mut total = 0;
    let writers: [Writer; 15] = [
        ("peek", packets::peek),
        ("open", packets::open),
        ("sealed_inside", packets::sealed_inside),
        ("envelope", packets::envelope),
        ("command", messages::command),
        ("link", messages::link),
        ("session", messages::session),
        ("stream", streams::stream),
        ("identity", identities::identity),
        ("reassembly", messages::reassembly),
        ("network_file", texts::network_file),
        ("store_recovery", texts::store_recovery),
        ("rpc", texts::rpc),
        ("intake", texts::intake),
        ("socks", texts::socks),
    ];
    for (target, write) in writers {
        let mut seeds = Seeds::of(target)?;
        write(&mut seeds)?;
        println!("{target}: {} bytes", seeds.written);
        total += seeds.written;
    }
    println!("all: {total} bytes");
    Ok(())
}
