//! The content of local files: read, and hashed.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use protocol::Digest;
use protocol::limits::BLOCK;
use transfer::block_tree::BLOCK_LENGTH;
use transfer::{HashBehind, Hashed};

use crate::ClientError;
use crate::context::Context;
use crate::source_file::changed;

/// A buffer for one block.
pub(crate) fn new_buffer() -> Vec<u8> {
    vec![0; BLOCK_LENGTH]
}

/// Reads until `buffer` is full or the file ends; how much that was.
pub(crate) fn read_full(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(room) = buffer.get_mut(filled..).filter(|room| !room.is_empty()) {
        let position = offset + u64::try_from(filled).unwrap_or(u64::MAX);
        match file.read_at(room, position) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// The digest of a file that holds `size` bytes.
///
/// # Errors
/// `changed` where it holds fewer or more; what reading says; an interrupt.
pub(crate) fn digest_of(file: &File, size: u64, context: &Context) -> Result<Digest, ClientError> {
    let mut hashing = HashBehind::new(Hashed::default(), size);
    let mut position = 0;
    while position < size {
        context.check()?;
        position = size.min(position + BLOCK);
        hashing.advance(file, position).map_err(hashing_failed)?;
    }
    match hashing.finish(file, size).map_err(hashing_failed)? {
        Some(hashed) if file.metadata()?.len() == size => Ok(hashed.digest()),
        _ => Err(changed()),
    }
}

/// Why a file could not be hashed: one that ends too early has been changed.
pub(crate) fn hashing_failed(error: io::Error) -> ClientError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => changed(),
        _ => error.into(),
    }
}
