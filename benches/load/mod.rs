//! The load generator: blocking threads ("lanes") that do one thing over and over for a while.
//!
//! The same lanes drive our programs, the peers and the bare limit, so what they cost themselves stands on every side of a ratio.

pub mod framed;
pub mod ftp;
pub mod http;
pub mod raw;
pub mod xroot;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};

/// Longest silence of a server.
const SILENCE: Duration = Duration::from_secs(10);

/// Source addresses of a lane within one lap: a million connections over loopback.
const ADDRESSES_OF_A_LAP: u32 = 256;

/// Counts the laps; see [`Dialer`].
static LAPS: AtomicU32 = AtomicU32::new(0);

/// How often a second `lanes` threads together do what the steps of each count, over `time`. `open` makes a lane ready, which
/// is not counted.
pub fn rate<Step>(
    lanes: usize,
    time: Duration,
    open: impl Fn(usize) -> io::Result<Step> + Sync,
) -> Result<f64, String>
where
    Step: FnMut() -> io::Result<u64>,
{
    LAPS.fetch_add(1, Relaxed);
    let start = Barrier::new(lanes);
    let lane = |number: usize| -> io::Result<f64> {
        let opened = open(number);
        start.wait(); // a lane that could not open must not leave the others waiting
        let mut step = opened?;
        let (begun, mut done) = (Instant::now(), 0);
        while begun.elapsed() < time {
            done += step()?;
        }
        Ok(done as f64 / begun.elapsed().as_secs_f64())
    };
    let rates: io::Result<Vec<f64>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..lanes)
            .map(|number| scope.spawn(move || lane(number)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    rates
        .map(|rates| rates.iter().sum())
        .map_err(|error| error.to_string())
}

/// Makes connections for one lane.
///
/// Towards loopback it takes another source address every few thousand times, and others in each lap: a connection that was
/// closed keeps its port for a minute, and searching for a free one, 11 ms where all are taken, would end up in the figure.
pub struct Dialer {
    target: SocketAddr,
    lane: u8,
    first_address: u32,
    dialled: u32,
}

impl Dialer {
    /// Connections to `target`.
    pub fn new(target: SocketAddr, lane: usize) -> Self {
        Self {
            target,
            lane: 100 + (lane % 100) as u8,
            first_address: LAPS.load(Relaxed) * ADDRESSES_OF_A_LAP,
            dialled: 0,
        }
    }

    /// The next connection.
    pub fn dial(&mut self) -> io::Result<TcpStream> {
        const PER_ADDRESS: u32 = 4096;
        let socket = socket_with(
            AddressFamily::INET,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )?;
        if self.target.ip().is_loopback() {
            let [.., high, low] = (self.first_address + self.dialled / PER_ADDRESS).to_be_bytes();
            let source = Ipv4Addr::new(127, self.lane, high, low);
            bind(&socket, &SocketAddrV4::new(source, 0))?;
        }
        self.dialled += 1;
        connect(&socket, &self.target)?;
        let stream = TcpStream::from(socket);
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SILENCE))?;
        Ok(stream)
    }
}

/// The same host at another port: an FTP data connection.
pub fn at_port(address: SocketAddr, port: u16) -> SocketAddr {
    let IpAddr::V4(ip) = address.ip() else {
        unreachable!("servers of this benchmark are started at IPv4 addresses")
    };
    SocketAddrV4::new(ip, port).into()
}

/// What a server did that it should not.
fn unexpected(what: impl std::fmt::Debug) -> io::Error {
    io::Error::other(format!("unexpected answer: {what:?}"))
}
