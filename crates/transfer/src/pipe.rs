//! A pipe between a socket and a file, through which content passes without being shown to us.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};

use crate::wire::retrying;

/// Bytes that one turn moves. A pipe of 64 KiB, the default, costs a third more time.
const CAPACITY: usize = 1024 * 1024;

/// Bytes copied at once where a file system takes nothing from a pipe.
const COPIED_AT_ONCE: usize = 64 * 1024;

#[derive(Debug)]
pub(crate) struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
}

impl Pipe {
    /// An empty pipe. Refused where a user has many already: what the kernel still gives then holds two pages, pipe(7), and is
    /// worse than a buffer.
    pub(crate) fn new() -> io::Result<Self> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
        fcntl_setpipe_size(&write, CAPACITY)?;
        Ok(Self { read, write })
    }

    pub(crate) fn entrance(&self) -> BorrowedFd<'_> {
        self.write.as_fd()
    }

    /// Moves the `length` bytes that are in the pipe to the file. After an error the pipe is of no further use.
    pub(crate) fn drain(&self, file: &File, offset: u64, length: usize) -> io::Result<()> {
        let mut position = offset;
        let mut left = length;
        while left > 0 {
            let moved = splice(
                &self.read,
                None,
                file,
                Some(&mut position),
                left,
                SpliceFlags::MOVE,
            );
            match moved {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(moved) => left = left.saturating_sub(moved),
                Err(Errno::INTR) => {}
                // Not on this file system.
                Err(Errno::INVAL) => return self.copy_out(file, position, left),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn copy_out(&self, file: &File, mut position: u64, mut left: usize) -> io::Result<()> {
        let mut buffer = vec![0; left.min(COPIED_AT_ONCE)];
        while left > 0 {
            let room = buffer
                .get_mut(..left.min(COPIED_AT_ONCE))
                .unwrap_or_default();
            let read = retrying(|| Ok(rustix::io::read(&self.read, &mut *room)?))?;
            file.write_all_at(buffer.get(..read).unwrap_or_default(), position)?;
            position += u64::try_from(read).unwrap_or(0);
            left = left.saturating_sub(read);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(bytes: &[u8]) -> Pipe {
        let pipe = Pipe::new().unwrap();
        rustix::io::write(&pipe.write, bytes).unwrap();
        pipe
    }

    #[test]
    fn what_is_in_the_pipe_gets_into_the_file() {
        let bytes: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
        let file = tempfile::tempfile().unwrap();
        filled(&bytes).drain(&file, 7, bytes.len()).unwrap();
        filled(&bytes)
            .copy_out(&file, 300_000, bytes.len())
            .unwrap();
        let mut stored = vec![0; bytes.len()];
        for offset in [7, 300_000] {
            file.read_exact_at(&mut stored, offset).unwrap();
            assert!(stored == bytes);
        }
    }

    #[test]
    fn a_file_that_cannot_be_written_is_an_error() {
        let file = File::open("/dev/null").unwrap();
        let error = filled(b"content").drain(&file, 0, 7).unwrap_err();
        assert_eq!(Errno::from_io_error(&error), Some(Errno::BADF));
    }
}
