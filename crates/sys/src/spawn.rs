//! Starting a program that inherits chosen descriptors, each at the number that it has here, and no other.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

/// The lowest number of a descriptor that can be handed over: 0, 1 and 2 are the standard streams.
pub const FIRST_HANDED: RawFd = 3;

/// Runs `command`; each of `handed` is open in the child under the number that it has here, of which the child must be
/// told.
///
/// No descriptor is moved: whichever number the child is promised, the pipe through which `Command` reports a failed exec
/// can have it too as soon as another thread closes what had it, and would be written over.
///
/// The child starts with an empty signal mask, and everything else above the standard streams is closed by the exec,
/// also what was opened without `O_CLOEXEC` or came from whoever started this process. The command is consumed: what
/// it would hand over a second time could be another file by then.
///
/// # Errors
/// `InvalidInput` for a standard stream among `handed`; else whatever fork and exec report.
pub fn spawn_with_descriptors(
    mut command: Command,
    handed: &[BorrowedFd<'_>],
) -> io::Result<Child> {
    let handed: Vec<RawFd> = handed.iter().map(AsRawFd::as_raw_fd).collect();
    if handed.iter().any(|number| *number < FIRST_HANDED) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "a standard stream is not handed over",
        ));
    }
    let prepare = move || {
        close_on_exec_from(FIRST_HANDED)?;
        handed.iter().copied().try_for_each(leave_open_on_exec)?;
        unblock_signals()
    };
    // SAFETY: the closure neither allocates nor takes a lock; it makes system calls that are async-signal-safe.
    unsafe { command.pre_exec(prepare) };
    command.spawn()
}

fn leave_open_on_exec(number: RawFd) -> io::Result<()> {
    // SAFETY: F_SETFD sets a flag of a descriptor of this process, the child; it touches no memory.
    match unsafe { libc::fcntl(number, libc::F_SETFD, 0) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

fn close_on_exec_from(first: RawFd) -> io::Result<()> {
    let first =
        libc::c_uint::try_from(first).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let flags = libc::c_long::from(libc::CLOSE_RANGE_CLOEXEC);
    // SAFETY: close_range(2) with CLOEXEC only sets a flag on descriptors; it touches no memory.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, flags) };
    if result == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        // Linux before 5.11, or a sandbox that does not know the call: Rust opens everything with O_CLOEXEC anyway.
        Some(libc::ENOSYS | libc::EINVAL | libc::EPERM) => Ok(()),
        _ => Err(error),
    }
}

fn unblock_signals() -> io::Result<()> {
    let mut none = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset writes the whole set that the pointer is to.
    unsafe { libc::sigemptyset(none.as_mut_ptr()) };
    // SAFETY: the set was initialised above; the old mask is not asked for.
    match unsafe { libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Seek, Write};
    use std::os::fd::AsFd;
    use std::process::Stdio;
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

    use super::*;

    fn file_with(content: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        file.rewind().unwrap();
        file
    }

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).stdout(Stdio::piped());
        command
    }

    fn output_of(child: Child) -> String {
        String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
    }

    #[test]
    fn descriptors_keep_their_numbers() {
        let (one, two) = (file_with(b"one"), file_with(b"two"));
        let path = |file: &File| format!("/proc/self/fd/{}", file.as_raw_fd());
        let script = format!("cat {} {}", path(&two), path(&one));
        let child = spawn_with_descriptors(shell(&script), &[one.as_fd(), two.as_fd()]).unwrap();
        assert_eq!(output_of(child), "twoone");
        for file in [&one, &two] {
            let flags = rustix::io::fcntl_getfd(file).unwrap();
            assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
        }
    }

    #[test]
    fn nothing_else_is_inherited() {
        let file = file_with(b"");
        let leaky = rustix::io::dup(&file).unwrap();
        rustix::io::fcntl_setfd(&leaky, rustix::io::FdFlags::empty()).unwrap();
        let script = format!(
            "test -e /proc/self/fd/{} && echo leaked || echo closed",
            leaky.as_raw_fd()
        );
        let child = spawn_with_descriptors(shell(&script), &[file.as_fd()]).unwrap();
        assert_eq!(output_of(child), "closed\n");
    }

    #[test]
    fn a_failed_exec_is_reported_while_other_threads_open_and_close() {
        let file = file_with(b"");
        let is_over = AtomicBool::new(false);
        std::thread::scope(|threads| {
            for _ in 0..3 {
                threads.spawn(|| {
                    while !is_over.load(Relaxed) {
                        drop([(); 9].map(|()| file.try_clone()));
                    }
                });
            }
            let kinds: Vec<_> = (0..50)
                .map(|_| {
                    let handed = [(); 9].map(|()| file.try_clone().unwrap());
                    let handed = handed.each_ref().map(AsFd::as_fd);
                    let missing = Command::new("/no/such/program");
                    spawn_with_descriptors(missing, &handed).map_err(|error| error.kind())
                })
                .collect();
            is_over.store(true, Relaxed);
            let is_reported =
                |kind: &Result<Child, _>| matches!(kind, Err(io::ErrorKind::NotFound));
            assert!(kinds.iter().all(is_reported), "{kinds:?}");
        });
        assert_eq!(file.metadata().unwrap().len(), 0);
    }

    #[test]
    fn standard_streams_are_refused() {
        let error = spawn_with_descriptors(shell("true"), &[io::stderr().as_fd()]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
