//! Bytes of the stream that are read ahead of the record that is decrypted.

use std::io::{self, Read};

/// What is asked for at first, bytes: a request, or the answer to one.
const LEAST: usize = 4096;

/// What is read at once while much comes, bytes: four records, few enough to stay in a core's cache.
const MOST: usize = 64 * 1024;

/// Encrypted bytes that came in one system call, where the TLS library would make one for each quarter of a record. As long as
/// what is asked for comes whole, twice as much is asked for the next time.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    bytes: Vec<u8>,
    /// Of `bytes`, what was not taken yet.
    start: usize,
    end: usize,
}

impl Ahead {
    /// Whether nothing waits here.
    pub(super) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// These bytes, and behind them what `stream` has.
    pub(super) fn then<'a, S: Read>(&'a mut self, stream: &'a mut S) -> impl Read {
        Reader {
            ahead: self,
            stream,
        }
    }

    /// Gives the memory back, if nothing waits in it.
    pub(super) fn rest(&mut self) {
        if self.is_empty() {
            *self = Self::default();
        }
    }

    fn fill(&mut self, stream: &mut impl Read) -> io::Result<()> {
        let was_whole = self.end == self.bytes.len();
        if was_whole && self.bytes.len() < MOST {
            self.bytes
                .resize((self.bytes.len() * 2).clamp(LEAST, MOST), 0);
        }
        (self.start, self.end) = (0, 0);
        self.end = stream.read(&mut self.bytes)?;
        Ok(())
    }
}

struct Reader<'a, S> {
    ahead: &'a mut Ahead,
    stream: &'a mut S,
}

impl<S: Read> Read for Reader<'_, S> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if self.ahead.is_empty() {
            self.ahead.fill(self.stream)?;
        }
        let Ahead {
            bytes: all,
            start,
            end,
        } = &mut *self.ahead;
        let mut waiting = all.get(*start..*end).unwrap_or_default();
        let taken = waiting.read(bytes)?;
        *start += taken;
        Ok(taken)
    }
}
