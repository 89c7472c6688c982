//! Counters in memory that several processes share: an array of atomic words behind a sealed memfd.
//!
//! Words, not bytes or structures: an `AtomicU64` has no invalid value, so a process that dies half way through a
//! write, or a hostile one, cannot leave something behind that is undefined to read.

use std::ffi::c_void;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::AtomicU64;

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::mm::{MapFlags, ProtFlags};

/// With these a mapping can never reach beyond the file, which would be SIGBUS.
const FIXED_SIZE: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW);

/// An array of words that every process which maps the same memfd sees. Unmapped on drop.
#[derive(Debug)]
pub struct SharedWords {
    start: NonNull<AtomicU64>,
    count: usize,
}

// SAFETY: the mapping belongs to the value, stays where it is, and is reached through atomics only.
unsafe impl Send for SharedWords {}
// SAFETY: as above; shared access hands out `&AtomicU64` and nothing else.
unsafe impl Sync for SharedWords {}

impl SharedWords {
    /// Makes `count` words, all zero, and the descriptor through which others attach to them.
    ///
    /// # Errors
    /// Whatever the kernel reports: no memory, no descriptor left; `InvalidInput` for no words at all.
    pub fn create(count: usize) -> io::Result<(Self, OwnedFd)> {
        let length = byte_length(count)?;
        let memory =
            rustix::fs::memfd_create("words", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        rustix::fs::ftruncate(&memory, u64::try_from(length).map_err(|_| too_large())?)?;
        rustix::fs::fcntl_add_seals(&memory, FIXED_SIZE | SealFlags::SEAL)?;
        Ok((Self::map(&memory, count, length)?, memory))
    }

    /// Maps the words another process made.
    ///
    /// # Errors
    /// `InvalidData` if `memory` is smaller than `count` words or its size is not sealed; else what the kernel reports.
    pub fn attach(memory: impl AsFd, count: usize) -> io::Result<Self> {
        let length = byte_length(count)?;
        let size = usize::try_from(rustix::fs::fstat(&memory)?.st_size).unwrap_or(0);
        if size < length || !rustix::fs::fcntl_get_seals(&memory)?.contains(FIXED_SIZE) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "shared memory is too small or not sealed",
            ));
        }
        Self::map(memory, count, length)
    }

    /// The words, as this and every other process sees them.
    #[must_use]
    pub fn words(&self) -> &[AtomicU64] {
        // SAFETY: the mapping holds `count` words, is aligned to a page, and lives as long as `self`.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.count) }
    }

    fn map(memory: impl AsFd, count: usize, length: usize) -> io::Result<Self> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice replaces nothing.
        let start = unsafe {
            rustix::mm::mmap(ptr::null_mut(), length, access, MapFlags::SHARED, memory, 0)
        }?;
        let start = NonNull::new(start.cast::<AtomicU64>()).ok_or_else(too_large)?;
        Ok(Self { start, count })
    }
}

impl Drop for SharedWords {
    fn drop(&mut self) {
        let start = self.start.as_ptr().cast::<c_void>();
        // SAFETY: exactly the range that `map` made; every slice of it borrows `self`.
        let unmapped = unsafe { rustix::mm::munmap(start, self.count * size_of::<AtomicU64>()) };
        debug_assert!(unmapped.is_ok(), "own mapping");
    }
}

fn byte_length(count: usize) -> io::Result<usize> {
    match count.checked_mul(size_of::<AtomicU64>()) {
        Some(length) if length > 0 => Ok(length),
        _ => Err(too_large()),
    }
}

fn too_large() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        "impossible number of shared words",
    )
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;

    #[test]
    fn two_mappings_see_the_same_words() {
        let (made, memory) = SharedWords::create(1000).unwrap();
        let attached = SharedWords::attach(&memory, 1000).unwrap();
        made.words()[999].store(7, Ordering::SeqCst);
        assert_eq!(attached.words()[999].load(Ordering::SeqCst), 7);
        assert_eq!(attached.words().len(), 1000);
    }

    #[test]
    fn size_is_sealed_both_ways() {
        let (_words, memory) = SharedWords::create(8).unwrap();
        assert!(rustix::fs::ftruncate(&memory, 0).is_err());
        assert!(rustix::fs::ftruncate(&memory, 1 << 20).is_err());
    }

    #[test]
    fn small_or_unsealed_memory_is_refused() {
        let (_words, memory) = SharedWords::create(8).unwrap();
        assert_eq!(
            SharedWords::attach(&memory, 9).unwrap_err().kind(),
            io::ErrorKind::InvalidData
        );
        let open =
            rustix::fs::memfd_create("open", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)
                .unwrap();
        rustix::fs::ftruncate(&open, 64).unwrap();
        assert_eq!(
            SharedWords::attach(&open, 8).unwrap_err().kind(),
            io::ErrorKind::InvalidData
        );
        assert!(SharedWords::create(0).is_err());
        assert!(SharedWords::create(usize::MAX).is_err());
    }
}
