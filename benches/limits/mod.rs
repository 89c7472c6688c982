//! What the machine can do without us: the least work that has the same result, each in processes of its own.

pub mod accept;
pub mod files;
pub mod netcat;
pub mod stream;

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::process::Command;

use crate::harness::{PATIENCE, Process};

/// The word by which this program is told to be a limit's process and not the benchmark.
const WORD: &str = "limit";

/// A limit's server, until dropped.
pub struct Limit(#[expect(dead_code, reason = "ends the process when dropped")] Process);

impl Limit {
    /// Starts this program again as the server `kind` at an address of loopback.
    fn listening(kind: &str, arguments: &[&str]) -> (Self, SocketAddr) {
        Self::listening_at(Ipv4Addr::LOCALHOST.into(), kind, arguments)
    }

    fn listening_at(ip: IpAddr, kind: &str, arguments: &[&str]) -> (Self, SocketAddr) {
        let mut command = itself(kind);
        command.arg(ip.to_string()).args(arguments);
        let process = Process::spawn(kind, &mut command);
        let line = process.wait_for_line("listening on ", PATIENCE);
        let address = line.rsplit(' ').next().unwrap().parse().unwrap();
        (Self(process), address)
    }
}

fn itself(kind: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([WORD, kind]);
    command
}

/// Is the process of a limit, where the arguments say so; whether they did.
pub fn be_one(arguments: &[String]) -> bool {
    let words: Vec<&str> = arguments.iter().skip(1).map(String::as_str).collect();
    match words.as_slice() {
        [WORD, "accept", ip] => accept::serve(&listen(ip)),
        [WORD, "serve", ip, file, shape] => stream::serve(ip, file, shape),
        [WORD, "fetch", rest @ ..] => stream::fetch(rest),
        [WORD, "answer", ip, port] => netcat::answer((ip, port.parse().unwrap())),
        [WORD, "hear", ip, port] => netcat::hear((ip, port.parse().unwrap())),
        _ => return false,
    }
    true
}

fn listen(ip: &str) -> TcpListener {
    let listener = TcpListener::bind((ip, 0)).unwrap();
    // std's queue of 128 would overflow under a load that ours is asked to bear
    rustix::net::listen(&listener, 4096).unwrap();
    eprintln!("listening on {}", listener.local_addr().unwrap());
    listener
}
