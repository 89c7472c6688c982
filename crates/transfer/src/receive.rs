//! Content from a peer's data frames into a file, hashed on the way; one engine for downloads and uploads.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;

use protocol::{Connection, Digest};

use crate::hash_lane::HashLane;
use crate::{ContentHasher, TransferError};

/// Writes content behind what a file holds already, and hashes it: the digest at the end is that of the whole.
#[derive(Debug)]
pub struct Receiver {
    position: u64,
    lane: HashLane,
}

impl Receiver {
    /// Goes on behind the bytes that `prefix` has hashed; `expected` is the length of the whole in bytes, as far as it is
    /// known, and decides only how the work is laid out.
    #[must_use]
    pub fn new(prefix: ContentHasher, expected: u64) -> Self {
        let position = prefix.position();
        Self {
            position,
            lane: HashLane::new(prefix, expected.saturating_sub(position)),
        }
    }

    /// Goes on at `position` without hashing anything: then [`Self::finish`] has no digest to give.
    #[must_use]
    pub fn unverified(position: u64) -> Self {
        Self {
            position,
            lane: HashLane::Off { buffer: Vec::new() },
        }
    }

    /// Bytes of the whole that are there so far.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Takes the data frame whose header `connection` has just received, and writes it to `file` as it comes.
    ///
    /// # Errors
    /// As [`Self::take_some`].
    pub fn take_frame<S: Read + Write>(
        &mut self,
        connection: &mut Connection<S>,
        file: &File,
    ) -> Result<(), TransferError> {
        while self.take_some(connection, file, usize::MAX)? > 0 {}
        Ok(())
    }

    /// Takes the next bytes of the current data frame, `most` of them or fewer; how many, 0 where the frame ends.
    ///
    /// # Errors
    /// [`TransferError::Local`] when the file takes no more: the rest of the frame is then still unread.
    /// [`TransferError::Peer`] when the frame does not come whole.
    pub fn take_some<S: Read + Write>(
        &mut self,
        connection: &mut Connection<S>,
        file: &File,
        most: usize,
    ) -> Result<usize, TransferError> {
        if connection.data_left() == 0 {
            return Ok(0);
        }
        let mut buffer = self.lane.buffer(connection.data_left().min(most));
        let filled = fill(connection, &mut buffer)?;
        buffer.truncate(filled);
        file.write_all_at(&buffer, self.position)
            .map_err(TransferError::Local)?;
        self.position += u64::try_from(filled).unwrap_or(0);
        self.lane.hash(buffer);
        Ok(filled)
    }

    /// The digest of everything from the first byte of the prefix on; `None` from an unverified receiver.
    #[must_use]
    pub fn finish(self) -> Option<Digest> {
        self.lane.finish().map(|hasher| hasher.finalize())
    }
}

fn fill<S: Read + Write>(
    connection: &mut Connection<S>,
    buffer: &mut [u8],
) -> Result<usize, TransferError> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match connection.read_data(rest)? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn framed(content: &[u8], frame: usize) -> Connection<Cursor<Vec<u8>>> {
        let mut sender = Connection::new(Cursor::new(Vec::new()));
        content
            .chunks(frame)
            .for_each(|part| sender.send_data(1, part));
        sender.flush().unwrap();
        let bytes = std::mem::take(sender.stream()).into_inner();
        Connection::new(Cursor::new(bytes))
    }

    fn check(length: usize, split: usize) {
        let content: Vec<u8> = (0..length)
            .map(|n| u8::try_from(n % 251).unwrap())
            .collect();
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&content[..split], 0).unwrap();
        let mut prefix = ContentHasher::new();
        prefix.update(&content[..split]);
        let mut receiver = Receiver::new(prefix, length as u64);
        let mut connection = framed(&content[split..], 700_000);
        while connection.receive().unwrap().is_some() {
            receiver.take_frame(&mut connection, &file).unwrap();
        }
        assert_eq!(receiver.position(), length as u64);
        assert_eq!(
            receiver.finish(),
            Some(Digest(*blake3::hash(&content).as_bytes()))
        );
        let mut stored = vec![0; length];
        file.read_exact_at(&mut stored, 0).unwrap();
        assert!(stored == content);
    }

    #[test]
    fn small_and_large_contents_arrive_whole_and_hashed() {
        check(0, 0);
        check(1000, 0);
        check(1000, 1000);
        check(3_000_000, 1_234_567);
        check(20_000_000, 0);
        check(20_000_000, 19_999_999);
    }

    #[test]
    fn without_verification_nothing_is_hashed() {
        let mut connection = framed(&[7; 1000], 1000);
        let file = tempfile::tempfile().unwrap();
        let mut receiver = Receiver::unverified(5);
        connection.receive().unwrap();
        receiver.take_frame(&mut connection, &file).unwrap();
        assert_eq!((receiver.position(), receiver.finish()), (1005, None));
    }

    #[test]
    fn a_frame_that_is_cut_short_is_the_peers_fault() {
        let mut connection = framed(&[7; 1000], 1000);
        connection.stream().get_mut().truncate(500);
        let mut receiver = Receiver::unverified(0);
        connection.receive().unwrap();
        let result = receiver.take_frame(&mut connection, &tempfile::tempfile().unwrap());
        assert!(matches!(result, Err(TransferError::Peer(_))));
    }

    #[test]
    fn a_file_that_takes_nothing_is_our_fault() {
        let mut connection = framed(&[7; 1000], 1000);
        connection.receive().unwrap();
        let unwritable = File::open("/dev/null").unwrap();
        let result = Receiver::unverified(0).take_frame(&mut connection, &unwritable);
        assert!(matches!(result, Err(TransferError::Local(_))));
    }
}
