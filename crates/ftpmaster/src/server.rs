//! The door: accepts connections and gives each a thread, within bounds.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Weak};
use std::time::Duration;

use admission::{Gate, Limit, Reporter, Visit};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvFlags, recv};
use socket2::{Domain, Protocol, Socket, Type};
use supervisor::ThreadPool;
use tracing::warn;

use crate::limits::{SHORTAGE_PAUSE, STACK};
use crate::master::Master;
use crate::session;

/// Connections that the kernel keeps for us while we are busy.
const BACKLOG: i32 = 1024;

/// Connections accepted before we look at anything else.
const BURST: usize = 64;

/// How often to look up when nobody comes.
const LOOK_UP: Duration = Duration::from_secs(60);

/// A bound port.
#[derive(Debug)]
pub(crate) struct Server {
    listener: Arc<TcpListener>,
    threads: ThreadPool,
}

impl Server {
    /// Takes the port, so that whoever connects from now on is served sooner or later.
    ///
    /// # Errors
    /// The port is taken, or the address is not this machine's.
    pub(crate) fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        // The port of a master that was just stopped is free for the next one.
        socket.set_reuse_address(true)?;
        if address.is_ipv6() && address.ip().is_unspecified() {
            socket.set_only_v6(false)?;
        }
        // Accepted sockets inherit it (tcp(7)).
        socket.set_tcp_nodelay(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        Ok(Self {
            listener: Arc::new(socket.into()),
            threads: ThreadPool::new("session", STACK),
        })
    }

    /// The address it was bound to, with the port that the system chose.
    ///
    /// # Errors
    /// The system does not say.
    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `wake` can be read.
    ///
    /// # Errors
    /// The listening socket is broken.
    pub(crate) fn serve_until(
        &self,
        wake: impl AsFd,
        master: &Arc<Master>,
        reporter: &mut Reporter,
    ) -> io::Result<()> {
        let mut is_short = false;
        loop {
            if let Some(news) = reporter.due(master.gate.words()) {
                warn!("limits were hit: {news}");
            }
            let woken = if is_short {
                let [woken] = wait([wake.as_fd()], Some(SHORTAGE_PAUSE))?;
                woken
            } else {
                let [woken, _knock] = wait([wake.as_fd(), self.listener.as_fd()], Some(LOOK_UP))?;
                woken
            };
            if woken {
                return Ok(());
            }
            match self.accept_some(master) {
                Ok(()) => is_short = false,
                Err(error) if is_shortage(&error) => {
                    if !is_short {
                        warn!(
                            "nobody can be let in for now: {}",
                            cli::one_line(&error.into())
                        );
                    }
                    is_short = true;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn accept_some(&self, master: &Arc<Master>) -> io::Result<()> {
        for _ in 0..BURST {
            match self.listener.accept() {
                Ok((socket, peer)) => self.welcome(socket, peer, master)?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if is_the_peers(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Gives the connection a thread, which then takes whoever waits: to be handed the next costs a sleep and a wake-up,
    /// much of a redirect. Fails only where there can be none for now.
    fn welcome(&self, socket: TcpStream, peer: SocketAddr, master: &Arc<Master>) -> io::Result<()> {
        let mut next = admit(&master.gate, socket, peer);
        if next.is_none() {
            return Ok(());
        }
        let master = Arc::clone(master);
        // The port is free as soon as the master stops, whoever is still served.
        let listener = Arc::downgrade(&self.listener);
        self.threads.run(move || {
            while let Some((socket, visit)) = next {
                session::serve(&master, socket, visit);
                next = accept_next(&listener, &master.gate);
            }
        })
    }
}

/// Who waits at the door, without sleeping. What goes wrong is the main thread's to find and to tell.
fn accept_next(listener: &Weak<TcpListener>, gate: &Arc<Gate>) -> Option<(TcpStream, Visit)> {
    let (socket, peer) = listener.upgrade()?.accept().ok()?;
    admit(gate, socket, peer)
}

/// Lets a connection in, or tells it which limit is reached.
fn admit(gate: &Arc<Gate>, mut socket: TcpStream, peer: SocketAddr) -> Option<(TcpStream, Visit)> {
    match gate.enter(peer.ip()) {
        Ok(visit) => Some((socket, visit)),
        Err(limit) => {
            // A socket that has sent nothing yet takes a line without blocking; one that is gone needs none.
            socket.write_all(busy(limit).as_bytes()).unwrap_or_default();
            // Closing with bytes unread would reset the connection, and take the line along.
            while let Ok(1..) =
                recv(&socket, &mut [0; 1024], RecvFlags::DONTWAIT).map(|(read, _)| read)
            {
            }
            None
        }
    }
}

/// What is said to those who are not let in.
fn busy(limit: Limit) -> String {
    format!("421 {}: try again later\r\n", limit.sentence())
}

/// Waits until one of the descriptors can be read, or the time is over; which of them can.
///
/// # Errors
/// The system cannot wait.
pub(crate) fn wait<const N: usize>(
    descriptors: [BorrowedFd<'_>; N],
    time: Option<Duration>,
) -> io::Result<[bool; N]> {
    let mut polled = descriptors
        .each_ref()
        .map(|descriptor| PollFd::from_borrowed_fd(*descriptor, PollFlags::IN));
    let time = time.and_then(|time| Timespec::try_from(time).ok());
    match poll(&mut polled, time.as_ref()) {
        Ok(_) => Ok(polled.map(|polled| !polled.revents().is_empty())),
        Err(rustix::io::Errno::INTR) => Ok([false; N]),
        Err(error) => Err(error.into()),
    }
}

/// Whether an error of `accept` speaks of one connection that did not come to be (accept(2)).
fn is_the_peers(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(
        Errno::from_io_error(error),
        Some(
            Errno::CONNABORTED
                | Errno::INTR
                | Errno::NETDOWN
                | Errno::PROTO
                | Errno::NOPROTOOPT
                | Errno::HOSTDOWN
                | Errno::NONET
                | Errno::HOSTUNREACH
                | Errno::OPNOTSUPP
                | Errno::NETUNREACH
                | Errno::PERM
        )
    )
}

/// Whether an error passes once others have given back what they hold.
fn is_shortage(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(
        Errno::from_io_error(error),
        Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM | Errno::AGAIN)
    )
}
