//! One file through TCP with as little work as the kernel allows: `sendfile` on one side, `splice` into the file on the other.
//!
//! A fetcher asks with two numbers, offset and length (both zero: only the size), and gets the size and the bytes.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use rustix::fs::sendfile;
use rustix::net::sockopt::set_tcp_congestion;
use rustix::net::{AddressFamily, SocketType, bind, connect, listen, socket};
use rustix::pipe::{SpliceFlags, fcntl_setpipe_size, pipe, splice};

use super::{Limit, itself};

/// What the pipe between socket and file holds.
const PIPE: usize = 1 << 20;

/// What the fetcher takes for congestion control, and does when the bytes are there.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub cubic: bool,
    pub fsync: bool,
}

/// Starts the sender of `file` in a process of its own.
pub fn start(ip: IpAddr, file: &Path, cubic: bool) -> (Limit, SocketAddr) {
    Limit::listening_at(ip, "serve", &[file.to_str().unwrap(), congestion(cubic)])
}

/// The process that fetches into `target`: a stream from each sender, which carries its share in proportion to its weight.
pub fn fetcher(senders: &[(SocketAddr, u64)], target: &Path, shape: Shape) -> Command {
    let mut command = itself("fetch");
    command
        .arg(target)
        .arg(congestion(shape.cubic))
        .arg(if shape.fsync { "fsync" } else { "" });
    for (sender, weight) in senders {
        command.args([sender.to_string(), weight.to_string()]);
    }
    command.stdout(Stdio::null());
    command
}

fn congestion(cubic: bool) -> &'static str {
    if cubic { "cubic" } else { "default" }
}

/// The sender's process.
pub(super) fn serve(ip: &str, file: &str, congestion: &str) {
    let socket = new_socket(congestion);
    bind(&socket, &SocketAddr::new(ip.parse().unwrap(), 0)).unwrap();
    listen(&socket, 64).unwrap();
    let listener = TcpListener::from(socket); // what it accepts inherits the congestion control
    eprintln!("listening on {}", listener.local_addr().unwrap());
    thread::scope(|scope| {
        for stream in listener.incoming().flatten() {
            scope.spawn(|| send(stream, &File::open(file).unwrap()).ok());
        }
    });
}

fn send(mut stream: TcpStream, file: &File) -> io::Result<()> {
    let size = file.metadata()?.len();
    loop {
        let mut question = [0; 16];
        stream.read_exact(&mut question)?;
        let mut offset = u64::from_be_bytes(question[..8].try_into().unwrap());
        let end = offset + u64::from_be_bytes(question[8..].try_into().unwrap());
        stream.write_all(&size.to_be_bytes())?;
        while offset < end {
            let left = (end - offset) as usize;
            if sendfile(&stream, file, Some(&mut offset), left)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

/// The fetcher's process.
pub(super) fn fetch(arguments: &[&str]) {
    let [target, congestion, then, senders @ ..] = arguments else {
        panic!("{arguments:?}")
    };
    let senders: Vec<(SocketAddr, u64)> = senders
        .chunks_exact(2)
        .map(|pair| (pair[0].parse().unwrap(), pair[1].parse().unwrap()))
        .collect();
    let total: u64 = senders.iter().map(|(_, weight)| weight).sum();
    let file = File::create(target).unwrap();
    thread::scope(|scope| {
        let mut before = 0;
        for (sender, weight) in senders {
            let (from, to) = (before, before + weight);
            before = to;
            let file = &file;
            scope.spawn(move || {
                let mut stream = dial(sender, congestion);
                let size = ask(&mut stream, 0, 0).unwrap();
                let border = |weight: u64| (size * weight / total) & !4095;
                let end = if to == total { size } else { border(to) };
                receive(stream, file, border(from)..end).unwrap();
            });
        }
    });
    if *then == "fsync" {
        file.sync_all().unwrap();
    }
}

fn dial(sender: SocketAddr, congestion: &str) -> TcpStream {
    let socket = new_socket(congestion);
    connect(&socket, &sender).unwrap();
    TcpStream::from(socket)
}

fn new_socket(congestion: &str) -> std::os::fd::OwnedFd {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    if congestion != "default" {
        set_tcp_congestion(&socket, congestion).unwrap();
    }
    socket
}

/// Asks for a range; the size of the whole.
fn ask(stream: &mut TcpStream, offset: u64, length: u64) -> io::Result<u64> {
    let mut question = offset.to_be_bytes().to_vec();
    question.extend_from_slice(&length.to_be_bytes());
    stream.write_all(&question)?;
    let mut size = [0; 8];
    stream.read_exact(&mut size)?;
    Ok(u64::from_be_bytes(size))
}

fn receive(mut stream: TcpStream, file: &File, range: Range<u64>) -> io::Result<()> {
    let (mut offset, length) = (range.start, range.end - range.start);
    ask(&mut stream, offset, length)?;
    let (out, into) = pipe()?;
    fcntl_setpipe_size(&into, PIPE)?;
    let mut left = length;
    while left > 0 {
        let wanted = PIPE.min(left as usize);
        let mut held = splice(&stream, None, &into, None, wanted, SpliceFlags::MOVE)?;
        if held == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        left -= held as u64;
        while held > 0 {
            held -= splice(&out, None, file, Some(&mut offset), held, SpliceFlags::MOVE)?;
        }
    }
    Ok(())
}
