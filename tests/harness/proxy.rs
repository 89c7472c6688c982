//! A wire that can be bent: forwards bytes, and damages, cuts, stops or slows them where a test says so.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    ToServer,
    ToClient,
}

/// What happens to one connection. Offsets count its bytes in that direction from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// One bit of the byte at `offset` is flipped.
    FlipBit { direction: Direction, offset: u64 },
    /// One bit of every `bytes`-th byte is flipped, the very first left out.
    FlipEvery { direction: Direction, bytes: u64 },
    /// Both directions end once this many bytes have passed.
    CutAfter { direction: Direction, bytes: u64 },
    /// Both directions end once this many whole TLS records have passed to the client, behind the server's greeting.
    CutAfterRecords { records: u64 },
    /// Nothing passes any more in either direction once this many bytes have; the connection stays open.
    StallAfter { direction: Direction, bytes: u64 },
    /// So many bytes pass in each second, either way.
    Throttle { bytes_per_second: u64 },
}

/// Listens on a port of its own and forwards each connection to the server.
#[derive(Debug)]
pub struct Proxy {
    /// Where clients connect.
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    closed: AtomicBool,
    severed: AtomicBool,
    connections: AtomicUsize,
    to_server: AtomicU64,
    to_client: AtomicU64,
    bent: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    server: Option<SocketAddr>,
    next: VecDeque<Fault>,
    always: Option<Fault>,
    sockets: Vec<TcpStream>,
}

impl Proxy {
    /// A proxy whose server is not known yet: until [`Self::forward_to`] is called, connections are closed at once.
    pub fn listen() -> Self {
        Self::listen_at(Ipv4Addr::LOCALHOST)
    }

    /// The same at another address of this machine, or of the network in which it is called.
    pub fn listen_at(ip: Ipv4Addr) -> Self {
        let listener = TcpListener::bind((ip, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        thread::Builder::new()
            .spawn(move || accept(&listener, &theirs))
            .unwrap();
        Self { address, shared }
    }

    /// A proxy before `server`.
    pub fn before(server: SocketAddr) -> Self {
        let proxy = Self::listen();
        proxy.forward_to(server);
        proxy
    }

    /// Forwards the connections that come from now on to `server`.
    pub fn forward_to(&self, server: SocketAddr) {
        self.shared.lock().server = Some(server);
    }

    /// Does this to the next connection that has no fault assigned yet.
    pub fn next(&self, fault: Fault) {
        self.shared.lock().next.push_back(fault);
    }

    /// Does this to every connection that [`Self::next`] says nothing of.
    pub fn always(&self, fault: Fault) {
        self.shared.lock().always = Some(fault);
    }

    /// Connections so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Bytes forwarded so far over all connections.
    pub fn forwarded(&self, direction: Direction) -> u64 {
        self.shared.counter(direction).load(Ordering::SeqCst)
    }

    /// Bits that were flipped so far, and connections that were ended or silenced.
    pub fn bent(&self) -> u64 {
        self.shared.bent.load(Ordering::SeqCst)
    }

    /// Nothing passes any more, on no connection, as when a link is cut: those that stand stay open, new ones come about and
    /// hear nothing.
    pub fn sever(&self) {
        self.shared.severed.store(true, Ordering::SeqCst);
    }

    /// Ends every connection; new ones are forwarded as before.
    pub fn cut_all(&self) {
        for socket in self.shared.lock().sockets.drain(..) {
            socket.shutdown(Shutdown::Both).ok();
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        self.cut_all();
        TcpStream::connect(self.address).ok(); // wakes the accepting thread, which then ends
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counter(&self, direction: Direction) -> &AtomicU64 {
        match direction {
            Direction::ToServer => &self.to_server,
            Direction::ToClient => &self.to_client,
        }
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for client in listener.incoming().map_while(Result::ok) {
        if shared.is_closed() {
            return;
        }
        forward(client, shared);
    }
}

fn forward(client: TcpStream, shared: &Arc<Shared>) {
    shared.connections.fetch_add(1, Ordering::SeqCst);
    let mut state = shared.lock();
    let Some(server) = state
        .server
        .and_then(|address| TcpStream::connect(address).ok())
    else {
        return;
    };
    let fault = state
        .next
        .pop_front()
        .or(state.always)
        .unwrap_or(Fault::None);
    state
        .sockets
        .extend([client.try_clone().unwrap(), server.try_clone().unwrap()]);
    drop(state);
    let stalled = Arc::new(AtomicBool::new(false));
    for (direction, from, to) in [
        (
            Direction::ToServer,
            client.try_clone().unwrap(),
            server.try_clone().unwrap(),
        ),
        (Direction::ToClient, server, client),
    ] {
        let pump = Pump {
            direction,
            fault,
            from,
            to,
            passed: 0,
            records: Records::default(),
            stalled: Arc::clone(&stalled),
            is_ended: false,
            shared: Arc::clone(shared),
        };
        thread::Builder::new().spawn(move || pump.run()).unwrap();
    }
}

struct Pump {
    direction: Direction,
    fault: Fault,
    from: TcpStream,
    to: TcpStream,
    passed: u64,
    records: Records,
    stalled: Arc<AtomicBool>,
    is_ended: bool,
    shared: Arc<Shared>,
}

/// Where the records of a TLS stream end (RFC 8446, section 5.1), behind a line in clear.
#[derive(Default)]
struct Records {
    is_behind_greeting: bool,
    header: Vec<u8>,
    /// Bytes of the record at hand that are still to come.
    left: usize,
    whole: u64,
}

impl Records {
    /// How many of `bytes`, which come next, belong to the first `most` records.
    fn within(&mut self, most: u64, bytes: &[u8]) -> usize {
        for (index, byte) in bytes.iter().enumerate() {
            if self.whole >= most {
                return index;
            }
            if !self.is_behind_greeting {
                self.is_behind_greeting = *byte == b'\n';
            } else if self.left > 0 {
                self.left -= 1;
                self.whole += u64::from(self.left == 0);
            } else {
                self.header.push(*byte);
                if let [_, _, _, high, low] = self.header[..] {
                    self.left = usize::from(u16::from_be_bytes([high, low]));
                    self.header.clear();
                }
            }
        }
        bytes.len()
    }
}

impl Pump {
    fn run(mut self) {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let Ok(read @ 1..) = self.from.read(&mut buffer) else {
                self.to.shutdown(Shutdown::Write).ok();
                return;
            };
            while self.is_silent() {
                if self.shared.is_closed() {
                    return;
                }
                thread::sleep(Duration::from_millis(10));
            }
            let bytes = self.bend(&mut buffer[..read]);
            if self.to.write_all(&buffer[..bytes]).is_err() {
                self.from.shutdown(Shutdown::Both).ok();
                return;
            }
            self.passed += bytes as u64;
            self.shared
                .counter(self.direction)
                .fetch_add(bytes as u64, Ordering::SeqCst);
            self.end_if_due();
        }
    }

    fn is_silent(&self) -> bool {
        self.stalled.load(Ordering::SeqCst) || self.shared.severed.load(Ordering::SeqCst)
    }

    /// Damages `bytes` if they are meant, and says how many of them may pass.
    fn bend(&mut self, bytes: &mut [u8]) -> usize {
        let length = bytes.len();
        match self.fault {
            Fault::FlipBit { direction, offset } if direction == self.direction => {
                let index = offset
                    .checked_sub(self.passed)
                    .and_then(|index| usize::try_from(index).ok());
                if let Some(byte) = index.and_then(|index| bytes.get_mut(index)) {
                    self.flip(byte);
                }
                length
            }
            Fault::FlipEvery {
                direction,
                bytes: every,
            } if direction == self.direction => {
                for (offset, byte) in (self.passed..).zip(bytes) {
                    if offset > 0 && offset % every == 0 {
                        self.flip(byte);
                    }
                }
                length
            }
            Fault::CutAfter { direction, bytes } | Fault::StallAfter { direction, bytes }
                if direction == self.direction =>
            {
                usize::try_from(bytes - self.passed).map_or(length, |left| left.min(length))
            }
            Fault::CutAfterRecords { records } if self.direction == Direction::ToClient => {
                self.records.within(records, bytes)
            }
            Fault::Throttle { bytes_per_second } => {
                thread::sleep(Duration::from_secs_f64(
                    length as f64 / bytes_per_second as f64,
                ));
                length
            }
            _ => length,
        }
    }

    fn flip(&self, byte: &mut u8) {
        *byte ^= 0x10;
        self.shared.bent.fetch_add(1, Ordering::SeqCst);
    }

    /// What has arrived already is read still: it ends more than once, and counts once.
    fn end(&mut self) {
        if !self.is_ended {
            self.is_ended = true;
            self.shared.bent.fetch_add(1, Ordering::SeqCst);
        }
        self.from.shutdown(Shutdown::Both).ok();
        self.to.shutdown(Shutdown::Both).ok();
    }

    fn end_if_due(&mut self) {
        match self.fault {
            Fault::CutAfter { direction, bytes }
                if direction == self.direction && self.passed >= bytes =>
            {
                self.end();
            }
            Fault::CutAfterRecords { records } if self.records.whole >= records => self.end(),
            Fault::StallAfter { direction, bytes }
                if direction == self.direction && self.passed >= bytes =>
            {
                let was_stalled = self.stalled.swap(true, Ordering::SeqCst);
                let bent = u64::from(!was_stalled);
                self.shared.bent.fetch_add(bent, Ordering::SeqCst);
            }
            _ => {}
        }
    }
}
