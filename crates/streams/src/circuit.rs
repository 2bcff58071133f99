//! Circuits as whoever carries them gives them.

use std::fmt;

use bytes::BytesMut;
use tokio::sync::mpsc;

/// What comes out of a circuit. That nothing more comes is that it is over.
#[derive(Debug)]
pub enum CircuitEvent {
    /// A frame of the far end.
    Frame(BytesMut),
    /// The far end, or somebody on the way, takes that many bytes more.
    Credit(u32),
}

/// The end of a circuit that frames go into. The circuit ends with it.
pub trait CircuitSender: Send + 'static {
    /// Sends a frame; never waits. What can't be sent ends the circuit.
    fn send(&self, frame: &[u8]);

    /// Lets the far end send that many bytes more.
    fn grant(&self, bytes: u32);
}

/// One end of a circuit.
///
/// **Invariant**: no more comes out of it than [`protocol::link::INITIAL_CREDIT_BYTES`] and what was granted; that is what bounds its queue.
pub struct Circuit {
    pub(crate) sender: Box<dyn CircuitSender>,
    pub(crate) events: mpsc::UnboundedReceiver<CircuitEvent>,
    /// What came out of it before anybody took it.
    pub(crate) first: Option<CircuitEvent>,
}

impl Circuit {
    /// A circuit of two halves.
    pub fn new(sender: impl CircuitSender, events: mpsc::UnboundedReceiver<CircuitEvent>) -> Self {
        Self {
            sender: Box::new(sender),
            events,
            first: None,
        }
    }

    /// Waits until something has come out of the circuit; false if it is over before. Nothing of that is lost.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn begun(&mut self) -> bool {
        if self.first.is_none() {
            self.first = self.events.recv().await;
        }
        self.first.is_some()
    }
}

impl fmt::Debug for Circuit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Circuit(…)")
    }
}
