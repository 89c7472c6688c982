//! One file through TCP with as little work as the kernel allows: `sendfile` on one side, `splice` into the file on the other.
//!
//! A fetcher asks with two numbers, offset and length (both zero: only the size), and gets the size and the bytes.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;

use blake3::Hasher;
use rustix::fs::sendfile;
use rustix::net::sockopt::set_tcp_congestion;
use rustix::net::{AddressFamily, SocketType, bind, connect, listen, socket};
use rustix::pipe::{SpliceFlags, fcntl_setpipe_size, pipe, splice};

use super::{Limit, itself};

/// What the pipe between socket and file holds.
const PIPE: usize = 1 << 20;

/// What is read back at once to be hashed.
const HASHED_AT_ONCE: usize = 128 * 1024;

/// What the two do beside moving bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shape {
    /// Not the machine's own congestion control.
    pub cubic: bool,
    /// Flushes the file at the end.
    pub fsync: bool,
    /// Computes BLAKE3, on a thread of its own, and compares it with nothing.
    pub hash: bool,
}

impl Shape {
    /// As an argument of another process.
    fn word(self) -> String {
        let said = |is_so, word: &'static str| if is_so { word } else { "" };
        [
            said(self.cubic, "cubic "),
            said(self.fsync, "fsync "),
            said(self.hash, "hash "),
        ]
        .concat()
    }

    fn of(word: &str) -> Self {
        Self {
            cubic: word.contains("cubic"),
            fsync: word.contains("fsync"),
            hash: word.contains("hash"),
        }
    }
}

/// Starts the sender of `file` in a process of its own.
pub fn start(ip: IpAddr, file: &Path, shape: Shape) -> (Limit, SocketAddr) {
    Limit::listening_at(ip, "serve", &[file.to_str().unwrap(), &shape.word()])
}

/// The process that fetches into `target`: a stream from each sender, which carries its share in proportion to its weight.
pub fn fetcher(senders: &[(SocketAddr, u64)], target: &Path, shape: Shape) -> Command {
    let mut command = itself("fetch");
    command.arg(target).arg(shape.word());
    for (sender, weight) in senders {
        command.args([sender.to_string(), weight.to_string()]);
    }
    command.stdout(Stdio::null());
    command
}

/// The sender's process.
pub(super) fn serve(ip: &str, file: &str, shape: &str) {
    let shape = Shape::of(shape);
    let socket = new_socket(shape);
    bind(&socket, &SocketAddr::new(ip.parse().unwrap(), 0)).unwrap();
    listen(&socket, 64).unwrap();
    let listener = TcpListener::from(socket); // what it accepts inherits the congestion control
    eprintln!("listening on {}", listener.local_addr().unwrap());
    thread::scope(|scope| {
        for stream in listener.incoming().flatten() {
            scope.spawn(|| send(stream, &File::open(file).unwrap(), shape).ok());
        }
    });
}

fn send(mut stream: TcpStream, file: &File, shape: Shape) -> io::Result<()> {
    let size = file.metadata()?.len();
    loop {
        let mut question = [0; 16];
        stream.read_exact(&mut question)?;
        let mut offset = u64::from_be_bytes(question[..8].try_into().unwrap());
        let end = offset + u64::from_be_bytes(question[8..].try_into().unwrap());
        stream.write_all(&size.to_be_bytes())?;
        thread::scope(|scope| {
            if shape.hash {
                scope.spawn(move || hash(file, offset..end, &mut Hasher::new()).unwrap());
            }
            while offset < end {
                let left = (end - offset) as usize;
                if sendfile(&stream, file, Some(&mut offset), left)? == 0 {
                    return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
                }
            }
            Ok(())
        })?;
    }
}

fn hash(file: &File, range: Range<u64>, hasher: &mut Hasher) -> io::Result<()> {
    let mut piece = vec![0; HASHED_AT_ONCE];
    let mut position = range.start;
    while position < range.end {
        let piece = &mut piece[..HASHED_AT_ONCE.min((range.end - position) as usize)];
        file.read_exact_at(piece, position)?;
        hasher.update(piece);
        position += piece.len() as u64;
    }
    Ok(())
}

/// The fetcher's process.
pub(super) fn fetch(arguments: &[&str]) {
    let [target, shape, senders @ ..] = arguments else {
        panic!("{arguments:?}")
    };
    let shape = Shape::of(shape);
    let senders: Vec<(SocketAddr, u64)> = senders
        .chunks_exact(2)
        .map(|pair| (pair[0].parse().unwrap(), pair[1].parse().unwrap()))
        .collect();
    let total: u64 = senders.iter().map(|(_, weight)| weight).sum();
    let mut options = File::options();
    let options = options.read(true).write(true).create(true).truncate(true);
    let file = options.open(target).unwrap();
    thread::scope(|scope| {
        let mut before = 0;
        for (sender, weight) in senders {
            let (from, to) = (before, before + weight);
            before = to;
            let file = &file;
            scope.spawn(move || {
                let mut stream = dial(sender, shape);
                let size = ask(&mut stream, 0, 0).unwrap();
                let border = |weight: u64| (size * weight / total) & !4095;
                let end = if to == total { size } else { border(to) };
                receive(stream, file, border(from)..end, shape).unwrap();
            });
        }
    });
    if shape.fsync {
        file.sync_all().unwrap();
    }
}

fn dial(sender: SocketAddr, shape: Shape) -> TcpStream {
    let socket = new_socket(shape);
    connect(&socket, &sender).unwrap();
    TcpStream::from(socket)
}

fn new_socket(shape: Shape) -> std::os::fd::OwnedFd {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    if shape.cubic {
        set_tcp_congestion(&socket, "cubic").unwrap();
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

fn receive(mut stream: TcpStream, file: &File, range: Range<u64>, shape: Shape) -> io::Result<()> {
    let (start, length) = (range.start, range.end - range.start);
    ask(&mut stream, start, length)?;
    thread::scope(|scope| {
        let (passed, passing) = mpsc::channel::<Range<u64>>();
        if shape.hash {
            let behind = move || {
                let mut hasher = Hasher::new();
                passing
                    .iter()
                    .try_for_each(|range| hash(file, range, &mut hasher))
            };
            scope.spawn(move || behind().unwrap());
        }
        splice_all(&stream, file, range, |range| {
            passed.send(range).unwrap_or_default();
        })
    })
}

fn splice_all(
    stream: &TcpStream,
    file: &File,
    range: Range<u64>,
    mut passed: impl FnMut(Range<u64>),
) -> io::Result<()> {
    let (out, into) = pipe()?;
    fcntl_setpipe_size(&into, PIPE)?;
    let mut offset = range.start;
    while offset < range.end {
        let start = offset;
        let wanted = PIPE.min((range.end - offset) as usize);
        let mut held = splice(stream, None, &into, None, wanted, SpliceFlags::MOVE)?;
        if held == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        while held > 0 {
            held -= splice(&out, None, file, Some(&mut offset), held, SpliceFlags::MOVE)?;
        }
        passed(start..offset);
    }
    Ok(())
}
