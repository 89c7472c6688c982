//! A slave that serves from memory: its port and its connections.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::Builder;

use protocol::{ConnectionError, Request, SlaveId};

use crate::faults::Faults;
use crate::storage::Storage;
use crate::talk::Talk;

/// A slave.
pub(crate) struct Slave {
    pub(crate) address: SocketAddr,
    pub(crate) id: SlaveId,
    pub(crate) faults: Arc<Mutex<Faults>>,
    pub(crate) log: Arc<Mutex<Vec<Request>>>,
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) storage: Storage,
    pub(crate) faults: Arc<Mutex<Faults>>,
    pub(crate) log: Arc<Mutex<Vec<Request>>>,
    open: Mutex<Vec<TcpStream>>,
    is_dead: Mutex<bool>,
    address: SocketAddr,
    pub(crate) needs_ticket: bool,
}

/// Ends a connection of a fake: with all others, or silently.
pub(crate) enum End {
    Die,
    Hang,
    Broken,
}

impl From<ConnectionError> for End {
    fn from(_: ConnectionError) -> Self {
        Self::Broken
    }
}

impl From<io::Error> for End {
    fn from(_: io::Error) -> Self {
        Self::Broken
    }
}

impl Slave {
    pub(crate) fn start(storage: &Storage, number: u8, needs_ticket: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let inner = Arc::new(Inner {
            storage: storage.clone(),
            faults: Arc::default(),
            log: Arc::default(),
            open: Mutex::default(),
            is_dead: Mutex::default(),
            address: listener.local_addr().unwrap(),
            needs_ticket,
        });
        let slave = Self {
            address: inner.address,
            id: SlaveId([number; 16]),
            faults: Arc::clone(&inner.faults),
            log: Arc::clone(&inner.log),
            inner: Arc::clone(&inner),
        };
        spawn(move || inner.accept(&listener));
        slave
    }

    pub(crate) fn set(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.faults.lock().unwrap());
    }

    /// Closes every connection and the port.
    pub(crate) fn die(&self) {
        self.inner.die();
    }

    /// How many requests of a kind were heard.
    pub(crate) fn count(&self, is: impl Fn(&Request) -> bool) -> usize {
        self.log
            .lock()
            .unwrap()
            .iter()
            .filter(|request| is(request))
            .count()
    }
}

impl Drop for Slave {
    fn drop(&mut self) {
        self.die();
    }
}

pub(crate) fn spawn(work: impl FnOnce() + Send + 'static) {
    Builder::new().spawn(work).unwrap();
}

impl Inner {
    fn die(&self) {
        let mut is_dead = self.is_dead.lock().unwrap();
        if !std::mem::replace(&mut is_dead, true) {
            self.open.lock().unwrap().drain(..).for_each(|stream| {
                stream.shutdown(Shutdown::Both).ok();
            });
            // Wakes the accepting thread, which then drops the listener.
            TcpStream::connect(self.address).ok();
        }
    }

    fn accept(self: Arc<Self>, listener: &TcpListener) {
        let mut kept = Vec::new();
        while let Ok((stream, _)) = listener.accept() {
            if *self.is_dead.lock().unwrap() {
                return;
            }
            if self.faults.lock().unwrap().hang_after_sent == Some(0) {
                kept.push(stream);
                continue;
            }
            self.open.lock().unwrap().push(stream.try_clone().unwrap());
            let inner = Arc::clone(&self);
            spawn(move || {
                let mut talk = Talk::new(&inner, stream.try_clone().unwrap());
                match talk.run() {
                    Err(End::Die) => inner.die(),
                    Err(End::Hang) => std::mem::forget(stream),
                    Ok(()) | Err(End::Broken) => {
                        stream.shutdown(Shutdown::Both).ok();
                    }
                }
            });
        }
    }
}
