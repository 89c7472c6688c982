//! Starting a program with descriptors at numbers it knows, and no other descriptor.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

/// The first number a descriptor may be handed over at: 0, 1 and 2 are the standard streams.
pub const FIRST_HANDED: RawFd = 3;

/// Runs `command`; in the child each descriptor of `handed` is open at the number beside it.
///
/// The child starts with an empty signal mask, and everything else above the standard streams is closed by the exec,
/// also what was opened without `O_CLOEXEC` or came from whoever started this process. The command is consumed: what
/// it would hand over a second time could be another file by then.
///
/// # Errors
/// `InvalidInput` for a number below [`FIRST_HANDED`] or one given twice; else whatever fork, exec and dup report.
pub fn spawn_with_descriptors(
    mut command: Command,
    handed: &[(BorrowedFd<'_>, RawFd)],
) -> io::Result<Child> {
    let ceiling = highest(handed)?.saturating_add(1);
    // Copies above every target: no dup2 below can overwrite a source that is still needed.
    let copies: Vec<(OwnedFd, RawFd)> = handed
        .iter()
        .map(|(source, target)| Ok((rustix::io::fcntl_dupfd_cloexec(source, ceiling)?, *target)))
        .collect::<io::Result<_>>()?;
    let reserved = reserve(&copies)?;
    let moves: Vec<(RawFd, RawFd)> = copies
        .iter()
        .map(|(copy, target)| (copy.as_raw_fd(), *target))
        .collect();
    let prepare = move || {
        close_on_exec_from(FIRST_HANDED)?;
        moves
            .iter()
            .try_for_each(|(copy, target)| place(*copy, *target))?;
        unblock_signals()
    };
    // SAFETY: the closure neither allocates nor takes a lock; it makes system calls that are async-signal-safe.
    unsafe { command.pre_exec(prepare) };
    let child = command.spawn();
    drop((copies, reserved));
    child
}

fn highest(handed: &[(BorrowedFd<'_>, RawFd)]) -> io::Result<RawFd> {
    let mut targets: Vec<RawFd> = handed.iter().map(|(_, target)| *target).collect();
    targets.sort_unstable();
    let twice = targets.windows(2).any(|pair| pair.first() == pair.last());
    if twice || targets.first().is_some_and(|lowest| *lowest < FIRST_HANDED) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "descriptor number reserved or given twice",
        ));
    }
    Ok(targets.last().copied().unwrap_or(FIRST_HANDED))
}

/// Occupies the targets that are free in this process, so that the pipe through which `Command` reports a failed exec
/// cannot get one of these numbers and be overwritten in the child.
fn reserve(copies: &[(OwnedFd, RawFd)]) -> io::Result<Vec<OwnedFd>> {
    let mut reserved = Vec::with_capacity(copies.len());
    for (copy, target) in copies {
        let holder = rustix::io::fcntl_dupfd_cloexec(copy, *target)?;
        if holder.as_raw_fd() == *target {
            reserved.push(holder);
        }
    }
    Ok(reserved)
}

fn place(copy: RawFd, target: RawFd) -> io::Result<()> {
    // SAFETY: dup2 on two numbers; this runs in the child before exec, where nobody owns `target`.
    match unsafe { libc::dup2(copy, target) } {
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
    use std::io::{Read, Seek, Write};
    use std::os::fd::AsFd;
    use std::process::Stdio;

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
    fn descriptors_arrive_at_their_numbers() {
        let (one, two) = (file_with(b"one"), file_with(b"two"));
        let child = spawn_with_descriptors(
            shell("cat <&3; cat <&4"),
            &[(one.as_fd(), 3), (two.as_fd(), 4)],
        )
        .unwrap();
        assert_eq!(output_of(child), "onetwo");
    }

    #[test]
    fn overlapping_numbers_are_swapped_not_lost() {
        let (one, two) = (file_with(b"one"), file_with(b"two"));
        let handed = [
            (one.as_fd(), two.as_raw_fd()),
            (two.as_fd(), one.as_raw_fd()),
        ];
        let script = format!(
            "cat /proc/self/fd/{}; cat /proc/self/fd/{}",
            two.as_raw_fd(),
            one.as_raw_fd()
        );
        assert_eq!(
            output_of(spawn_with_descriptors(shell(&script), &handed).unwrap()),
            "onetwo"
        );
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
        let child = spawn_with_descriptors(shell(&script), &[(file.as_fd(), 40)]).unwrap();
        assert_eq!(output_of(child), "closed\n");
    }

    #[test]
    fn failed_exec_is_reported_and_overwrites_nothing() {
        let file = file_with(b"");
        let handed: Vec<_> = (3..60).map(|target| (file.as_fd(), target)).collect();
        let error = spawn_with_descriptors(Command::new("/no/such/program"), &handed).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        let mut content = String::new();
        (&file).read_to_string(&mut content).unwrap();
        assert_eq!(content, "");
    }

    #[test]
    fn standard_streams_and_doubles_are_refused() {
        let file = file_with(b"");
        for handed in [
            vec![(file.as_fd(), 2)],
            vec![(file.as_fd(), 5), (file.as_fd(), 5)],
        ] {
            let error = spawn_with_descriptors(shell("true"), &handed).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        }
    }
}
