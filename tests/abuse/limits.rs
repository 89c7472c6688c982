//! The limits against abuse, each as its victim hears it and as the operator reads it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use protocol::frame::{Header, KEEP_ALIVE};
use protocol::{
    ErrorCode, MasterReply, MasterRequest, Message, Reply, Request, Secretive, SlaveOffer, Text,
};
use rustix::process::Signal;

use super::crowd::login;
use super::{PASSWORD, at, everywhere, logs};
use crate::harness::{
    Cluster, PATIENCE, Setup, Wire, among_neighbours, done_as_superuser, signal_pid, user_command,
    wait_for, wait_until,
};

/// A connection, and the line with which the server greets it.
fn knock(server: SocketAddr) -> (TcpStream, String) {
    let stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut line = String::new();
    BufReader::new(&stream).read_line(&mut line).unwrap();
    (stream, line)
}

/// As many connections as are let in, up to `most`, and what the next one hears.
fn fill(servers: &[SocketAddr], most: usize) -> (Vec<TcpStream>, String) {
    let mut inside = Vec::new();
    loop {
        let (stream, line) = knock(servers[inside.len() % servers.len()]);
        if !line.starts_with("220 ") {
            return (inside, line);
        }
        inside.push(stream);
        assert!(inside.len() <= most, "nobody is refused");
    }
}

/// How long it takes until the server closes.
fn closes(stream: &mut TcpStream) -> Duration {
    let begun = Instant::now();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.read_to_end(&mut Vec::new()).ok();
    begun.elapsed()
}

fn with(setup: Setup, options: &[&str]) -> Setup {
    setup.master_options(options).slave_options(options)
}

/// Stops both servers; each has told how often every one of these limits was hit.
fn assert_told(cluster: &mut Cluster, limits: &[&str]) {
    assert!(cluster.slaves[0].process.terminate(PATIENCE).success());
    assert!(cluster.master().process.terminate(PATIENCE).success());
    let log = logs(cluster);
    for server in ["ftpslave[", "ftpmaster["] {
        let told = |line: &&str| line.contains(server) && line.contains("limits were hit: ");
        let told: Vec<&str> = log.lines().filter(told).collect();
        for limit in limits {
            let is_told = told.iter().any(|line| line.contains(&format!("{limit} ")));
            assert!(is_told, "{server}: {limit}\n{log}");
        }
    }
}

/// What a user is offered who logs in there.
fn offer(master: SocketAddr, user: &str, password: &str) -> Result<(Wire, SlaveOffer), String> {
    let mut wire = Wire::open(master);
    match wire.ask(&login(user, password)) {
        MasterReply::Welcome { .. } => {}
        MasterReply::Error { detail, .. } => return Err(detail.as_str().to_owned()),
        other => panic!("{other:?}"),
    }
    let locate = MasterRequest::Locate {
        tried: Vec::new(),
        renew: false,
    };
    match wire.ask(&locate) {
        MasterReply::Located { mut slaves, .. } => Ok((wire, slaves.remove(0))),
        other => panic!("{other:?}"),
    }
}

/// Something that nobody understands.
struct Nonsense;

impl Message for Nonsense {
    fn kind(&self) -> u16 {
        0x7777
    }

    fn encode(&self, _payload: &mut Vec<u8>) {}

    fn decode(_kind: u16, _payload: &[u8]) -> Result<Self, protocol::DecodeError> {
        Ok(Self)
    }
}

/// Sends frames of that kind until the server has had enough.
fn never_pauses(server: SocketAddr, kind: u16) {
    let mut wire = Wire::open(server);
    let mut hears = wire.socket().try_clone().unwrap();
    let payload: &[u8] = match kind {
        KEEP_ALIVE => &[],
        _ => &[0; 4],
    };
    let header = Header {
        length: payload.len().try_into().unwrap(),
        request: 1,
        kind,
    };
    let frame = [&header.encode(payload)[..], payload].concat();
    std::thread::scope(|scope| {
        scope.spawn(|| std::io::copy(&mut hears, &mut std::io::sink()).ok());
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end && wire.socket().write_all(&frame.repeat(1000)).is_ok() {}
        wire.socket().shutdown(Shutdown::Both).unwrap_or_default();
    });
}

#[test]
fn deadlines_are_as_the_operator_sets_them_and_counted() {
    let options = [
        "--first-byte-timeout",
        "1",
        "--login-timeout",
        "2",
        "--idle-timeout",
        "3",
    ];
    let mut cluster = with(everywhere(), &options).start();
    let (master, slave) = (cluster.address(), cluster.slaves[0].address);
    // What is waited for may be seen late on a busy machine; it must not come early.
    let near = |begun: Instant, seconds: u64| {
        let (took, due) = (begun.elapsed(), Duration::from_secs(seconds));
        assert!(took >= due && took < due + PATIENCE / 2, "{took:?}");
    };
    std::thread::scope(|scope| {
        let probe = Request::Probe { worker: 0 }.kind();
        for (server, kind) in [(master, KEEP_ALIVE), (slave, probe)] {
            scope.spawn(move || {
                let begun = Instant::now();
                closes(&mut knock(server).0);
                near(begun, 1);
            });
            scope.spawn(move || {
                let begun = Instant::now();
                closes(Wire::open(server).socket());
                near(begun, 2);
            });
            scope.spawn(move || {
                let mut wire = Wire::open(server);
                for _ in 0..10 {
                    wire.send(&Nonsense);
                }
                assert!(closes(wire.socket()) < Duration::from_secs(1));
            });
            scope.spawn(move || {
                let begun = Instant::now();
                never_pauses(server, kind);
                near(begun, 2);
            });
        }
        scope.spawn(|| {
            let (mut logged_in, offer) = offer(master, "ada", PASSWORD).unwrap();
            let mut session = Wire::open(slave);
            let begun = Instant::now();
            let welcome = session.present(&offer);
            assert!(matches!(welcome, Reply::Welcome { .. }), "{welcome:?}");
            closes(session.socket());
            near(begun, 3);
            closes(logged_in.socket());
        });
    });
    assert_told(
        &mut cluster,
        &["first-byte 1", "login 2", "unknown-requests 1", "idle 1"],
    );
}

#[test]
fn so_many_connections_are_taken_and_the_next_hears_why_not() {
    let mut cluster = with(everywhere(), &["--max-connections", "30"]).start();
    for server in [cluster.address(), cluster.slaves[0].address] {
        // Others come and go: the slave's registrar, the master's questions.
        let (inside, line) = fill(&[server], 30);
        assert!(inside.len() > 25, "{}", inside.len());
        assert!(
            line.starts_with("421 this server has too many connections"),
            "{line}"
        );
        drop(inside);
        wait_until("places to be free again", PATIENCE, || {
            knock(server).1.starts_with("220 ")
        });
    }
    assert_told(&mut cluster, &["connections"]);
}

#[test]
fn sources_and_users_are_limited_over_all_workers_and_a_killed_one_gives_back() {
    if done_as_superuser() {
        return;
    }
    among_neighbours(|| {
        let options = [
            "--max-per-source",
            "6",
            "--max-per-user",
            "3",
            "--max-pending",
            "4:100:4",
            "--first-byte-timeout",
            "5",
        ];
        let mut cluster = with(everywhere(), &options).start();
        let (master, slave) = (cluster.address(), cluster.slaves[0].address);
        for server in [master, slave] {
            users_and_sources(server, (master, slave));
            // The limit is the network's, whoever of it comes.
            let neighbours = [1, 2, 3].map(|number| at(Ipv4Addr::new(10, 2, 2, number), server));
            let (inside, line) = fill(&neighbours, 4);
            assert_eq!(inside.len(), 4);
            assert!(
                line.starts_with("421 too many logins from your network"),
                "{line}"
            );
            assert!(
                knock(at(Ipv4Addr::new(10, 2, 3, 1), server))
                    .1
                    .starts_with("220 ")
            );
        }
        killed_workers_give_back(&cluster);
        misbehaviour(master, slave);
        assert_told(
            &mut cluster,
            &["per-source", "per-user", "pending", "penalty"],
        );
    });
}

/// Three sessions of each of two users, all from one address; what the fourth of a user and the seventh of the address hear.
fn users_and_sources(server: SocketAddr, (master, slave): (SocketAddr, SocketAddr)) {
    let source = Ipv4Addr::new(10, 1, 1, 1);
    let enter = |user: &str, password: &str| {
        let at_home = at(Ipv4Addr::LOCALHOST, master);
        if server == master {
            return offer(at(source, master), user, password).map(|(wire, _)| wire);
        }
        let (_, offer) = offer(at_home, user, password)?;
        let mut wire = Wire::open(at(source, slave));
        match wire.present(&offer) {
            Reply::Welcome { .. } => Ok(wire),
            Reply::Error { code, detail } => {
                assert_eq!(code, ErrorCode::Busy);
                assert!(closes(wire.socket()) < Duration::from_secs(1));
                Err(detail.as_str().to_owned())
            }
            other => panic!("{other:?}"),
        }
    };
    let mut inside: Vec<Wire> = Vec::new();
    for (user, password) in [("ada", PASSWORD), ("mallory", "let me in")] {
        for _ in 0..3 {
            inside.push(enter(user, password).unwrap());
        }
        if user == "ada" {
            assert_eq!(
                enter(user, password).unwrap_err(),
                "this user has too many sessions"
            );
        }
    }
    let line = knock(at(source, server)).1;
    assert!(
        line.starts_with("421 your address has too many connections"),
        "{line}"
    );
    // From this machine nobody counts for source or user.
    let home = at(Ipv4Addr::LOCALHOST, server);
    assert!(
        (0..7)
            .map(|_| knock(home))
            .collect::<Vec<_>>()
            .iter()
            .all(|(_, line)| line.starts_with("220 "))
    );
}

fn killed_workers_give_back(cluster: &Cluster) {
    let slave = &cluster.slaves[0];
    let neighbour = [at(Ipv4Addr::new(10, 4, 4, 1), slave.address)];
    let (inside, _) = fill(&neighbour, 4);
    let old = slave.workers();
    old.iter().for_each(|pid| signal_pid(*pid, Signal::KILL));
    wait_until("new workers", PATIENCE, || {
        let new = slave.workers();
        new.len() == old.len() && !new.iter().any(|pid| old.contains(pid))
    });
    let (again, _) = wait_for("room for others", PATIENCE, || {
        Some(fill(&neighbour, 4)).filter(|(inside, _)| !inside.is_empty())
    });
    assert_eq!((inside.len(), again.len()), (4, 4));
}

/// Who guesses passwords, and who says nothing, is not listened to any more; their neighbour is.
fn misbehaviour(master: SocketAddr, slave: SocketAddr) {
    let guesser = at(Ipv4Addr::new(10, 5, 5, 1), master);
    let mut wire = Wire::open(guesser);
    for _ in 0..3 {
        let refused: MasterReply = wire.ask(&login("ada", "wrong"));
        assert!(matches!(
            refused,
            MasterReply::Error {
                code: ErrorCode::LoginRefused,
                ..
            }
        ));
    }
    assert!(closes(wire.socket()) < Duration::from_secs(1));
    let silent = at(Ipv4Addr::new(10, 6, 6, 1), slave);
    let mut both = [knock(silent).0, knock(silent).0];
    for stream in &mut both {
        closes(stream);
    }
    for (bad, neighbour) in [
        (guesser, at(Ipv4Addr::new(10, 5, 5, 2), master)),
        (silent, at(Ipv4Addr::new(10, 6, 6, 2), slave)),
    ] {
        let line = wait_for("the end to be noted", PATIENCE, || {
            Some(knock(bad).1).filter(|line| line.starts_with("421 "))
        });
        assert!(line.contains("too many failed logins"), "{line}");
        assert!(knock(neighbour).1.starts_with("220 "));
    }
}

/// A slave that keeps accounts itself penalises, too; also whoever had come in before.
#[test]
fn a_slave_that_stands_alone_penalises_who_guesses() {
    if done_as_superuser() {
        return;
    }
    among_neighbours(|| {
        let folder = tempfile::tempdir().unwrap();
        user_command(folder.path(), ["add", "ada"], PASSWORD).succeeded();
        let users = folder.path().join("users.toml");
        let cluster = Setup::new(1)
            .without_master()
            .at(Ipv4Addr::UNSPECIFIED)
            .slave_options(["--users".into(), users.into_os_string()])
            .start();
        let slave = at(Ipv4Addr::new(10, 7, 7, 1), cluster.slaves[0].address);
        let try_in = |wire: &mut Wire, password: &str| {
            let login = Request::Login {
                user: Text::new("ada"),
                password: Secretive::new(password.as_bytes()).unwrap(),
            };
            match wire.ask(&login) {
                Reply::Error { code, .. } => Some(code),
                _ => None,
            }
        };
        let (mut early, mut guesser) = (Wire::open(slave), Wire::open(slave));
        for _ in 0..3 {
            assert_eq!(try_in(&mut guesser, "wrong"), Some(ErrorCode::LoginRefused));
        }
        assert_eq!(try_in(&mut early, PASSWORD), Some(ErrorCode::Busy));
        assert!(knock(slave).1.starts_with("421 too many failed logins"));
        let mut neighbour = Wire::open(at(Ipv4Addr::new(10, 7, 7, 2), slave));
        assert_eq!(try_in(&mut neighbour, PASSWORD), None);
    });
}

/// Whoever comes when the descriptors become few hears it at once, and nothing is refused for want of one.
#[test]
fn a_worker_keeps_descriptors_for_those_it_serves() {
    let few = ["sh", "-c", r#"ulimit -n 400 && exec "$0" "$@""#];
    let setup = Setup::new(1).without_master().workers(1);
    let cluster = setup.behind(few.map(Into::into).to_vec()).start();
    let slave = &cluster.slaves[0];
    let (inside, line) = fill(&[slave.address], 400);
    assert!(
        line.starts_with("421 this server has too many connections"),
        "{line}"
    );
    assert!(!slave.process.stderr().contains("accepting pauses"));
    drop(inside);
    wait_until("others to be served", PATIENCE, || {
        knock(slave.address).1.starts_with("220 ")
    });
}
