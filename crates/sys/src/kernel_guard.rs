//! What the kernel can forbid a process, and whether it does: questions that rustix does not ask.

use std::io;
use std::ptr;

use rustix::mm::{MapFlags, MprotectFlags, ProtFlags};

/// Which version of Landlock the kernel has, landlock(7); 0 for none, be it switched off or hidden by a sandbox around us.
#[must_use]
pub fn landlock_version() -> u32 {
    const VERSION: libc::c_uint = 1;
    let nothing = ptr::null::<libc::c_void>();
    // SAFETY: with this flag the call takes no attributes: it reads nothing and only answers a number.
    let version =
        unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, nothing, 0_usize, VERSION) };
    u32::try_from(version).unwrap_or(0)
}

/// Whether a filter of system calls can end a process, seccomp(2).
#[must_use]
pub fn has_call_filters() -> bool {
    const NO_FLAGS: libc::c_uint = 0;
    let action: u32 = libc::SECCOMP_RET_KILL_PROCESS;
    // SAFETY: the call reads the four bytes that the pointer is to, and changes nothing.
    let found = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_GET_ACTION_AVAIL,
            NO_FLAGS,
            &raw const action,
        )
    };
    found == 0
}

/// A call that [`attempt`] may make without harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// execve(2) of no program.
    Execute,
    /// execveat(2) of no program.
    ExecuteAt,
    /// ptrace(2) of no process.
    Trace,
    /// mount(2) of nothing.
    Mount,
    /// unshare(2) with flags that do not exist.
    Unshare,
    /// setns(2) of no descriptor.
    EnterNamespace,
    /// bpf(2) of no command.
    LoadProgram,
    /// open_by_handle_at(2) of no handle: files without a path.
    OpenByHandle,
    /// keyctl(2) of no operation.
    Keys,
}

impl Attempt {
    /// Every one.
    pub const ALL: [Self; 9] = [
        Self::Execute,
        Self::ExecuteAt,
        Self::Trace,
        Self::Mount,
        Self::Unshare,
        Self::EnterNamespace,
        Self::LoadProgram,
        Self::OpenByHandle,
        Self::Keys,
    ];

    const fn number(self) -> libc::c_long {
        match self {
            Self::Execute => libc::SYS_execve,
            Self::ExecuteAt => libc::SYS_execveat,
            Self::Trace => libc::SYS_ptrace,
            Self::Mount => libc::SYS_mount,
            Self::Unshare => libc::SYS_unshare,
            Self::EnterNamespace => libc::SYS_setns,
            Self::LoadProgram => libc::SYS_bpf,
            Self::OpenByHandle => libc::SYS_open_by_handle_at,
            Self::Keys => libc::SYS_keyctl,
        }
    }
}

/// The first argument of [`attempt`]: none that a program would pass, so that a filter can answer it with an error where
/// it would end the process otherwise.
pub const IMPOSSIBLE: u64 = u64::MAX;

/// Makes the call with [`IMPOSSIBLE`] for its first argument and zeros behind it; which error it gets. Without a filter
/// that is one about the arguments (`EFAULT`, `EINVAL`, `ESRCH`, …), with one that is in force `ENOSYS`.
#[must_use]
pub fn attempt(call: Attempt) -> io::Error {
    const NOTHING: libc::c_ulong = 0;
    // SAFETY: every call of the list refuses this argument (an address, flags, a command or a descriptor that cannot be)
    // before it reads or changes anything.
    let answer = unsafe {
        libc::syscall(
            call.number(),
            IMPOSSIBLE,
            NOTHING,
            NOTHING,
            NOTHING,
            NOTHING,
        )
    };
    if answer == -1 {
        return io::Error::last_os_error();
    }
    io::Error::other("the call was obeyed")
}

/// Whether memory of this process that was written can be made memory that is run.
///
/// # Errors
/// There is no memory to try it with.
pub fn can_run_what_was_written() -> io::Result<bool> {
    const LENGTH: usize = 1;
    let access = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new mapping at an address of the kernel's choice replaces nothing.
    let page =
        unsafe { rustix::mm::mmap_anonymous(ptr::null_mut(), LENGTH, access, MapFlags::PRIVATE) }?;
    // SAFETY: the page was mapped just above and nobody else knows of it.
    let changed =
        unsafe { rustix::mm::mprotect(page, LENGTH, MprotectFlags::READ | MprotectFlags::EXEC) };
    // SAFETY: as above; nothing refers to the page.
    unsafe { rustix::mm::munmap(page, LENGTH) }?;
    Ok(changed.is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_filter_an_attempt_is_refused_for_its_arguments() {
        for call in Attempt::ALL {
            assert!(
                attempt(call).raw_os_error().is_some(),
                "{call:?} was obeyed"
            );
        }
        // The others are optional parts of a kernel.
        for call in [Attempt::Execute, Attempt::Unshare] {
            assert_ne!(attempt(call).raw_os_error(), Some(libc::ENOSYS), "{call:?}");
        }
    }
}
