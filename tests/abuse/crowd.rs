//! Clients that stall and clients that guess, as many as one likes, on few threads.

use std::io::{Cursor, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use protocol::{
    ClientPreface, Connection, ErrorCode, MasterReply, MasterRequest, Message, RemotePath, Request,
    Secretive, SlaveOffer, Text,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::at;

/// How long a client may take to connect, and to hear what it guessed.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often each stalled client is looked at.
const ROUND: Duration = Duration::from_millis(200);

/// Between two bytes of a client that drips.
const DRIP: Duration = Duration::from_secs(5);

/// Stalled clients that one thread holds.
const A_THREAD: usize = 250;

/// Guesses under way at once, at most.
const GUESSERS: usize = 64;

/// What a client stalls at.
#[derive(Clone, Debug)]
pub(super) enum Stall {
    /// It says nothing.
    Silent,
    /// It says its first words, a byte now and then.
    Dripping,
    /// It stops in the midst of a login.
    MidLogin,
    /// It asks the slave for a file and does not read it.
    MidTransfer(SlaveOffer),
}

/// Where the crowd comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From {
    /// This machine.
    Here,
    /// Half of it from this machine, half from thousands of others.
    Everywhere,
}

impl From {
    fn address(self, number: usize) -> IpAddr {
        let number = number as u32;
        match self {
            Self::Everywhere if number % 2 == 1 => {
                // Many networks, many addresses in each.
                let [.., high, low] = number.wrapping_mul(40_503).to_be_bytes();
                Ipv4Addr::new(10, 66, high, low).into()
            }
            _ => Ipv4Addr::new(127, 9, 9, 1 + (number % 200) as u8).into(),
        }
    }
}

/// Threads that go on until dropped.
#[derive(Debug)]
pub(super) struct Crowd {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().ok();
        }
    }
}

impl Crowd {
    fn of(threads: usize, work: impl Fn(usize, &AtomicBool) + Clone + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = (0..threads).map(|number| {
            let (work, stop) = (work.clone(), Arc::clone(&stop));
            thread::Builder::new()
                .spawn(move || work(number, &stop))
                .unwrap()
        });
        Self {
            threads: threads.collect(),
            stop,
        }
    }

    /// So many clients that stall, by turns in one of these ways at one of these servers; who is closed comes again. Counts
    /// how many are connected.
    pub(super) fn stalled(
        count: usize,
        from: From,
        ways: &[(Stall, SocketAddr)],
        connected: &Arc<AtomicUsize>,
    ) -> Self {
        let (ways, connected) = (ways.to_vec(), Arc::clone(connected));
        Self::of(count.div_ceil(A_THREAD), move |thread, stop| {
            let first = thread * A_THREAD;
            let mut lines: Vec<Line> = (first..count.min(first + A_THREAD))
                .map(Line::new)
                .collect();
            while !stop.load(Relaxed) {
                for line in &mut lines {
                    let before = line.stream.is_some();
                    line.go_on(from, &ways);
                    match (before, line.stream.is_some()) {
                        (false, true) => drop(connected.fetch_add(1, Relaxed)),
                        (true, false) => drop(connected.fetch_sub(1, Relaxed)),
                        _ => {}
                    }
                }
                thread::sleep(ROUND);
            }
        })
    }

    /// So many guesses a second: wrong passwords under fifty names, and from elsewhere under the good user's.
    pub(super) fn guessing(
        a_second: u64,
        from: From,
        master: SocketAddr,
        heard: &Arc<Guesses>,
    ) -> Self {
        let (begun, next) = (Instant::now(), Arc::new(AtomicU64::new(0)));
        let heard = Arc::clone(heard);
        Self::of(GUESSERS, move |_, stop| {
            while !stop.load(Relaxed) {
                let number = next.fetch_add(1, Relaxed);
                let due = begun + Duration::from_micros(1_000_000 * number / a_second);
                thread::sleep(due.saturating_duration_since(Instant::now()));
                let ip = from.address(number as usize);
                let user = if ip.is_loopback() {
                    format!("user{}", number % 50)
                } else {
                    "ada".to_owned()
                };
                heard.count(guess(at(ip, master), &user));
            }
        })
    }
}

/// What guesses came to.
#[derive(Debug, Default)]
pub(super) struct Guesses {
    pub(super) refused: AtomicUsize,
    pub(super) busy: AtomicUsize,
    pub(super) not_let_in: AtomicUsize,
}

impl Guesses {
    fn count(&self, answer: Option<MasterReply>) {
        let counter = match answer {
            Some(MasterReply::Error {
                code: ErrorCode::Busy,
                ..
            }) => &self.busy,
            Some(MasterReply::Error { .. }) => &self.refused,
            Some(other) => panic!("guessed: {other:?}"),
            None => &self.not_let_in,
        };
        counter.fetch_add(1, Relaxed);
    }
}

/// A wrong password, and the answer; `None`: not let in.
fn guess(master: SocketAddr, user: &str) -> Option<MasterReply> {
    let stream = TcpStream::connect_timeout(&master, PATIENCE).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let mut connection = Connection::new(stream);
    connection.send_raw(&ClientPreface::ours().encode());
    connection.send(1, &login(user, "wrong"));
    connection.flush().ok()?;
    let greeting = connection.read_line(512).ok()?;
    if !greeting.starts_with(b"220") {
        return None;
    }
    connection
        .read_exact(&mut [0; protocol::ServerPreface::LENGTH])
        .ok()?;
    let header = connection.receive_answer().ok()?;
    connection.decode(&header).ok()
}

pub(super) fn login(user: &str, password: &str) -> MasterRequest {
    MasterRequest::Login {
        user: Text::new(user),
        password: Secretive::new(password.as_bytes()).unwrap(),
    }
}

pub(super) fn retrieve(path: &str) -> Request {
    Request::Retrieve {
        path: RemotePath::try_from(path).unwrap(),
        offset: 0,
        length: u64::MAX,
        expected: None,
        digest: true,
    }
}

/// One client that stalls.
#[derive(Debug)]
struct Line {
    number: usize,
    times: usize,
    stream: Option<TcpStream>,
    left: Vec<u8>,
    next_drip: Instant,
    reads: bool,
}

impl Line {
    fn new(number: usize) -> Self {
        Self {
            number,
            times: 0,
            stream: None,
            left: Vec::new(),
            next_drip: Instant::now(),
            reads: true,
        }
    }

    fn go_on(&mut self, from: From, ways: &[(Stall, SocketAddr)]) {
        if self.is_closed() {
            self.stream = None;
            self.connect(from, ways);
        }
        let now = Instant::now();
        if let (Some(stream), true) = (&mut self.stream, now >= self.next_drip)
            && !self.left.is_empty()
        {
            stream.write_all(&[self.left.remove(0)]).ok();
            self.next_drip = now + DRIP;
        }
    }

    fn is_closed(&self) -> bool {
        let Some(mut stream) = self.stream.as_ref() else {
            return true;
        };
        if !self.reads {
            // What waits to be read stays.
            let mut polled = [PollFd::new(stream, PollFlags::RDHUP)];
            return matches!(poll(&mut polled, Some(&Timespec::default())), Ok(1..));
        }
        loop {
            match stream.read(&mut [0; 512]) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return error.kind() != ErrorKind::WouldBlock,
            }
        }
    }

    fn connect(&mut self, from: From, ways: &[(Stall, SocketAddr)]) {
        self.times += 1;
        let (stall, server) = &ways[self.number % ways.len()];
        let server = at(from.address(self.number + 997 * self.times), *server);
        let Ok(mut stream) = TcpStream::connect_timeout(&server, PATIENCE) else {
            return;
        };
        let preface = ClientPreface::ours().encode();
        (self.reads, self.left) = (true, Vec::new());
        let words = match stall {
            Stall::Silent => Vec::new(),
            Stall::Dripping => {
                self.left = preface;
                Vec::new()
            }
            Stall::MidLogin => {
                let mut words = [preface, framed(&[&login("mallory", "let me in")])].concat();
                words.truncate(words.len() - 4);
                words
            }
            Stall::MidTransfer(offer) => {
                self.reads = false;
                let present = Request::Present {
                    ticket: offer.ticket.clone(),
                    secret: offer.secret,
                };
                [preface, framed(&[&present, &retrieve("/large.bin")])].concat()
            }
        };
        stream.write_all(&words).ok();
        stream.set_nonblocking(true).unwrap();
        self.stream = Some(stream);
    }
}

fn framed<M: Message>(messages: &[&M]) -> Vec<u8> {
    let mut connection = Connection::new(Cursor::new(Vec::new()));
    for (number, message) in messages.iter().enumerate() {
        connection.send(number as u32 + 1, *message);
    }
    connection.flush().unwrap();
    std::mem::take(connection.stream()).into_inner()
}
