//! A client that speaks the protocol by hand, for what the real one never does.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use protocol::frame::DATA;
use protocol::limits::MAX_GREETING;
use protocol::{
    Address, ClientPreface, Connection, MasterReply, MasterRequest, Message, Reply, Request,
    ServerPreface, SlaveOffer,
};

use super::wait::PATIENCE;

/// A connection behind the prefaces.
#[derive(Debug)]
pub struct Wire<S = TcpStream> {
    /// What the server said of itself.
    pub preface: ServerPreface,
    connection: Connection<S>,
    last_request: u32,
}

impl Wire {
    /// Connects and exchanges prefaces.
    pub fn open(server: SocketAddr) -> Self {
        Self::introduce(server, ClientPreface::ours())
    }

    /// Connects with a preface of the test's own.
    pub fn introduce(server: SocketAddr, preface: ClientPreface) -> Self {
        let stream = TcpStream::connect(server).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut connection = Connection::new(stream);
        connection.send_raw(&preface.encode());
        connection.flush().unwrap();
        let greeting = connection.read_line(MAX_GREETING).unwrap();
        assert!(greeting.starts_with(b"220 "), "{greeting:?}");
        Self::behind_preface(connection)
    }
}

impl<S: Read + Write> Wire<S> {
    /// Exchanges prefaces where the greeting has been heard already.
    pub fn over(stream: S) -> Self {
        let mut connection = Connection::new(stream);
        connection.send_raw(&ClientPreface::ours().encode());
        connection.flush().unwrap();
        Self::behind_preface(connection)
    }

    fn behind_preface(mut connection: Connection<S>) -> Self {
        let mut bytes = [0; ServerPreface::LENGTH];
        connection.read_exact(&mut bytes).unwrap();
        Self {
            preface: ServerPreface::decode(&bytes).unwrap(),
            connection,
            last_request: 0,
        }
    }

    /// Sends a request, or whatever has the form of one, and waits for nothing.
    pub fn send(&mut self, request: &impl Message) {
        self.last_request += 1;
        self.connection.send(self.last_request, request);
        self.connection.flush().unwrap();
    }

    /// Sends a further message of the last request, or another request of the same number.
    pub fn send_more(&mut self, message: &impl Message) {
        self.connection.send(self.last_request, message);
        self.connection.flush().unwrap();
    }

    /// Sends a request; its first answer.
    pub fn ask<Answer: Message>(&mut self, request: &impl Message) -> Answer {
        self.send(request);
        let header = self.connection.receive_answer().unwrap();
        assert_eq!(header.request, self.last_request);
        self.connection.decode(&header).unwrap()
    }

    /// As [`Self::ask`]; `None` where the server has closed, before the request or behind it.
    pub fn ask_if_open<Answer: Message>(&mut self, request: &impl Message) -> Option<Answer> {
        self.last_request += 1;
        self.connection.send(self.last_request, request);
        self.connection.flush().ok()?;
        let header = self.connection.receive_answer().ok()?;
        assert_eq!(header.request, self.last_request);
        Some(self.connection.decode(&header).unwrap())
    }

    /// Opens a session with what the master gave.
    pub fn present(&mut self, offer: &SlaveOffer) -> Reply {
        self.ask(&Request::Present {
            ticket: offer.ticket.clone(),
            secret: offer.secret,
        })
    }

    /// What the server says next, of whatever request; `None` where it has closed.
    pub fn hear<Answer: Message>(&mut self) -> Option<(u32, Answer)> {
        let header = self.connection.receive().unwrap()?;
        Some((header.request, self.connection.decode(&header).unwrap()))
    }

    /// Asks for content: what comes of it, and the reply behind it.
    pub fn fetch(&mut self, request: &Request) -> (Vec<u8>, Reply) {
        let _announced: Reply = self.ask(request);
        self.content()
    }

    /// The content of the last request, up to the message behind it, which is given too.
    pub fn content<Answer: Message>(&mut self) -> (Vec<u8>, Answer) {
        let mut content = Vec::new();
        loop {
            let header = self.connection.receive_answer().unwrap();
            if header.kind != DATA {
                return (content, self.connection.decode(&header).unwrap());
            }
            while self.connection.data_left() > 0 {
                let mut piece = [0; 65_536];
                let read = self.connection.read_data(&mut piece).unwrap();
                content.extend_from_slice(&piece[..read]);
            }
        }
    }

    /// Sends content of the last request.
    pub fn send_content(&mut self, content: &[u8]) {
        for part in content.chunks(1 << 20) {
            self.connection.send_data(self.last_request, part);
            self.connection.flush().unwrap();
        }
    }

    /// What lies below, for bytes that are no frames.
    pub fn socket(&mut self) -> &mut S {
        self.connection.stream()
    }
}

/// What the master offers to a client that comes now.
pub fn offers(master: SocketAddr) -> Vec<SlaveOffer> {
    let locate = MasterRequest::Locate {
        tried: Vec::new(),
        renew: false,
    };
    match Wire::open(master).ask(&locate) {
        MasterReply::Located { slaves, .. } => slaves,
        other => panic!("no offers: {other:?}"),
    }
}

/// The port at which an offered slave listens.
pub fn port_of(offer: &SlaveOffer) -> u16 {
    match offer.addresses.first() {
        Some(
            Address::SameHost { port } | Address::Ip { port, .. } | Address::Name { port, .. },
        ) => *port,
        None => panic!("an offer without an address"),
    }
}

/// Sends bytes, then no more, and returns all that comes back until the server closes; how that took long.
pub fn say_and_listen(server: SocketAddr, bytes: &[u8]) -> (Vec<u8>, Duration) {
    let mut stream = TcpStream::connect(server).unwrap();
    let begun = Instant::now();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(bytes).ok(); // a server that has heard enough closes while we speak
    let mut heard = Vec::new();
    match stream.read_to_end(&mut heard) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            panic!("not closed within {PATIENCE:?}")
        }
        _ => (heard, begun.elapsed()),
    }
}
