//! Which system calls an operation makes, and how each of them can fail.

use std::collections::BTreeMap;
use std::fmt;

/// Calls that cannot fail in a way that a program could answer, or by which it ends or waits for itself; and `close`, which
/// strace(1) would leave out, where the system closes whatever it answers.
const CANNOT_FAIL: &[&str] = &[
    "brk",
    "clock_gettime",
    "clock_nanosleep",
    "close",
    "execve",
    "exit",
    "exit_group",
    "futex",
    "getegid",
    "geteuid",
    "getgid",
    "getpid",
    "getrandom",
    "gettid",
    "getuid",
    "madvise",
    "mmap",
    "mprotect",
    "mremap",
    "munmap",
    "restart_syscall",
    "rseq",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "sched_yield",
    "set_robust_list",
    "sigaltstack",
    "tgkill",
];

/// Calls that may need room on the disk.
const NEED_ROOM: &[&str] = &[
    "copy_file_range",
    "fdatasync",
    "fsetxattr",
    "fsync",
    "ftruncate",
    "linkat",
    "mkdir",
    "mkdirat",
    "open",
    "openat",
    "openat2",
    "pwrite64",
    "renameat",
    "renameat2",
    "splice",
    "syncfs",
    "utimensat",
    "write",
    "writev",
];

/// Calls that give a descriptor.
const GIVE_DESCRIPTORS: &[&str] = &[
    "accept4",
    "dup",
    "open",
    "openat",
    "openat2",
    "pipe2",
    "socket",
    "socketpair",
];

/// Calls that a signal can end early.
const CAN_WAIT: &[&str] = &[
    "accept4", "connect", "flock", "open", "openat", "openat2", "poll", "ppoll", "pread64",
    "pwrite64", "read", "readv", "recvfrom", "recvmsg", "sendfile", "sendmsg", "sendto", "splice",
    "write", "writev",
];

/// One call to fail, once: the so manieth of its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) call: String,
    pub(super) number: u32,
    pub(super) error: &'static str,
}

impl Failure {
    /// What strace(1) is told.
    pub(super) fn words(&self) -> [String; 4] {
        let Self {
            call,
            number,
            error,
        } = self;
        [
            "-e".to_owned(),
            format!("trace={call}"),
            "-e".to_owned(),
            format!("inject={call}:error={error}:when={number}"),
        ]
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            call,
            number,
            error,
        } = self;
        write!(formatter, "{call} number {number} fails with {error}")
    }
}

/// How often each call was made by one thread at most: strace(1) counts for each thread.
pub(super) type Counts = BTreeMap<String, u32>;

/// Counts the calls in a log of `strace -f`.
pub(super) fn counts(log: &str) -> Counts {
    let mut by_thread: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    for line in log.lines() {
        let Some((thread, rest)) = line.split_once(' ') else {
            continue;
        };
        // A call that another thread's interrupted is on two lines, of which the second begins with '<'.
        let Some((call, _)) = rest.trim_start().split_once('(') else {
            continue;
        };
        let is_call = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if !call.is_empty() && call.bytes().all(is_call) {
            *by_thread.entry((thread, call)).or_default() += 1;
        }
    }
    let mut most = Counts::new();
    for ((_, call), count) in by_thread {
        let entry = most.entry(call.to_owned()).or_default();
        *entry = count.max(*entry);
    }
    most
}

/// Whether a log says that a call was made to fail.
pub(super) fn has_failed(log: &str) -> bool {
    log.lines().any(|line| line.ends_with("(INJECTED)"))
}

/// Every way in which one of the calls can fail, except for those that were made `before`.
pub(super) fn failures(counts: &Counts, before: &Counts) -> Vec<Failure> {
    let mut failures = Vec::new();
    for (call, count) in counts {
        let first = before.get(call).map_or(1, |made| made + 1);
        for number in first..=*count {
            let failure = |error| Failure {
                call: call.clone(),
                number,
                error,
            };
            failures.extend(errors_of(call).into_iter().map(failure));
        }
    }
    failures
}

fn errors_of(call: &str) -> Vec<&'static str> {
    if CANNOT_FAIL.contains(&call) {
        return Vec::new();
    }
    if matches!(call, "clone" | "clone3") {
        return vec!["EAGAIN"];
    }
    let mut errors = vec!["EIO"];
    for (calls, more) in [
        (NEED_ROOM, "ENOSPC"),
        (GIVE_DESCRIPTORS, "EMFILE"),
        (GIVE_DESCRIPTORS, "ENOMEM"),
        (CAN_WAIT, "EINTR"),
    ] {
        if calls.contains(&call) {
            errors.push(more);
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_call_of_a_log_fails_once_in_each_way() {
        let log = "7 fsync(3) = 0\n7 fsync(3) = 0\n8 fsync(3 <unfinished ...>\n7 getpid() = 7\n8 <... fsync resumed>) = 0\n\
                   9 +++ exited with 0 +++\n7 --- SIGCHLD {si_signo=SIGCHLD} ---\n";
        let counts = counts(log);
        assert_eq!((counts["fsync"], counts["getpid"]), (2, 1));
        let once = Counts::from([("fsync".to_owned(), 1)]);
        let said = |before| {
            let failures = failures(&counts, before);
            failures.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let second = [
            "fsync number 2 fails with EIO",
            "fsync number 2 fails with ENOSPC",
        ];
        assert_eq!(said(&once), second);
        assert_eq!(said(&Counts::new()).len(), 4);
    }

    #[test]
    fn a_failure_counts_where_the_log_says_so() {
        let failed = "7 fsync(3) = -1 EIO (Input/output error) (INJECTED)\n";
        assert!(has_failed(failed));
        let other =
            "7 fsync(3) = -1 EIO (Input/output error)\n7 write(4, \"(INJECTED)\", 10) = 10\n";
        assert!(!has_failed(other));
    }
}
