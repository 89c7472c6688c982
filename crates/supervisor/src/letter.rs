//! What a child finds when it starts: a hidden argument, and on its standard input a letter.
//!
//! The letter is a sealed memfd: a line of JSON of ours, which says among others under which numbers further descriptors
//! are open, then the program's own bytes. These may hold keys, which is why they travel neither as arguments nor in the
//! environment, where others can read them.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{OwnedFd, RawFd};

use rustix::fs::{MemfdFlags, SealFlags};
use serde::{Deserialize, Serialize};

/// The first argument of a worker.
pub const WORKER_ARGUMENT: &str = "--pool-worker";
/// The first argument of a helper; its name is the second.
pub const HELPER_ARGUMENT: &str = "--pool-helper";

/// Child to supervisor, on the lifeline: I am ready.
pub(crate) const READY: u8 = b'r';
/// Supervisor to child, on the lifeline: take nobody new, leave with your last session.
pub(crate) const DRAIN: u8 = b'd';

/// A letter is read whole before the child is ready: configuration and keys, not data.
const LONGEST: usize = 16 * 1024 * 1024;

const SEALS: SealFlags = SealFlags::SHRINK
    .union(SealFlags::GROW)
    .union(SealFlags::WRITE)
    .union(SealFlags::SEAL);

/// What a process was started as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// By a person: it becomes the supervisor.
    Supervisor,
    /// By a supervisor: one of its workers.
    Worker,
    /// By a supervisor: its helper.
    Helper,
}

impl Role {
    /// The role of this process, by its first argument. To be asked before arguments are parsed.
    #[must_use]
    pub fn of_this_process() -> Self {
        Self::from_argument(std::env::args_os().nth(1).as_deref())
    }

    fn from_argument(first: Option<&OsStr>) -> Self {
        match first.and_then(OsStr::to_str) {
            Some(WORKER_ARGUMENT) => Self::Worker,
            Some(HELPER_ARGUMENT) => Self::Helper,
            _ => Self::Supervisor,
        }
    }
}

/// Our own line of the letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Heading {
    /// The child's slot in the scoreboard.
    pub(crate) slot: usize,
    /// How many slots the scoreboard has.
    pub(crate) slots: usize,
    /// How many words of the program's own stand behind them.
    pub(crate) program_words: usize,
    pub(crate) generation: u64,
}

/// Under which numbers the child finds what was handed over with the letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Numbers {
    pub(crate) lifeline: RawFd,
    pub(crate) scoreboard: RawFd,
    /// `None` for a helper.
    pub(crate) listener: Option<RawFd>,
}

pub(crate) fn write(heading: Heading, numbers: Numbers, handover: &[u8]) -> io::Result<OwnedFd> {
    let letter =
        rustix::fs::memfd_create("letter", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut letter = File::from(letter);
    let mut line = serde_json::to_vec(&(heading, numbers))?;
    line.push(b'\n');
    if handover.len() > LONGEST {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the handover is too long",
        ));
    }
    letter.write_all(&line)?;
    letter.write_all(handover)?;
    letter.rewind()?;
    rustix::fs::fcntl_add_seals(&letter, SEALS)?;
    Ok(letter.into())
}

/// Reads the letter at standard input, which is empty afterwards.
pub(crate) fn receive() -> io::Result<(Heading, Numbers, Vec<u8>)> {
    let letter = rustix::stdio::stdin().try_clone_to_owned()?;
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    read(letter)
}

fn read(letter: OwnedFd) -> io::Result<(Heading, Numbers, Vec<u8>)> {
    // Without the seals nobody's supervisor wrote it, and reading a terminal would not end.
    if !rustix::fs::fcntl_get_seals(&letter)?.contains(SEALS) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut line = Vec::new();
    File::from(letter).read_to_end(&mut line)?;
    let end = line
        .iter()
        .position(|byte| *byte == b'\n')
        .ok_or(io::ErrorKind::InvalidData)?;
    let handover = line.split_off(end.saturating_add(1));
    let (heading, numbers) = serde_json::from_slice(&line)?;
    Ok((heading, numbers, handover))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADING: Heading = Heading {
        slot: 3,
        slots: 64,
        program_words: 5,
        generation: 9,
    };
    const NUMBERS: Numbers = Numbers {
        lifeline: 7,
        scoreboard: 5,
        listener: Some(12),
    };

    #[test]
    fn any_bytes_arrive_unchanged() {
        for handover in [&b""[..], b"\n\n", b"{\"key\":1}\nmore", &[0xff; 100_000]] {
            let letter = write(HEADING, NUMBERS, handover).unwrap();
            assert_eq!(read(letter).unwrap(), (HEADING, NUMBERS, handover.to_vec()));
        }
    }

    #[test]
    fn nobody_changes_a_letter() {
        let letter = write(HEADING, NUMBERS, b"key").unwrap();
        assert!(rustix::io::write(&letter, b"x").is_err());
    }

    #[test]
    fn a_handover_that_is_too_long_is_refused_not_cut() {
        let error = write(HEADING, NUMBERS, &vec![0; LONGEST + 1]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn a_letter_without_heading_is_refused() {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let memory = rustix::fs::memfd_create("empty", flags).unwrap();
        rustix::fs::fcntl_add_seals(&memory, SEALS).unwrap();
        assert_eq!(read(memory).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn what_is_not_sealed_is_not_read() {
        let mut words = Vec::new();
        let letter = write(HEADING, NUMBERS, b"key").unwrap();
        File::from(letter).read_to_end(&mut words).unwrap();
        let (mut sender, waiting) = std::os::unix::net::UnixStream::pair().unwrap();
        sender.write_all(&words).unwrap();
        drop(sender);
        assert!(read(waiting.into()).is_err());
        let mut unsealed = changeable();
        unsealed.write_all(&words).unwrap();
        unsealed.rewind().unwrap();
        assert!(read(unsealed.into()).is_err());
    }

    /// A memfd that anybody may change.
    fn changeable() -> File {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        File::from(rustix::fs::memfd_create("changeable", flags).unwrap())
    }

    #[test]
    fn role_is_told_by_the_first_argument() {
        assert_eq!(Role::from_argument(None), Role::Supervisor);
        assert_eq!(
            Role::from_argument(Some(OsStr::new("4000"))),
            Role::Supervisor
        );
        assert_eq!(
            Role::from_argument(Some(OsStr::new(WORKER_ARGUMENT))),
            Role::Worker
        );
        assert_eq!(
            Role::from_argument(Some(OsStr::new(HELPER_ARGUMENT))),
            Role::Helper
        );
    }
}
