//! TLS before a fake that speaks in the clear: what the client says inside arrives there, and is remembered here.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use auth::tls::{Acceptor, Identity, Tls};
use protocol::Fingerprint;
use rustix::event::{PollFd, PollFlags, poll};

use crate::slave::spawn;

/// Where clients connect instead.
pub(crate) struct Front {
    pub(crate) address: SocketAddr,
    pub(crate) key: Fingerprint,
    /// All that was said inside, over all connections.
    pub(crate) heard: Arc<Mutex<Vec<u8>>>,
    /// Shown from the next connection on.
    identity: Arc<Mutex<Identity>>,
}

impl Front {
    /// Stands before the fake at `behind`, with a key of its own.
    pub(crate) fn before(behind: SocketAddr) -> Self {
        Self::with(Identity::generate(&[]).unwrap(), behind)
    }

    pub(crate) fn with(identity: Identity, behind: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let front = Self {
            address: listener.local_addr().unwrap(),
            key: identity.fingerprint(),
            heard: Arc::default(),
            identity: Arc::new(Mutex::new(identity)),
        };
        let (heard, identity) = (Arc::clone(&front.heard), Arc::clone(&front.identity));
        spawn(move || {
            while let Ok((client, _)) = listener.accept() {
                let acceptor = Acceptor::new(&identity.lock().unwrap()).unwrap();
                let heard = Arc::clone(&heard);
                spawn(move || {
                    let tls = acceptor.start().unwrap();
                    // Either side may go whenever it likes.
                    Link::over(tls, client, behind, heard)
                        .and_then(Link::run)
                        .unwrap_or_default();
                });
            }
        });
        front
    }

    /// Shows another key from now on.
    pub(crate) fn change_key(&self) {
        *self.identity.lock().unwrap() = Identity::generate(&[]).unwrap();
    }

    /// Whether any of it was said inside.
    pub(crate) fn has_heard(&self, bytes: &[u8]) -> bool {
        let heard = self.heard.lock().unwrap();
        heard.windows(bytes.len()).any(|window| window == bytes)
    }
}

/// One connection, on both sides.
struct Link {
    tls: Tls,
    client: TcpStream,
    fake: TcpStream,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl Link {
    /// Passes the fake's greeting on in clear, and comes to an agreement with the client.
    fn over(
        mut tls: Tls,
        mut client: TcpStream,
        behind: SocketAddr,
        heard: Arc<Mutex<Vec<u8>>>,
    ) -> io::Result<Self> {
        let mut fake = TcpStream::connect(behind)?;
        let mut greeting = [0];
        while greeting != *b"\n" {
            fake.read_exact(&mut greeting)?;
            client.write_all(&greeting)?;
        }
        tls.handshake(&mut client)?;
        client.set_nonblocking(true)?;
        Ok(Self {
            tls,
            client,
            fake,
            heard,
        })
    }

    fn run(mut self) -> io::Result<()> {
        let mut bytes = vec![0; 64 * 1024];
        let result = loop {
            match self.step(&mut bytes) {
                Ok(true) => {}
                Ok(false) => break self.tls.close(&mut self.client),
                Err(error) => break Err(error),
            }
        };
        self.client.shutdown(Shutdown::Both).ok();
        self.fake.shutdown(Shutdown::Both).ok();
        result
    }

    /// Moves what has come on either side; `false` at the end of one.
    fn step(&mut self, bytes: &mut [u8]) -> io::Result<bool> {
        let mut sides = [
            PollFd::new(&self.client, PollFlags::IN),
            PollFd::new(&self.fake, PollFlags::IN),
        ];
        // The first words may have come together with the last ones of the handshake.
        let mut from_client = self.tls.is_ready();
        if !from_client {
            poll(&mut sides, None)?;
            from_client = !sides[0].revents().is_empty();
        }
        let from_fake = !sides[1].revents().is_empty();
        if from_client {
            while self.tls.take_in(&mut self.client)? {
                match self.tls.read(&mut self.client, bytes)? {
                    0 => return Ok(false),
                    read => {
                        self.heard.lock().unwrap().extend_from_slice(&bytes[..read]);
                        self.fake.write_all(&bytes[..read])?;
                    }
                }
            }
        }
        if from_fake {
            match self.fake.read(bytes)? {
                0 => return Ok(false),
                read => self.say(&bytes[..read])?,
            }
        }
        Ok(true)
    }

    fn say(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut said = self.tls.write(&mut self.client, bytes).map(drop);
        while said.as_ref().is_err_and(is_full) {
            poll(&mut [PollFd::new(&self.client, PollFlags::OUT)], None)?;
            said = self.tls.flush(&mut self.client);
        }
        said
    }
}

fn is_full(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

/// Answers whatever comes with the same in clear, and closes behind it; what each connection said.
pub(crate) fn in_clear(answer: &[u8]) -> (SocketAddr, Arc<Mutex<Vec<Vec<u8>>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let heard = Arc::<Mutex<Vec<Vec<u8>>>>::default();
    let (theirs, answer) = (Arc::clone(&heard), answer.to_vec());
    spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            stream.write_all(&answer).unwrap_or_default();
            stream.shutdown(Shutdown::Write).unwrap_or_default();
            let mut said = Vec::new();
            // How it ends says nothing.
            stream.read_to_end(&mut said).unwrap_or_default();
            theirs.lock().unwrap().push(said);
        }
    });
    (address, heard)
}
