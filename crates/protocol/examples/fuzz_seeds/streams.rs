//! Seeds of `stream`, and the commands that open streams.

use std::error::Error;

use protocol::stream::{Cipher, OpenStream, Purpose, Stream};

use crate::people::rng;
use crate::{Outcome, Seeds};

const LAST: u8 = 1;
const RESET: u8 = 2;
const ASKS: u8 = 8;
const WINDOW: u64 = 1 << 20;
/// What a hostile accepter takes for its share, until the target puts the real one there.
const HELLO_BYTES: [u8; 40] = {
    let mut hello = [0; 40];
    hello[0] = 1;
    hello
};

/// One of each purpose, the last one with a right proof.
pub(crate) fn commands() -> Result<[(&'static str, OpenStream); 4], Box<dyn Error>> {
    let (aes, target) = (Cipher::Aes256Gcm, "example.org:443".parse()?);
    let (mut opener, connect) = Stream::open(Purpose::Connect(target), aes, 0, &mut rng(30));
    let (_, datagrams) = Stream::open(
        Purpose::Datagrams,
        Cipher::ChaCha20Poly1305,
        0,
        &mut rng(31),
    );
    let shop = Purpose::Service("shop.conet:80".parse()?);
    let (_, service) = Stream::open(shop, aes, 0, &mut rng(34));
    let accepter = Stream::accept(&connect, aes, 0, &mut rng(32));
    let mut frame = Vec::new();
    accepter
        .ok_or("its share is none")?
        .poll_transmit(&mut frame, 0);
    opener.handle_frame(frame[..].into(), 0)?;
    let resume = opener.resume(0, &mut rng(33))?;
    Ok([
        ("open-stream-connect", connect),
        ("open-stream-datagrams", datagrams),
        ("open-stream-resume", resume),
        ("open-stream-service", service),
    ])
}

/// What happens next, as the target reads it: a kind, a length, so many bytes.
enum Step<'s> {
    /// The far end says this under the right keys.
    Hear(Vec<u8>),
    /// This comes from somebody else.
    Raw(&'s [u8]),
    Wait(u32),
    Read,
    Write(&'s str),
    Finish,
    Send,
    Opened,
    GiveUp,
    Resume,
    /// The opener claims to have received so much, and changes its proof by that.
    Lie(u64, u8),
    Cut,
}

fn note(flags: u8, offset: u64, received: u64, data: &str) -> Vec<u8> {
    let numbers = [offset, received, WINDOW].map(u64::to_be_bytes).concat();
    [&[flags, 5, 0, 0, 0, 0, 0, 0], &numbers[..], data.as_bytes()].concat()
}

fn hello(flags: u8, received: u64, data: &str) -> Vec<u8> {
    let note = note(flags, 0, received, "");
    [&note[..], &HELLO_BYTES, data.as_bytes()].concat()
}

fn written(head: u8, steps: &[Step<'_>]) -> Vec<u8> {
    let mut out = vec![head];
    for step in steps {
        let (kind, bytes) = match step {
            Step::Hear(clear) => (0, clear.clone()),
            Step::Raw(frame) => (1, frame.to_vec()),
            Step::Wait(ms) => (2, ms.to_be_bytes().to_vec()),
            Step::Read => (3, vec![0; 32]),
            Step::Write(text) => (4, text.as_bytes().to_vec()),
            Step::Finish => (4, Vec::new()),
            Step::Send => (5, Vec::new()),
            Step::Opened => (6, Vec::new()),
            Step::GiveUp => (6, vec![0]),
            Step::Resume => (7, Vec::new()),
            Step::Lie(received, change) => (7, [&received.to_be_bytes()[..], &[*change]].concat()),
            Step::Cut => (8, Vec::new()),
        };
        out.push(kind);
        out.push(bytes.len() as u8);
        out.extend_from_slice(&bytes);
    }
    out
}

pub(crate) fn stream(seeds: &mut Seeds) -> Outcome {
    use Step::{Cut, Finish, GiveUp, Hear, Lie, Opened, Raw, Read, Resume, Send, Wait, Write};
    // The first byte: who is hostile (0 the opener), then the ciphers of opener and accepter.
    for (name, head, steps) in [
        (
            "opener-asks-and-ends",
            0,
            vec![
                Hear(note(0, 0, 0, "ask")),
                Read,
                Opened,
                Write("answer"),
                Send,
                Hear(note(LAST, 3, 6, "!")),
                Read,
                Finish,
                Send,
                Hear(note(0, 0, 7, "")),
                Send,
            ],
        ),
        (
            "opener-resumes",
            0,
            vec![
                Hear(note(0, 0, 0, "ask")),
                Write("answer"),
                Send,
                Cut,
                Write(" and more"),
                Resume,
                Send,
                Hear(note(0, 0, 15, "ask")),
                Hear(note(0, 3, 15, " again")),
                Read,
                Resume,
                Hear(note(LAST, 6, 15, "ain")),
                Resume,
                Send,
            ],
        ),
        (
            "opener-lies",
            0,
            vec![
                Send,
                Cut,
                Lie(1 << 40, 0),
                Lie(0, 1),
                Resume,
                Send,
                Hear(note(0, 0, 1 << 40, "")),
            ],
        ),
        (
            "opener-goes-too-far",
            2,
            vec![Send, Hear(note(0, 1, 0, "gap"))],
        ),
        (
            "opener-resets",
            4,
            vec![Send, Hear(note(RESET, 0, 0, "")), Send],
        ),
        (
            "opener-is-silent",
            6,
            vec![
                Send,
                Wait(75_000),
                Send,
                Resume,
                Send,
                Wait(75_000),
                Wait(105_000),
            ],
        ),
        (
            "accepter-answers",
            1,
            vec![
                Write("ask"),
                Send,
                Hear(hello(16, 3, "answer")),
                Read,
                Send,
                Wait(25),
                Send,
                Finish,
                Send,
                Hear(note(LAST, 6, 4, "!")),
                Read,
                Send,
            ],
        ),
        (
            "accepter-is-resumed",
            1,
            vec![
                Write("ask"),
                Send,
                Hear(hello(0, 0, "an")),
                Cut,
                Resume,
                Write(" again"),
                Send,
                Hear(hello(0, 9, "answer")),
                Read,
                Send,
                Cut,
                Resume,
                Send,
                Wait(15_000),
                Resume,
                Send,
            ],
        ),
        (
            "accepter-says-no-hello",
            3,
            vec![Write("ask"), Send, Hear(note(0, 0, 0, "")), Send],
        ),
        (
            "accepter-acknowledges-too-much",
            5,
            vec![Write("ask"), Send, Hear(hello(0, 99, "")), Send],
        ),
        (
            "accepter-wants-a-sign",
            7,
            vec![
                Send,
                Hear(hello(ASKS, 0, "")),
                Send,
                Wait(30_000),
                Send,
                Hear(note(0, 0, 0, "")),
                GiveUp,
                Send,
            ],
        ),
        (
            "strangers",
            1,
            vec![
                Send,
                Raw(&[0; 56]),
                Resume,
                Send,
                Hear(hello(0, 0, "")),
                Raw(&[255; 60]),
                Resume,
            ],
        ),
    ] {
        seeds.put(name, written(head, &steps))?;
    }
    Ok(())
}
