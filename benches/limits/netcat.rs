//! A file or a tree through TCP with as little work as a person could ask for: `cat | nc` or `tar | nc` on one side, `nc` into
//! the file or `nc | tar` on the other.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};

use super::itself;
use crate::harness::{PATIENCE, Process, wait_until};

/// Starts the sender of a file, and returns once it listens. It serves one receiver, and ends.
pub fn send_file(ip: IpAddr, file: &Path) -> (Process, SocketAddr) {
    send(ip, "cat \"$1\"", [Path::new(""), file])
}

/// The receiver of a file, as `target`.
pub fn receive_file(sender: SocketAddr, target: &Path) -> Command {
    receive(sender, "\"$@\" > \"$0\"", target)
}

/// Starts the sender of the folder `name` in `parent`; otherwise as [`send_file`].
pub fn send_tree(ip: IpAddr, parent: &Path, name: &str) -> (Process, SocketAddr) {
    send(ip, "tar -C \"$0\" -c \"$1\"", [parent, Path::new(name)])
}

/// The receiver of a tree, which unpacks into `target`.
pub fn receive_tree(sender: SocketAddr, target: &Path) -> Command {
    receive(sender, "\"$@\" | tar -C \"$0\" -x", target)
}

/// A netcat that sends what the shell command `produce` writes, whose `$0` and `$1` are the words.
fn send(ip: IpAddr, produce: &str, words: [&Path; 2]) -> (Process, SocketAddr) {
    let address = SocketAddr::new(ip, free_port());
    let (ip, port) = (ip.to_string(), address.port().to_string());
    let mut command = Command::new("sh");
    command
        .arg("-c")
        .arg(format!("{produce} | {{ shift; exec \"$@\"; }}"))
        .args(words)
        .args(one_of(["nc", "-N", "-l"], "answer"))
        .args([ip, port]);
    let process = Process::spawn("nc", &mut command);
    wait_until("the sender to listen", PATIENCE, || {
        is_listening(address.port())
    });
    (process, address)
}

/// A shell command, whose `$0` is the target and whose other words are a netcat that receives.
fn receive(sender: SocketAddr, consume: &str, target: &Path) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", consume])
        .arg(target)
        .args(one_of(["nc", "-d"], "hear"))
        .args([sender.ip().to_string(), sender.port().to_string()])
        .stdout(Stdio::null());
    command
}

/// The netcat that can be told to end with its input; where the machine has none, a process of ours that does the same.
fn one_of<const N: usize>(netcat: [&str; N], kind: &str) -> Vec<OsString> {
    static HAS_NETCAT: LazyLock<bool> = LazyLock::new(|| {
        let mut help = Command::new("sh");
        help.args(["-c", "nc -h 2>&1 | grep -q -- -N"]);
        help.status().is_ok_and(|status| status.success())
    });
    match *HAS_NETCAT {
        true => netcat.map(OsString::from).to_vec(),
        false => {
            let itself = itself(kind);
            let mut words = vec![itself.get_program().to_owned()];
            words.extend(itself.get_args().map(OsStr::to_owned));
            words
        }
    }
}

/// In place of `nc -N -l`: standard input to the one who connects.
pub(super) fn answer(address: (&str, u16)) {
    let (mut stream, _) = TcpListener::bind(address).unwrap().accept().unwrap();
    io::copy(&mut io::stdin().lock(), &mut stream).unwrap();
}

/// In place of `nc -d`: what the other side sends to standard output.
pub(super) fn hear(address: (&str, u16)) {
    let mut stream = TcpStream::connect(address).unwrap();
    io::copy(&mut stream, &mut io::stdout().lock()).unwrap();
}

/// A port that nobody has, as far as one can know, below those that the kernel gives to connections: some servers bind it at
/// every address and insist on having it alone.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 20_000 + (std::process::id() % 8000) as u16;
    let ports = std::iter::repeat_with(|| first + NEXT.fetch_add(1, Relaxed) % 4000);
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::UNSPECIFIED, *port)).is_ok();
    ports.take(4000).find(is_free).expect("a free port")
}

/// A connection made to find out would be the one that the sender serves. `/proc/net` is the main thread's network, which need
/// not be this thread's.
fn is_listening(port: u16) -> bool {
    const LISTEN: &str = "0A";
    let table = fs::read_to_string("/proc/thread-self/net/tcp").unwrap();
    let suffix = format!(":{port:04X}");
    table.lines().any(|line| {
        let mut fields = line.split_whitespace().skip(1);
        fields.next().is_some_and(|local| local.ends_with(&suffix)) && fields.nth(1) == Some(LISTEN)
    })
}
