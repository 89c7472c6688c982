//! What the targets share: a stream of made-up bytes, frames whose checksums are right, and a limit on memory.
//!
//! The first byte of an input chooses its form. Even: the rest is the stream, byte for byte. Odd: the rest is a list of
//! frames (kind u16, length u16, payload), which get right headers, so that the fuzzer need not guess a CRC.

use std::alloc::{GlobalAlloc, Layout, System};
use std::fmt::Debug;
use std::io::{self, Cursor, Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};

use protocol::frame::{DATA, Header, KEEP_ALIVE};
use protocol::{Connection, ConnectionError, Message};

/// Most memory that one input may hold at once beyond what was held before it, bytes: a frame's payload, the message in
/// it (a list of two-byte texts takes twelve times its bytes, and a growing list half as much again), a second message.
const MEMORY: usize = 6 * 1024 * 1024;

struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator unchanged; the counters touch no memory of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(held, Ordering::Relaxed);
        // SAFETY: the caller keeps `GlobalAlloc`'s contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps `GlobalAlloc`'s contract.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Runs `work` and fails when it held too much memory at once.
pub fn within_memory(work: impl FnOnce()) {
    let before = HELD.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    work();
    let held = PEAK.load(Ordering::Relaxed).saturating_sub(before);
    assert!(held <= MEMORY, "{held} bytes were held for one input");
}

/// The connection that an input stands for; what is written to it is forgotten.
pub fn connection(input: &[u8]) -> Option<(bool, Connection<Stream>)> {
    let (form, rest) = input.split_first()?;
    let is_raw = form % 2 == 0;
    let bytes = if is_raw { rest.to_vec() } else { frames(rest) };
    Some((is_raw, Connection::new(Stream(Cursor::new(bytes)))))
}

/// Bytes to read, and nowhere to write.
#[derive(Debug)]
pub struct Stream(Cursor<Vec<u8>>);

impl Read for Stream {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.0.read(bytes)
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn frames(mut rest: &[u8]) -> Vec<u8> {
    let mut stream = Vec::new();
    while let Some((head, tail)) = rest.split_first_chunk::<4>() {
        let [k0, k1, l0, l1] = *head;
        let kind = u16::from_be_bytes([k0, k1]);
        let wanted = usize::from(u16::from_be_bytes([l0, l1]));
        let (payload, next) = tail.split_at(wanted.min(tail.len()));
        let header = Header {
            length: u32::try_from(payload.len()).unwrap_or(u32::MAX),
            request: 1,
            kind,
        };
        let covered = if kind == DATA { &[] } else { payload };
        stream.extend(header.encode(covered));
        stream.extend(payload);
        rest = next;
    }
    stream
}

/// Reads frames to the end as each end of a connection does; `decode` gets every control frame.
pub fn read_all(
    connection: &mut Connection<Stream>,
    mut decode: impl FnMut(&Connection<Stream>, &Header),
) -> Result<(), ConnectionError> {
    let mut buffer = [0; 1000];
    while let Some(header) = connection.receive()? {
        match header.kind {
            // Some frames are read in pieces, some are left for the next call to skip.
            DATA if header.length % 2 == 0 => while connection.read_data(&mut buffer)? > 0 {},
            DATA | KEEP_ALIVE => {}
            _ => decode(connection, &header),
        }
    }
    Ok(())
}

/// Decodes the frame at hand; whatever is a message must survive being encoded again.
pub fn check<M: Message + PartialEq + Debug>(connection: &Connection<Stream>, header: &Header) {
    let Ok(message) = connection.decode::<M>(header) else {
        return;
    };
    assert_eq!(message.kind(), header.kind);
    let mut payload = Vec::new();
    message.encode(&mut payload);
    assert!(payload.len() <= 64 * 1024);
    assert_eq!(M::decode(header.kind, &payload).as_ref(), Ok(&message));
}
