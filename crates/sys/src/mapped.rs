//! A part of a file, read where the kernel keeps it: without the copy that read(2) makes, by mmap(2).
//!
//! What cannot be read there any more, since somebody has shortened the file or its disk failed, is no error of a call but SIGBUS.
//! It is caught here for the part that the thread is reading, which then reads as zeros and counts for nothing.

use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::ptr;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, compiler_fence};
use std::sync::{LazyLock, OnceLock};

use rustix::mm::{Advice, MapFlags, ProtFlags};

/// What SIGBUS did before.
static BEFORE: OnceLock<libc::sigaction> = OnceLock::new();

thread_local! {
    /// What this thread is reading. Nothing is to be dropped, so that the signal's handler may look at it.
    static READING: Reading = const {
        Reading {
            start: AtomicUsize::new(0),
            length: AtomicUsize::new(0),
            is_lost: AtomicBool::new(false),
        }
    };
}

struct Reading {
    start: AtomicUsize,
    /// 0: nothing is read.
    length: AtomicUsize,
    is_lost: AtomicBool,
}

/// A mapping that is being read, until it is dropped.
struct Mapping {
    start: *mut c_void,
    length: usize,
}

/// What `look` makes of `length` bytes of `file` behind `start`, a multiple of the page's size. `None` where they cannot be read
/// in this way, or not all are there: read(2) says why, and what `look` made of them, if it was called, counts for nothing.
///
/// Whoever writes to that part of the file meanwhile changes what `look` sees: it is for files that nobody else should write to.
pub fn read<T>(
    file: impl AsFd,
    start: u64,
    length: usize,
    look: impl FnOnce(&[u8]) -> T,
) -> Option<T> {
    let mapping = Mapping::new(&file, start, length)?;
    let result = look(mapping.bytes());
    let is_whole = || {
        let size = u64::try_from(rustix::fs::fstat(&file).ok()?.st_size).ok()?;
        let end = start.checked_add(u64::try_from(length).ok()?)?;
        Some(size >= end) // within its last page no signal tells
    };
    (!mapping.is_lost() && is_whole() == Some(true)).then_some(result)
}

impl Mapping {
    fn new(file: impl AsFd, start: u64, length: usize) -> Option<Self> {
        let is_reading = READING.with(|reading| reading.length.load(Relaxed) > 0);
        if is_reading || length == 0 || !is_caught() {
            return None;
        }
        let (access, flags) = (ProtFlags::READ, MapFlags::SHARED);
        // SAFETY: a new mapping at an address of the kernel's choice replaces nothing.
        let start =
            unsafe { rustix::mm::mmap(ptr::null_mut(), length, access, flags, file, start) }
                .ok()?;
        READING.with(|reading| reading.begin(start.expose_provenance(), length));
        let mapping = Self { start, length };
        // Then what is read once is not marked as used for each page: a tenth of the time.
        // SAFETY: the advice changes nothing but what the kernel reads ahead and keeps.
        unsafe { rustix::mm::madvise(start, length, Advice::Sequential) }.unwrap_or_default();
        Some(mapping)
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: the mapping holds `length` bytes and lives as long as `self`; where the file does not reach them any more, the
        // handler puts zeros there. Another process may change them, as our callers know: each byte is a valid one.
        unsafe { std::slice::from_raw_parts(self.start.cast_const().cast(), self.length) }
    }

    /// Whether some of what was read was not there.
    fn is_lost(&self) -> bool {
        compiler_fence(Ordering::SeqCst);
        READING.with(|reading| reading.is_lost.load(Relaxed))
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        READING.with(Reading::end);
        // SAFETY: exactly the range that `new` made; every slice of it borrows `self`.
        unsafe { rustix::mm::munmap(self.start, self.length) }.unwrap_or_default();
    }
}

impl Reading {
    fn begin(&self, start: usize, length: usize) {
        self.is_lost.store(false, Relaxed);
        self.start.store(start, Relaxed);
        self.length.store(length, Relaxed);
        compiler_fence(Ordering::SeqCst); // the handler runs on this very thread
    }

    fn end(&self) {
        compiler_fence(Ordering::SeqCst);
        self.length.store(0, Relaxed);
    }

    /// Puts zeros in the place of what is being read, if the fault was there; whether it was.
    fn lose(&self, fault: usize) -> bool {
        let (start, length) = (self.start.load(Relaxed), self.length.load(Relaxed));
        if fault.wrapping_sub(start) >= length {
            return false;
        }
        let place = ptr::with_exposed_provenance_mut(start);
        // SAFETY: the range is this thread's mapping, as whoever reads it is still within `read`; it stays mapped and readable.
        let zeros = unsafe {
            rustix::mm::mmap_anonymous(
                place,
                length,
                ProtFlags::READ,
                MapFlags::PRIVATE | MapFlags::FIXED,
            )
        };
        self.is_lost.store(true, Relaxed);
        zeros.is_ok()
    }
}

/// Whether SIGBUS comes to us.
fn is_caught() -> bool {
    static IS_CAUGHT: LazyLock<bool> = LazyLock::new(|| {
        let Some(before) = exchange(None) else {
            return false;
        };
        BEFORE.get_or_init(|| before);
        // SAFETY: all zeros is a valid action: the default, an empty mask, no flags.
        let mut ours: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
        ours.sa_sigaction = on_bus_error as *const () as usize;
        ours.sa_flags = libc::SA_SIGINFO;
        exchange(Some(&ours)).is_some()
    });
    *IS_CAUGHT
}

/// What SIGBUS does, or did before it was to do something `new`.
fn exchange(new: Option<&libc::sigaction>) -> Option<libc::sigaction> {
    let new = new.map_or(ptr::null(), ptr::from_ref);
    let mut old = MaybeUninit::uninit();
    // SAFETY: `new` is null or a whole action whose handler keeps to what signal-safety(7) allows; `old` has room for one.
    let exchanged = unsafe { libc::sigaction(libc::SIGBUS, new, old.as_mut_ptr()) };
    // SAFETY: the call has filled it in.
    (exchanged == 0).then(|| unsafe { old.assume_init() })
}

/// Runs on the thread whose access failed, in the midst of it: nothing here allocates, locks or changes `errno` on the way back.
extern "C" fn on_bus_error(signal: c_int, info: *mut libc::siginfo_t, _: *mut c_void) {
    // SAFETY: the kernel hands over a whole one.
    let info = unsafe { &*info };
    // SAFETY: where it was a fault the address stands there.
    let fault = (info.si_code > 0).then(|| unsafe { info.si_addr() });
    if fault.is_some_and(|fault| READING.with(|reading| reading.lose(fault.addr()))) {
        return;
    }
    // Not ours: it does what it did before, a fault by being met again.
    exchange(BEFORE.get());
    if fault.is_none() {
        // SAFETY: raises a signal that waits until this handler has returned.
        unsafe { libc::raise(signal) };
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::FileExt;
    use std::thread;

    use super::*;

    /// The largest there is on any machine.
    const PAGE: usize = 64 * 1024;

    fn file_of(length: usize) -> File {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&vec![7; length], 0).unwrap();
        file
    }

    fn sum(bytes: &[u8]) -> usize {
        bytes.iter().map(|&byte| usize::from(byte)).sum()
    }

    #[test]
    fn a_part_is_read_as_it_stands() {
        let file = file_of(4 * PAGE);
        file.write_all_at(&[9; PAGE], 2 * PAGE as u64).unwrap();
        let look = |bytes: &[u8]| (bytes.len(), sum(bytes));
        let part = read(&file, PAGE as u64, 2 * PAGE, look);
        assert_eq!(part, Some((2 * PAGE, 16 * PAGE)));
    }

    #[test]
    fn what_is_not_whole_is_not_read() {
        let file = file_of(2 * PAGE - 1);
        assert_eq!(read(&file, 0, 2 * PAGE, sum), None); // the last byte of the last page
        assert_eq!(read(&file, 0, 3 * PAGE, sum), None); // a page more
        assert_eq!(read(&file, 1, PAGE, sum), None); // no page begins there
        assert_eq!(read(&file, 0, 0, sum), None);
        assert_eq!(read(&file, 0, 2 * PAGE - 1, sum), Some(7 * (2 * PAGE - 1)));
        let (pipe, _entrance) = std::io::pipe().unwrap();
        assert_eq!(read(pipe, 0, PAGE, sum), None);
    }

    #[test]
    fn what_is_cut_off_while_it_is_read_is_lost_to_its_reader_alone() {
        let whole = file_of(4 * PAGE);
        let read_whole = || (0..200).map(|_| read(&whole, 0, 4 * PAGE, sum));
        thread::scope(|scope| {
            let reader = scope.spawn(|| read_whole().all(|sum| sum == Some(7 * 4 * PAGE)));
            for _ in 0..200 {
                let file = file_of(2 * PAGE);
                let mut is_zero = false;
                let lost = read(&file, 0, 2 * PAGE, |bytes| {
                    file.set_len(PAGE as u64).unwrap();
                    is_zero = sum(&bytes[PAGE..]) == 0;
                    file.set_len(2 * PAGE as u64).unwrap();
                });
                assert_eq!((lost, is_zero), (None, true));
                assert_eq!(read(&file, 0, 2 * PAGE, sum), Some(7 * PAGE));
            }
            assert!(reader.join().unwrap());
        });
    }

    #[test]
    fn one_part_is_read_at_a_time() {
        let file = file_of(PAGE);
        let nested = read(&file, 0, PAGE, |_| read(&file, 0, PAGE, sum));
        assert_eq!(nested, Some(None));
    }

    /// The signal that ends a process which does that.
    fn end_of(deed: impl FnOnce()) -> c_int {
        // SAFETY: the child calls nothing but `deed`, which takes no lock that another thread may hold, and ends.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // SAFETY: ends the child in ten seconds, should the fault be met again and again.
            unsafe { libc::alarm(10) };
            deed();
            // SAFETY: ends the child without running anything else.
            unsafe { libc::_exit(0) };
        }
        let mut status = 0;
        // SAFETY: waits for the child just made; `status` is valid for writing.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        if libc::WIFSIGNALED(status) {
            libc::WTERMSIG(status)
        } else {
            0
        }
    }

    #[test]
    fn what_is_not_read_here_is_not_caught() {
        let file = file_of(PAGE);
        assert!(is_caught());
        let (access, flags) = (ProtFlags::READ, MapFlags::SHARED);
        // SAFETY: a new mapping at an address of the kernel's choice replaces nothing.
        let elsewhere =
            unsafe { rustix::mm::mmap(ptr::null_mut(), PAGE, access, flags, &file, 0) }.unwrap();
        file.set_len(0).unwrap();
        // SAFETY: the page is mapped; that it cannot be read is what is to be seen.
        let touch = || unsafe { ptr::read_volatile(elsewhere.cast::<u8>()) };
        assert_eq!(end_of(|| _ = touch()), libc::SIGBUS);
        let other = file_of(PAGE);
        let while_reading = || _ = read(&other, 0, PAGE, |_| touch());
        assert_eq!(end_of(while_reading), libc::SIGBUS);
        // SAFETY: raises a signal; what the standard library has it do lets the first one pass.
        let raise = || (0..2).for_each(|_| _ = unsafe { libc::raise(libc::SIGBUS) });
        assert_eq!(end_of(raise), libc::SIGBUS);
    }
}
