//! A socket that waits as long as there is hope, and no longer.
//!
//! It blocks in short turns. Between two turns it looks at the interrupt flag; when nothing has moved for a while it asks,
//! on a second connection, whether the worker at the other end still lives. So a dead or stopped slave is noticed within
//! five seconds, while one that is merely busy is waited for up to the limit.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use transfer::Wire;

use crate::Interrupt;
use crate::fault::Halt;
use crate::probe::{Probed, probe};

/// One turn of blocking.
const TURN: Duration = Duration::from_millis(250);

/// Silence after which the worker is asked about.
const QUIET: Duration = Duration::from_millis(1_500);

/// Time that a probe may take: with [`QUIET`], a turn, and what a rate limit leaves in the kernel's buffers for two seconds,
/// less than the five seconds that are promised.
const PROBE_LIMIT: Duration = Duration::from_secs(1);

/// A worker that has shown no life for longer hangs.
const HANGING: Duration = Duration::from_secs(4);

/// A live worker shows life more often than this; one that has not is asked about again at once.
const DOUBTFUL: Duration = Duration::from_millis(1_500);

/// A TCP stream whose reads and writes end with a [`Halt`] when waiting makes no sense any more.
#[derive(Debug)]
pub(crate) struct Patient {
    stream: TcpStream,
    interrupt: Interrupt,
    limit: Duration,
    watched: Option<Watched>,
    round_trip: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Watched {
    address: SocketAddr,
    worker: u32,
}

/// One wait: since when nothing has moved.
struct Wait {
    moved: Instant,
    next_probe: Instant,
    unacknowledged: u64,
}

impl Patient {
    /// A stream on which no silence may last longer than `limit`.
    pub(crate) fn new(
        stream: TcpStream,
        interrupt: Interrupt,
        limit: Duration,
    ) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TURN))?;
        stream.set_write_timeout(Some(TURN))?;
        Ok(Self {
            stream,
            interrupt,
            limit,
            watched: None,
            round_trip: Duration::ZERO,
        })
    }

    /// Sets how long a silence may last.
    pub(crate) fn set_limit(&mut self, limit: Duration) {
        self.limit = limit;
    }

    /// From now on a silence makes it ask whether that worker lives.
    pub(crate) fn watch(&mut self, address: SocketAddr, worker: u32) {
        self.watched = Some(Watched { address, worker });
    }

    /// Notes how long the connection took to come about.
    pub(crate) fn set_round_trip(&mut self, round_trip: Duration) {
        self.round_trip = round_trip;
    }

    /// How long a round trip took when the connection came about.
    pub(crate) fn round_trip(&self) -> Duration {
        self.round_trip
    }

    pub(crate) fn socket(&self) -> &TcpStream {
        &self.stream
    }

    fn start(&self) -> io::Result<Wait> {
        if self.interrupt.is_set() {
            return Err(Halt::Interrupted.into());
        }
        let now = Instant::now();
        Ok(Wait {
            moved: now,
            next_probe: now + QUIET,
            unacknowledged: u64::MAX,
        })
    }

    /// A turn has passed without a byte. Decides whether there is another.
    fn quiet(&self, wait: &mut Wait) -> io::Result<()> {
        if self.interrupt.is_set() {
            return Err(Halt::Interrupted.into());
        }
        let now = Instant::now();
        let unacknowledged = sys::socket::unacknowledged(&self.stream).unwrap_or(0);
        if unacknowledged < wait.unacknowledged && wait.unacknowledged != u64::MAX {
            wait.moved = now;
            wait.next_probe = now + QUIET;
        }
        wait.unacknowledged = unacknowledged;
        let silent = now.duration_since(wait.moved);
        if silent >= self.limit {
            return Err(Halt::Lost(format!("no answer for {} s", self.limit.as_secs())).into());
        }
        match self.watched {
            Some(watched) if now >= wait.next_probe => self.ask(watched, wait),
            _ => Ok(()),
        }
    }

    /// Calls what blocks for one turn at most, until it has moved something or there is no hope.
    fn in_turns<T>(&self, mut call: impl FnMut(&TcpStream) -> io::Result<T>) -> io::Result<T> {
        let mut wait = self.start()?;
        loop {
            match call(&self.stream) {
                Err(error) if is_turn_over(&error) => self.quiet(&mut wait)?,
                result => return result,
            }
        }
    }

    fn ask(&self, watched: Watched, wait: &mut Wait) -> io::Result<()> {
        let again = match probe(watched.address, watched.worker, PROBE_LIMIT) {
            Probed::Dead => return Err(Halt::Lost("it does not answer".to_owned()).into()),
            Probed::Alive { silent } if silent > HANGING => {
                return Err(Halt::Lost("its worker hangs".to_owned()).into());
            }
            Probed::Alive { silent } if silent > DOUBTFUL => TURN,
            Probed::Alive { .. } => QUIET,
        };
        wait.next_probe = Instant::now() + again;
        Ok(())
    }
}

impl Read for Patient {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.in_turns(|mut stream| stream.read(bytes))
    }
}

impl Write for Patient {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.in_turns(|mut stream| stream.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Wire for Patient {
    fn splice_into(&mut self, pipe: BorrowedFd<'_>, most: usize) -> io::Result<usize> {
        self.in_turns(|mut stream| stream.splice_into(pipe, most))
    }

    fn send_file(&mut self, file: &File, offset: u64, most: usize) -> io::Result<usize> {
        self.in_turns(|mut stream| stream.send_file(file, offset, most))
    }

    fn write_more(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.in_turns(|mut stream| stream.write_more(bytes))
    }
}

/// Signals end a turn too: a socket with a timeout is not restarted after one, socket(7).
fn is_turn_over(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use protocol::Connection;

    use super::*;
    use crate::fault::Fault;
    use crate::probe::tests::answer_probe;

    struct Pair {
        patient: Patient,
        peer: TcpStream,
        listener: TcpListener,
        interrupt: Interrupt,
    }

    fn pair(limit: Duration) -> Pair {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stream = TcpStream::connect(address).unwrap();
        let interrupt = Interrupt::default();
        let mut patient = Patient::new(stream, interrupt.clone(), limit).unwrap();
        patient.watch(address, 7);
        let (peer, _) = listener.accept().unwrap();
        Pair {
            patient,
            peer,
            listener,
            interrupt,
        }
    }

    fn cause(error: &io::Error) -> String {
        Fault::from_socket(error).cause()
    }

    #[test]
    fn a_slave_that_answers_no_probe_is_lost_within_five_seconds() {
        let mut pair = pair(Duration::from_secs(30));
        let start = Instant::now();
        let error = pair.patient.read(&mut [0; 8]).unwrap_err();
        assert_eq!(cause(&error), "it does not answer");
        assert!(start.elapsed() >= QUIET && start.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn a_worker_that_hangs_is_lost_within_five_seconds() {
        let mut pair = pair(Duration::from_secs(30));
        let start = Instant::now();
        let listener = pair.listener.try_clone().unwrap();
        let answering = std::thread::Builder::new()
            .spawn(move || {
                while let Ok((stream, _)) = listener.accept() {
                    let silent = start.elapsed();
                    answer_probe(stream, silent);
                    if silent > HANGING {
                        break;
                    }
                }
            })
            .unwrap();
        let error = pair.patient.read(&mut [0; 8]).unwrap_err();
        assert_eq!(cause(&error), "its worker hangs");
        assert!(start.elapsed() < Duration::from_secs(5));
        answering.join().unwrap();
    }

    #[test]
    fn a_busy_slave_is_waited_for_up_to_the_limit() {
        let mut pair = pair(Duration::from_secs(5));
        let start = Instant::now();
        let listener = pair.listener.try_clone().unwrap();
        let is_over = Interrupt::default();
        let over = is_over.clone();
        let answering = std::thread::Builder::new()
            .spawn(move || {
                while let Ok((stream, _)) = listener.accept()
                    && !over.is_set()
                {
                    answer_probe(stream, Duration::ZERO);
                }
            })
            .unwrap();
        let error = pair.patient.read(&mut [0; 8]).unwrap_err();
        assert_eq!(cause(&error), "no answer for 5 s");
        assert!(start.elapsed() >= Duration::from_secs(5));
        is_over.set();
        drop(TcpStream::connect(pair.listener.local_addr().unwrap()));
        answering.join().unwrap();
    }

    #[test]
    fn a_peer_that_stops_reading_is_lost_too() {
        let mut pair = pair(Duration::from_secs(30));
        let start = Instant::now();
        let error = loop {
            if let Err(error) = pair.patient.write(&[0; 65_536]) {
                break error;
            }
        };
        assert_eq!(cause(&error), "it does not answer");
        assert!(start.elapsed() < Duration::from_secs(6));
    }

    #[test]
    fn an_interrupt_ends_a_wait() {
        let pair = pair(Duration::from_secs(30));
        let mut connection = Connection::new(pair.patient);
        let interrupt = pair.interrupt;
        let setting = std::thread::Builder::new()
            .spawn(move || interrupt.set())
            .unwrap();
        let fault = Fault::from(connection.receive().unwrap_err());
        assert_eq!(fault.cause(), "interrupted");
        setting.join().unwrap();
    }

    #[test]
    fn bytes_pass() {
        let mut pair = pair(Duration::from_secs(30));
        pair.patient.write_all(b"ping").unwrap();
        let mut bytes = [0; 4];
        pair.peer.read_exact(&mut bytes).unwrap();
        pair.peer.write_all(&bytes).unwrap();
        pair.patient.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"ping");
    }
}
