//! A server with a key of its own, for a client that means another one: speaks TLS, and remembers what it hears inside.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use auth::tls::{Acceptor, Identity};
use protocol::Fingerprint;

use super::wait::{PATIENCE, wait_until};

/// Listens until the test's program ends.
#[derive(Debug)]
pub struct Impostor {
    /// Where it listens.
    pub address: SocketAddr,
    /// What it shows.
    pub key: Fingerprint,
    heard: Arc<Mutex<Vec<u8>>>,
    visitors: Arc<AtomicUsize>,
}

impl Impostor {
    /// Begins to listen.
    pub fn start() -> Self {
        let identity = Identity::generate(&["localhost".to_owned()]).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let impostor = Self {
            address: listener.local_addr().unwrap(),
            key: identity.fingerprint(),
            heard: Arc::default(),
            visitors: Arc::default(),
        };
        let acceptor = Acceptor::new(&identity).unwrap();
        let (heard, visitors) = (Arc::clone(&impostor.heard), Arc::clone(&impostor.visitors));
        let accept = move || {
            for stream in listener.incoming().map_while(Result::ok) {
                listen(stream, &acceptor, &heard, &visitors);
            }
        };
        thread::Builder::new().spawn(accept).unwrap();
        impostor
    }

    /// What was said inside, by all who came to an agreement with it about TLS and have left; waits for the first.
    pub fn heard(&self) -> Vec<u8> {
        wait_until("somebody to be deceived", PATIENCE, || {
            self.visitors.load(Ordering::SeqCst) > 0
        });
        self.heard.lock().unwrap().clone()
    }
}

/// Hears a client to its end.
fn listen(
    mut stream: TcpStream,
    acceptor: &Acceptor,
    heard: &Mutex<Vec<u8>>,
    visitors: &AtomicUsize,
) {
    let mut tls = acceptor.start().unwrap();
    stream.write_all(b"220 mini-ftp ready\r\n").ok();
    if tls.handshake(&mut stream).is_err() {
        return;
    }
    let mut bytes = [0; 4096];
    while let Ok(read @ 1..) = tls.read(&mut stream, &mut bytes) {
        heard.lock().unwrap().extend_from_slice(&bytes[..read]);
    }
    visitors.fetch_add(1, Ordering::SeqCst);
}
