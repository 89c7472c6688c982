//! What travels with the first words: servers that say nothing before they have heard it.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use client::{Client, ClientError, Conflict, Download, Interrupt, Options, Silent, Target};
use protocol::{
    ClientPreface, Connection, Entry, EntryKind, ErrorCode, MasterReply, MasterRequest, Message,
    Reply, Request, Rights, Role, SlaveId, Text, Version,
};

use crate::master::{Offered, offer};
use crate::setting::path;
use crate::storage::digest;
use crate::talk::{error, preface};

type Link = Connection<TcpStream>;

/// A server that is over when everybody has been served.
struct Server {
    address: SocketAddr,
    serving: JoinHandle<()>,
}

impl Server {
    /// Serves one client.
    fn start(serve: impl FnOnce(&mut Link) + Send + 'static) -> Self {
        Self::of(move |listener| {
            let mut link = accept(&listener);
            serve(&mut link);
            part(link);
        })
    }

    fn of(serve: impl FnOnce(TcpListener) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let serving = Builder::new().spawn(move || serve(listener)).unwrap();
        Self { address, serving }
    }
}

/// Accepts a client, and hears its preface.
fn accept(listener: &TcpListener) -> Link {
    let (stream, _) = listener.accept().unwrap();
    // A client that waits for us would wait for ever.
    let limit = Some(Duration::from_secs(20));
    stream.set_read_timeout(limit).unwrap();
    let mut link = Connection::new(stream);
    link.read_exact(&mut [0; ClientPreface::LENGTH]).unwrap();
    link
}

/// Waits for the client's end.
fn part(mut link: Link) {
    link.flush().unwrap();
    while link.receive().is_ok_and(|header| header.is_some()) {}
}

/// The next request, and its number.
fn hear<M: Message>(link: &mut Link) -> (u32, M) {
    let header = link.receive().unwrap().unwrap();
    (header.request, link.decode(&header).unwrap())
}

fn greet(link: &mut Link, role: Role) {
    link.send_raw(b"220 mini-ftp ready\r\n");
    link.send_raw(&preface(role).encode());
}

fn look(name: &str) -> Request {
    Request::Stat {
        path: path(name),
        follow: true,
    }
}

fn facts(size: u64) -> Reply {
    Reply::Facts {
        entry: Entry {
            name: Vec::new(),
            kind: EntryKind::File,
            size,
            modified_ns: 0,
            mode: 0o644,
            version: None,
            digest: None,
        },
    }
}

/// A slave that stands alone, and hears the question for a master before the one for itself.
fn slave() -> Server {
    Server::start(|link| {
        let (locate, question) = hear(link);
        assert!(matches!(question, MasterRequest::Locate { .. }));
        let (number, question) = hear::<Request>(link);
        assert_eq!(question, look("/a"));
        greet(link, Role::Slave);
        link.send(locate, &error(ErrorCode::Unsupported));
        link.send(number, &facts(5));
        link.flush().unwrap();
        let (number, question) = hear::<Request>(link);
        assert_eq!(question, look("/b"));
        link.send(number, &facts(6));
    })
}

/// A slave that wants to see a ticket.
fn offered_slave() -> Server {
    Server::start(|link| {
        let (present, question) = hear(link);
        assert!(matches!(question, Request::Present { .. }));
        let (number, question) = hear::<Request>(link);
        assert_eq!(question, look("/a"));
        greet(link, Role::Slave);
        let welcome = Reply::Welcome {
            user: Text::default(),
            rights: Rights::ALL,
        };
        link.send(present, &welcome);
        link.send(number, &facts(7));
    })
}

fn master(slave: SocketAddr) -> Server {
    Server::start(move |link| {
        let (locate, question) = hear(link);
        assert!(matches!(question, MasterRequest::Locate { .. }));
        let (number, question) = hear::<Request>(link);
        assert_eq!(question, look("/a"));
        greet(link, Role::Master);
        let offered = Offered {
            id: SlaveId([1; 16]),
            address: slave,
            fingerprint: None,
        };
        let located = MasterReply::Located {
            slaves: vec![offer(offered)],
            expires: 0,
            life: 600,
        };
        link.send(locate, &located);
        link.send(number, &error(ErrorCode::Unsupported));
    })
}

fn unconnected(server: &Server) -> Client {
    let target = Target {
        host: server.address.ip().to_string(),
        port: server.address.port(),
    };
    Client::unconnected(
        &[target],
        Options::default(),
        Arc::new(Silent),
        Interrupt::default(),
    )
}

fn size(client: &mut Client, name: &str) -> Result<u64, ClientError> {
    client.stat(&path(name), true).map(|entry| entry.size)
}

fn end(client: Client, servers: impl IntoIterator<Item = Server>) {
    drop(client);
    for server in servers {
        server.serving.join().unwrap();
    }
}

#[test]
fn the_first_question_to_a_slave_waits_for_nothing() {
    let slave = slave();
    let mut client = unconnected(&slave);
    assert_eq!(size(&mut client, "/a"), Ok(5));
    assert_eq!(size(&mut client, "/b"), Ok(6));
    end(client, [slave]);
}

#[test]
fn where_something_else_is_asked_first_the_answer_is_passed_over() {
    let slave = slave();
    let mut client = unconnected(&slave);
    client.expect_stat(&path("/a"), true);
    client.open().unwrap();
    assert_eq!(size(&mut client, "/b"), Ok(6));
    end(client, [slave]);
}

#[test]
fn a_small_file_comes_in_answer_to_the_first_words() {
    let slave = Server::start(|link| {
        let (locate, _) = hear::<MasterRequest>(link);
        let (number, question) = hear::<Request>(link);
        let Request::RetrieveWhole { path, .. } = question else {
            panic!("{question:?}");
        };
        assert_eq!(path.as_bytes(), b"/a");
        greet(link, Role::Slave);
        link.send(locate, &error(ErrorCode::Unsupported));
        let announced = Reply::Content {
            version: Version::new(b"1").unwrap(),
            size: 5,
            modified_ns: 0,
            mode: 0o644,
            offset: 0,
            length: 5,
        };
        link.send(number, &announced);
        link.send_data(number, b"small");
        let digest = Some(digest(b"small"));
        link.send(number, &Reply::ContentEnd { digest });
    });
    let mut client = unconnected(&slave);
    client.expect_download(&path("/a"));
    client.open().unwrap();
    client.stat_to_download(&[path("/a")]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let request = Download {
        remote: path("/a"),
        local: folder.path().join("a"),
        conflict: Conflict::Refuse,
    };
    client.download(&request).unwrap();
    assert_eq!(std::fs::read(request.local).unwrap(), b"small");
    end(client, [slave]);
}

#[test]
fn a_server_that_is_long_about_it_is_met_again_and_asked_later() {
    let slave = Server::of(|listener| {
        // Says nothing: its disk has to come to speed, and its first words wait for the first answer.
        part(accept(&listener));
        let mut link = accept(&listener);
        greet(&mut link, Role::Slave);
        link.flush().unwrap();
        let (number, question) = hear::<Request>(&mut link);
        assert_eq!(question, look("/a"));
        link.send(number, &facts(8));
        part(link);
    });
    let mut client = unconnected(&slave);
    assert_eq!(size(&mut client, "/a"), Ok(8));
    end(client, [slave]);
}

#[test]
fn neither_a_master_nor_the_slave_that_it_offers_is_waited_for() {
    let slave = offered_slave();
    let master = master(slave.address);
    let mut client = unconnected(&master);
    assert_eq!(size(&mut client, "/a"), Ok(7));
    end(client, [master, slave]);
}
