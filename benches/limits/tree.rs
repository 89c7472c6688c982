//! A tree through TCP with as little work as a person could ask for: `tar | nc` on one side, `nc | tar` on the other.

use std::fs;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::harness::{PATIENCE, Process, wait_until};

/// Whether the machine has a netcat that can be told to end with its input.
pub fn has_netcat() -> bool {
    Command::new("sh")
        .args(["-c", "nc -h 2>&1 | grep -q -- -N"])
        .status()
        .is_ok_and(|status| status.success())
}

/// Starts the sender of the folder `name` in `parent`, and returns once it listens. It serves one receiver, and ends.
pub fn start(ip: IpAddr, parent: &Path, name: &str) -> (Process, SocketAddr) {
    let address = SocketAddr::new(ip, free_port(ip));
    let script = "tar -C \"$0\" -c \"$1\" | nc -N -l \"$2\" \"$3\"";
    let mut command = Command::new("sh");
    command
        .args(["-c", script])
        .arg(parent)
        .arg(name)
        .arg(ip.to_string())
        .arg(address.port().to_string());
    let process = Process::spawn("tar | nc", &mut command);
    wait_until("nc to listen", PATIENCE, || is_listening(address.port()));
    (process, address)
}

/// The receiver, which unpacks into `target`.
pub fn receiver(sender: SocketAddr, target: &Path) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", "nc -d \"$0\" \"$1\" | tar -C \"$2\" -x"])
        .arg(sender.ip().to_string())
        .arg(sender.port().to_string())
        .arg(target)
        .stdin(Stdio::null());
    command
}

/// A port that nobody listens at, as far as one can know.
pub fn free_port(ip: IpAddr) -> u16 {
    let probe = TcpListener::bind((ip, 0)).unwrap();
    probe.local_addr().unwrap().port()
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
