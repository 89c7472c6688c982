//! Where received bytes are hashed: beside the receiving thread for large contents, on it for small ones. Buffers go over
//! by ownership and come back, so nothing is copied and memory is bounded.

use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{Builder, JoinHandle};

use crate::ContentHasher;

/// Length of a buffer, bytes.
const BUFFER: usize = 256 * 1024;

/// Buffers that wait to be hashed; with the one being filled and the one being hashed, all there are.
const WAITING: usize = 4;

/// Below this a thread costs more than it saves.
const WORTH_A_THREAD: u64 = 4 * 1024 * 1024;

#[derive(Debug)]
pub(crate) enum HashLane {
    Off {
        buffer: Vec<u8>,
    },
    Inline {
        hasher: ContentHasher,
        buffer: Vec<u8>,
    },
    Beside {
        full: SyncSender<Vec<u8>>,
        empty: Receiver<Vec<u8>>,
        thread: JoinHandle<ContentHasher>,
    },
}

impl HashLane {
    pub(crate) fn new(hasher: ContentHasher, to_come: u64) -> Self {
        if to_come < WORTH_A_THREAD {
            return Self::Inline {
                hasher,
                buffer: Vec::new(),
            };
        }
        let (full, filled) = sync_channel(WAITING);
        let (hashed, empty) = channel();
        let fallback = hasher.clone();
        match Builder::new()
            .name("hash".to_owned())
            .stack_size(128 * 1024)
            .spawn(move || run(hasher, &filled, &hashed))
        {
            Ok(thread) => Self::Beside {
                full,
                empty,
                thread,
            },
            Err(_) => Self::Inline {
                hasher: fallback,
                buffer: Vec::new(),
            },
        }
    }

    /// A buffer to fill with the next `wanted` bytes, or as many of them as a buffer takes.
    pub(crate) fn buffer(&mut self, wanted: usize) -> Vec<u8> {
        let mut buffer = match self {
            Self::Off { buffer } | Self::Inline { buffer, .. } => std::mem::take(buffer),
            Self::Beside { empty, .. } => empty.try_recv().unwrap_or_default(),
        };
        buffer.resize(wanted.min(BUFFER), 0);
        buffer
    }

    /// Hashes the next bytes of the content; waits where too many buffers are on their way.
    pub(crate) fn hash(&mut self, bytes: Vec<u8>) {
        match self {
            Self::Off { buffer } => *buffer = bytes,
            Self::Inline { hasher, buffer } => {
                hasher.update(&bytes);
                *buffer = bytes;
            }
            // The thread ends only when this sender does; `finish` reports one that broke.
            Self::Beside { full, .. } => full.send(bytes).unwrap_or_default(),
        }
    }

    /// The hasher behind all bytes; `None` where nothing was hashed.
    pub(crate) fn finish(self) -> Option<ContentHasher> {
        match self {
            Self::Off { .. } => None,
            Self::Inline { hasher, .. } => Some(hasher),
            Self::Beside { full, thread, .. } => {
                drop(full);
                thread.join().ok()
            }
        }
    }
}

fn run(
    mut hasher: ContentHasher,
    filled: &Receiver<Vec<u8>>,
    hashed: &Sender<Vec<u8>>,
) -> ContentHasher {
    while let Ok(buffer) = filled.recv() {
        hasher.update(&buffer);
        // Nobody takes buffers back once the last one has been handed over.
        hashed.send(buffer).unwrap_or_default();
    }
    hasher
}
