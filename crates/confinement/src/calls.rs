//! The table of system calls: what a confined process may ask of the kernel.
//!
//! What only touches the process itself (memory, its threads, time, descriptors that it holds) is allowed freely; what
//! reaches further stands here with a reason. Whatever is not named is answered as a call that does not exist.

use libc::c_long;

/// One line of the table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call {
    pub(crate) number: c_long,
    /// One of these must hold; none: always.
    pub(crate) only: &'static [Only],
}

/// A condition on one argument, counted from 0.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Only {
    /// None of the bits is set.
    Without(u8, u64),
    /// All of the bits are set.
    With(u8, u64),
    /// It is this number, as the kernel looks at 32 bits of it.
    Equal(u8, u64),
    /// It is the number of this process.
    OwnProcess(u8),
    /// It is none that the self-test tries, see [`sys::kernel_guard::attempt`].
    Possible(u8),
    /// All three arguments of socket(2): family, type (whatever its flags) and protocol.
    Socket(u64, u64, u64),
}

const fn call(number: c_long) -> Call {
    Call { number, only: &[] }
}

const fn limited(number: c_long, only: &'static [Only]) -> Call {
    Call { number, only }
}

/// All that a process may call; more where it looks up names and connects.
pub(crate) fn allowed(looks_up_names: bool) -> Vec<Call> {
    let mut groups = vec![
        DESCRIPTORS,
        SOCKETS,
        FILES,
        MEMORY,
        THREADS,
        SIGNALS,
        TIME,
        ITSELF,
        OLD,
    ];
    if looks_up_names {
        groups.extend([CONNECTING, LOADING]);
    }
    groups.concat()
}

/// Reading and writing what is open.
const DESCRIPTORS: &[Call] = &[
    call(libc::SYS_read),
    call(libc::SYS_readv),
    call(libc::SYS_pread64),
    call(libc::SYS_preadv),
    call(libc::SYS_preadv2),
    call(libc::SYS_write),
    call(libc::SYS_writev),
    call(libc::SYS_pwrite64),
    call(libc::SYS_pwritev),
    call(libc::SYS_pwritev2),
    call(libc::SYS_sendfile),
    call(libc::SYS_splice),
    call(libc::SYS_tee),
    call(libc::SYS_copy_file_range),
    call(libc::SYS_lseek),
    call(libc::SYS_close),
    call(libc::SYS_close_range),
    call(libc::SYS_dup),
    call(libc::SYS_dup3),
    call(libc::SYS_fcntl),
    limited(
        libc::SYS_ioctl,
        &[
            Only::Equal(1, 0x5401),      // TCGETS: is it a terminal
            Only::Equal(1, 0x5411),      // SIOCOUTQ: what the peer has not acknowledged
            Only::Equal(1, 0x541b),      // FIONREAD: what waits to be read
            Only::Equal(1, 0x5421),      // FIONBIO: non-blocking
            Only::Equal(1, 0x4004_9409), // FICLONE: a copy that shares its blocks
        ],
    ),
    call(libc::SYS_pipe2),
    call(libc::SYS_eventfd2),
    call(libc::SYS_ppoll),
    call(libc::SYS_pselect6),
    call(libc::SYS_epoll_create1),
    call(libc::SYS_epoll_ctl),
    call(libc::SYS_epoll_pwait),
];

/// Connections that are accepted or held. A new socket is another matter: see [`CONNECTING`]. Sending makes no connection:
/// a listening socket that was shut down can be connected so, and Landlock is not asked about the port. A pair of sockets is
/// made before: one for datagrams can send to every named socket of this machine.
const SOCKETS: &[Call] = &[
    call(libc::SYS_accept),
    call(libc::SYS_accept4),
    call(libc::SYS_recvfrom),
    call(libc::SYS_recvmsg),
    limited(libc::SYS_sendto, &[Only::Without(3, MSG_FASTOPEN)]),
    limited(libc::SYS_sendmsg, &[Only::Without(2, MSG_FASTOPEN)]),
    call(libc::SYS_getsockopt),
    call(libc::SYS_setsockopt),
    call(libc::SYS_getsockname),
    call(libc::SYS_getpeername),
    call(libc::SYS_shutdown),
];

/// Files and folders: which ones is for the table of hierarchies to say. No links to elsewhere, devices or owners.
const FILES: &[Call] = &[
    call(libc::SYS_openat),
    call(libc::SYS_openat2),
    call(libc::SYS_statx),
    call(libc::SYS_fstat),
    call(libc::SYS_newfstatat),
    call(libc::SYS_fstatfs),
    call(libc::SYS_statfs),
    call(libc::SYS_faccessat),
    call(libc::SYS_faccessat2),
    call(libc::SYS_readlinkat),
    call(libc::SYS_getdents64),
    call(libc::SYS_getcwd),
    call(libc::SYS_fsync),
    call(libc::SYS_fdatasync),
    call(libc::SYS_syncfs),
    call(libc::SYS_sync_file_range),
    call(libc::SYS_fallocate),
    call(libc::SYS_fadvise64),
    call(libc::SYS_readahead),
    call(libc::SYS_ftruncate),
    call(libc::SYS_flock),
    call(libc::SYS_fchmod),
    call(libc::SYS_fchmodat),
    call(FCHMODAT2),
    call(libc::SYS_utimensat),
    call(libc::SYS_fgetxattr),
    call(libc::SYS_fsetxattr),
    call(libc::SYS_mkdirat),
    call(libc::SYS_renameat2),
    call(RENAMEAT),
    call(libc::SYS_linkat),
    call(libc::SYS_unlinkat),
    call(libc::SYS_umask),
];

/// Memory that is written is never run.
const MEMORY: &[Call] = &[
    call(libc::SYS_brk),
    limited(libc::SYS_mmap, &[Only::Without(2, PROT_EXEC)]),
    limited(libc::SYS_mprotect, &[Only::Without(2, PROT_EXEC)]),
    call(libc::SYS_mremap),
    call(libc::SYS_munmap),
    call(libc::SYS_madvise),
    call(libc::SYS_mincore),
    call(libc::SYS_mlock),
    call(libc::SYS_mlock2),
    call(libc::SYS_munlock),
    call(libc::SYS_msync),
    call(libc::SYS_membarrier),
];

/// Threads, but no process. (glibc tries `clone3` first, whose flags a filter cannot see, and takes `ENOSYS` well.)
const THREADS: &[Call] = &[
    limited(libc::SYS_clone, &[Only::With(0, CLONE_THREAD)]),
    call(libc::SYS_futex),
    call(libc::SYS_futex_waitv),
    call(libc::SYS_set_robust_list),
    call(libc::SYS_get_robust_list),
    call(libc::SYS_set_tid_address),
    call(libc::SYS_rseq),
    call(libc::SYS_sched_yield),
    call(libc::SYS_sched_getaffinity),
    call(libc::SYS_getcpu),
    call(libc::SYS_exit),
    call(libc::SYS_exit_group),
    limited(
        libc::SYS_prctl,
        &[
            Only::Equal(0, 3),           // PR_GET_DUMPABLE
            Only::Equal(0, 15),          // PR_SET_NAME
            Only::Equal(0, 16),          // PR_GET_NAME
            Only::Equal(0, 21),          // PR_GET_SECCOMP
            Only::Equal(0, 39),          // PR_GET_NO_NEW_PRIVS
            Only::Equal(0, 0x5356_4d41), // PR_SET_VMA: names of memory, for debuggers
        ],
    ),
];

/// Signals to itself alone.
const SIGNALS: &[Call] = &[
    call(libc::SYS_rt_sigaction),
    call(libc::SYS_rt_sigprocmask),
    call(libc::SYS_rt_sigreturn),
    call(libc::SYS_rt_sigpending),
    call(libc::SYS_rt_sigsuspend),
    call(libc::SYS_rt_sigtimedwait),
    call(libc::SYS_restart_syscall),
    call(libc::SYS_sigaltstack),
    limited(libc::SYS_kill, &[Only::OwnProcess(0)]),
    limited(libc::SYS_tgkill, &[Only::OwnProcess(0)]),
];

const TIME: &[Call] = &[
    call(libc::SYS_clock_gettime),
    call(libc::SYS_clock_getres),
    call(libc::SYS_clock_nanosleep),
    call(libc::SYS_nanosleep),
    call(libc::SYS_gettimeofday),
    call(libc::SYS_times),
    call(libc::SYS_timerfd_create),
    call(libc::SYS_timerfd_settime),
    call(libc::SYS_timerfd_gettime),
];

/// Who and where it is, and chance.
const ITSELF: &[Call] = &[
    call(libc::SYS_getpid),
    call(libc::SYS_getppid),
    call(libc::SYS_gettid),
    call(libc::SYS_getuid),
    call(libc::SYS_geteuid),
    call(libc::SYS_getgid),
    call(libc::SYS_getegid),
    call(libc::SYS_getgroups),
    call(libc::SYS_getresuid),
    call(libc::SYS_getresgid),
    call(libc::SYS_capget),
    call(libc::SYS_getrusage),
    call(libc::SYS_getrandom),
    call(libc::SYS_uname),
    call(libc::SYS_sysinfo),
    // Asked for, not set.
    limited(libc::SYS_prlimit64, &[Only::Equal(2, 0)]),
];

/// For who looks up names and connects: the resolver asks name servers, the kernel's list of addresses, and services of
/// this machine. Ports are for Landlock to say, which knows those of TCP alone: what has others (MPTCP, SCTP, DCCP) is not
/// to be had.
const CONNECTING: &[Call] = &[
    limited(
        libc::SYS_socket,
        &[
            Only::Socket(AF_UNIX, STREAM, 0),
            Only::Socket(AF_UNIX, DGRAM, 0),
            Only::Socket(AF_INET, STREAM, 0),
            Only::Socket(AF_INET, STREAM, TCP),
            Only::Socket(AF_INET, DGRAM, 0),
            Only::Socket(AF_INET, DGRAM, UDP),
            Only::Socket(AF_INET6, STREAM, 0),
            Only::Socket(AF_INET6, STREAM, TCP),
            Only::Socket(AF_INET6, DGRAM, 0),
            Only::Socket(AF_INET6, DGRAM, UDP),
            Only::Socket(AF_NETLINK, RAW, 0),
            Only::Socket(AF_NETLINK, DGRAM, 0),
        ],
    ),
    call(libc::SYS_connect),
    call(libc::SYS_bind),
    limited(libc::SYS_sendmmsg, &[Only::Without(3, MSG_FASTOPEN)]),
    call(libc::SYS_recvmmsg),
];

/// Name services come as libraries, which are mapped to be run, and not to be written to.
const LOADING: &[Call] = &[limited(libc::SYS_mmap, &[Only::Without(2, PROT_WRITE)])];

/// Calls that newer processors no longer have, since others do the same.
#[cfg(target_arch = "x86_64")]
const OLD: &[Call] = &[
    call(libc::SYS_open),
    call(libc::SYS_stat),
    call(libc::SYS_lstat),
    call(libc::SYS_access),
    call(libc::SYS_readlink),
    call(libc::SYS_getrlimit),
    call(libc::SYS_poll),
    call(libc::SYS_select),
    call(libc::SYS_epoll_wait),
    call(libc::SYS_epoll_create),
    call(libc::SYS_pipe),
    call(libc::SYS_dup2),
    call(libc::SYS_mkdir),
    call(libc::SYS_rmdir),
    call(libc::SYS_unlink),
    call(libc::SYS_rename),
    call(libc::SYS_time),
];
#[cfg(not(target_arch = "x86_64"))]
const OLD: &[Call] = &[];

/// What nobody calls here who is not attacking: the process ends at once, with `SIGSYS`.
pub(crate) const DEADLY: &[Call] = &[
    // Other programs and processes.
    deadly(libc::SYS_execve),
    deadly(libc::SYS_execveat),
    limited(libc::SYS_clone, &[Only::Without(0, CLONE_THREAD)]),
    deadly(libc::SYS_ptrace),
    deadly(libc::SYS_process_vm_readv),
    deadly(libc::SYS_process_vm_writev),
    deadly(libc::SYS_pidfd_getfd),
    deadly(libc::SYS_kcmp),
    // Other rights.
    deadly(libc::SYS_setuid),
    deadly(libc::SYS_setreuid),
    deadly(libc::SYS_setresuid),
    deadly(libc::SYS_setfsuid),
    deadly(libc::SYS_setgid),
    deadly(libc::SYS_setregid),
    deadly(libc::SYS_setresgid),
    deadly(libc::SYS_setfsgid),
    deadly(libc::SYS_setgroups),
    deadly(libc::SYS_capset),
    deadly(libc::SYS_personality),
    deadly(libc::SYS_add_key),
    deadly(libc::SYS_request_key),
    deadly(libc::SYS_keyctl),
    // Another view of the files.
    deadly(libc::SYS_mount),
    deadly(libc::SYS_umount2),
    deadly(libc::SYS_move_mount),
    deadly(libc::SYS_open_tree),
    deadly(libc::SYS_fsopen),
    deadly(libc::SYS_fsconfig),
    deadly(libc::SYS_fsmount),
    deadly(libc::SYS_fspick),
    deadly(libc::SYS_mount_setattr),
    deadly(libc::SYS_pivot_root),
    deadly(libc::SYS_chroot),
    deadly(libc::SYS_unshare),
    deadly(libc::SYS_setns),
    deadly(libc::SYS_open_by_handle_at),
    deadly(libc::SYS_mknodat),
    deadly(libc::SYS_quotactl),
    // The kernel and the machine.
    deadly(libc::SYS_bpf),
    deadly(libc::SYS_perf_event_open),
    deadly(libc::SYS_userfaultfd),
    deadly(libc::SYS_init_module),
    deadly(libc::SYS_finit_module),
    deadly(libc::SYS_delete_module),
    deadly(libc::SYS_kexec_load),
    deadly(libc::SYS_reboot),
    deadly(libc::SYS_swapon),
    deadly(libc::SYS_swapoff),
    deadly(libc::SYS_acct),
    deadly(libc::SYS_syslog),
    deadly(libc::SYS_settimeofday),
    deadly(libc::SYS_clock_settime),
    deadly(libc::SYS_sethostname),
    deadly(libc::SYS_setdomainname),
];

const fn deadly(number: c_long) -> Call {
    limited(number, &[Only::Possible(0)])
}

const AF_UNIX: u64 = 1;
const AF_INET: u64 = 2;
const AF_INET6: u64 = 10;
const AF_NETLINK: u64 = 16;
const STREAM: u64 = 1;
const DGRAM: u64 = 2;
const RAW: u64 = 3;
const TCP: u64 = 6;
const UDP: u64 = 17;
/// Connects with the first bytes that are sent.
const MSG_FASTOPEN: u64 = 0x2000_0000;
const PROT_WRITE: u64 = 2;
const PROT_EXEC: u64 = 4;
const CLONE_THREAD: u64 = 0x0001_0000;

/// Not in libc for every processor.
const FCHMODAT2: c_long = 452;
#[cfg(target_arch = "x86_64")]
const RENAMEAT: c_long = 264;
#[cfg(not(target_arch = "x86_64"))]
const RENAMEAT: c_long = 38;
