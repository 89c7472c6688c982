//! What `/proc` says of processes, descriptors and sockets (proc(5)).

use std::collections::HashSet;
use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The processes that stem from `pid`, without itself: children first, then theirs.
pub fn descendants(pid: u32) -> Vec<u32> {
    let parents: Vec<(u32, u32)> = processes()
        .filter_map(|pid| Some((pid, parent(pid)?)))
        .collect();
    let mut family = vec![pid];
    let mut next = 0;
    while let Some(&ancestor) = family.get(next) {
        family.extend(
            parents
                .iter()
                .filter(|(_, parent)| *parent == ancestor)
                .map(|(pid, _)| *pid),
        );
        next += 1;
    }
    family.split_off(1)
}

/// The direct children of `pid`.
pub fn children(pid: u32) -> Vec<u32> {
    processes()
        .filter(|&child| parent(child) == Some(pid))
        .collect()
}

/// Whether the process runs; one that has ended but is not waited for counts as gone.
pub fn is_alive(pid: u32) -> bool {
    stat(pid).is_some_and(|(state, _)| !matches!(state.as_str(), "Z" | "X"))
}

/// Whether every thread of the process is stopped; after SIGSTOP that takes a moment.
pub fn is_stopped(pid: u32) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return false;
    };
    let stat = |thread: fs::DirEntry| stat_in(&thread.path().join("stat"));
    threads
        .flatten()
        .all(|thread| stat(thread).is_none_or(|(state, _)| state == "T"))
}

/// What the open descriptors of `pid` lead to, sorted; none where it has ended. Of a sandboxed server only the superuser sees
/// them: see `Setup::observable`.
pub fn open_descriptors(pid: u32) -> Vec<PathBuf> {
    let descriptors = match fs::read_dir(format!("/proc/{pid}/fd")) {
        Ok(descriptors) => descriptors,
        Err(error) => {
            let is_hidden = error.kind() == ErrorKind::PermissionDenied && is_alive(pid);
            assert!(!is_hidden, "what {pid} has open is not for us to see");
            return Vec::new();
        }
    };
    let mut targets: Vec<PathBuf> = descriptors
        .flatten()
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .collect();
    targets.sort();
    targets
}

/// The numbers that `pid` can give to new descriptors, the lowest first: that is the order in which they are given.
pub fn free_descriptors(pid: u32) -> impl Iterator<Item = u64> {
    let taken = fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten();
    let number = |entry: fs::DirEntry| entry.file_name().to_str()?.parse::<u64>().ok();
    let taken: HashSet<u64> = taken.flatten().filter_map(number).collect();
    (0..).filter(move |number| !taken.contains(number))
}

/// Threads of `pid`.
pub fn thread_count(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count)
}

/// What each thread of `pid` waits for, as the kernel has it, and what is open.
pub fn what_it_does(pid: u32) -> String {
    let mut said = String::new();
    let tasks = fs::read_dir(format!("/proc/{pid}/task"));
    for task in tasks.into_iter().flatten().flatten() {
        let read = |name: &str| fs::read_to_string(task.path().join(name)).unwrap_or_default();
        let (comm, wchan, syscall) = (read("comm"), read("wchan"), read("syscall"));
        said.push_str(&format!("{} {wchan} {}\n", comm.trim(), syscall.trim()));
    }
    let open = open_descriptors(pid);
    format!("{said}{open:?}")
}

/// What `/proc` says of `pid` in general.
pub fn status_of(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/status")).unwrap()
}

/// The words behind `name` in a status.
pub fn field(status: &str, name: &str) -> Vec<String> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let words = line.unwrap_or_else(|| panic!("no '{name}' in {status}"));
    words.split_whitespace().map(str::to_owned).collect()
}

/// The hard limit of `pid` on what proc_pid_limits(5) calls `name`.
pub fn limit_of(pid: u32, name: &str) -> String {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix(name));
    let words = line.unwrap_or_else(|| panic!("no '{name}' in {limits}"));
    words.split_whitespace().nth(1).unwrap().to_owned()
}

/// Memory of `pid` that is in RAM, bytes.
pub fn resident_bytes(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or_default() * 1024
}

/// Processor time that `pid` has taken so far, of all its threads; none where it is gone.
pub fn processor_time(pid: u32) -> Duration {
    let stat = fs::read(format!("/proc/{pid}/stat")).unwrap_or_default();
    let stat = String::from_utf8_lossy(&stat).into_owned();
    let behind_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    // utime and stime, proc_pid_stat(5); the state is the third field.
    let fields = behind_name.split_whitespace().skip(11).take(2);
    let ticks: u64 = fields.filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// The process that holds the end `local` of the IPv4 connection between `local` and `peer`, among `candidates`.
pub fn owner_of_connection(local: SocketAddr, peer: SocketAddr, candidates: &[u32]) -> Option<u32> {
    let inode = connections()
        .into_iter()
        .find(|socket| (socket.local, socket.peer) == (local, peer))?
        .inode;
    let link = PathBuf::from(format!("socket:[{inode}]"));
    candidates
        .iter()
        .copied()
        .find(|&pid| open_descriptors(pid).contains(&link))
}

/// The established IPv4 connections accepted at `local`: the addresses of their peers.
pub fn peers_of(local: SocketAddr) -> Vec<SocketAddr> {
    let accepted = established().filter(|socket| socket.local == local);
    accepted.map(|socket| socket.peer).collect()
}

/// The other ends of the established IPv4 connections here.
pub fn connected_to() -> Vec<SocketAddr> {
    established().map(|socket| socket.peer).collect()
}

fn established() -> impl Iterator<Item = Socket> {
    const ESTABLISHED: &str = "01";
    let sockets = connections().into_iter();
    sockets.filter(|socket| socket.state == ESTABLISHED)
}

/// Whether the kernel still has something for `peer` of connections that nobody here has open any more.
pub fn is_still_sent_to(peer: SocketAddr) -> bool {
    const FIN_WAIT1: &str = "04";
    const LAST_ACK: &str = "09";
    const CLOSING: &str = "0B";
    let mut sockets = connections().into_iter();
    sockets.any(|socket| {
        socket.peer == peer && [FIN_WAIT1, LAST_ACK, CLOSING].contains(&&*socket.state)
    })
}

struct Socket {
    local: SocketAddr,
    peer: SocketAddr,
    state: String,
    inode: u64,
}

fn connections() -> Vec<Socket> {
    // Of the network that this thread is in: `/proc/net` is that of the process.
    let table = fs::read_to_string("/proc/thread-self/net/tcp").unwrap();
    table.lines().skip(1).filter_map(parse_socket).collect()
}

fn parse_socket(line: &str) -> Option<Socket> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    Some(Socket {
        local: parse_address(fields.get(1)?)?,
        peer: parse_address(fields.get(2)?)?,
        state: (*fields.get(3)?).to_owned(),
        inode: fields.get(9)?.parse().ok()?,
    })
}

/// The kernel prints an IPv4 address as the hexadecimal number that its bytes are in this machine's order.
fn parse_address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let ip = Ipv4Addr::from(u32::from_str_radix(ip, 16).ok()?.to_ne_bytes());
    Some(SocketAddr::new(
        IpAddr::V4(ip),
        u16::from_str_radix(port, 16).ok()?,
    ))
}

fn processes() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn parent(pid: u32) -> Option<u32> {
    stat(pid).map(|(_, parent)| parent)
}

/// State and parent: what stands behind the name, which is in parentheses and may hold anything.
fn stat(pid: u32) -> Option<(String, u32)> {
    stat_in(Path::new(&format!("/proc/{pid}/stat")))
}

fn stat_in(file: &Path) -> Option<(String, u32)> {
    let stat = fs::read(file).ok()?;
    let stat = String::from_utf8_lossy(&stat).into_owned();
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.to_owned(), fields.next()?.parse().ok()?))
}
