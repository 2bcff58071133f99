//! Files on their way: read and cut here, put together and placed there.
//!
//! What comes is written at its place into a partial file of the account's folder. Only when all of it is
//! there and its SHA-256 is right does it get the name that the sender gave it, made safe, in the folder
//! that the user chose; it never replaces anything and never leaves that folder.

mod assembly;
mod name;
mod outgoing;
mod placing;
mod running;

pub use assembly::AssemblyError;
pub(crate) use assembly::{Assemblies, ChunkOutcome};
pub(crate) use name::safe_name;
pub use outgoing::OutgoingError;
pub(crate) use outgoing::{Facts, facts, file_name, plan, read_chunk};
pub(crate) use placing::{PlaceError, place};

/// The data of one chunk: what surely fits into a packet of the largest class, whoever it is for.
pub(crate) const CHUNK_BYTES: u32 =
    (packet::SizeClass::M1.packet_bytes() - CHUNK_ROOM_BYTES) as u32;

/// Room for what stands around a chunk's data: key, signatures, sender's proof, name.
const CHUNK_ROOM_BYTES: usize = 8 * 1024;
