//! The master is killed and started again while slaves are registered and clients ask: how long until the first of them is
//! sent to a slave, and until every slave is back. `make restart` runs it at full size: `MINI_FTP_ROUNDS` (2) restarts with
//! `MINI_FTP_SLAVES` (6) slaves and `MINI_FTP_CLIENTS` (8) clients that ask, the same pauses for the same `MINI_FTP_SEED`
//! (drawn, and shown). Where `MINI_FTP_MILLISECONDS` is set, the first must be sent within so many each time.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use protocol::limits::MAX_GREETING;
use protocol::{
    ClientPreface, Connection, ConnectionError, MasterReply, MasterRequest, ServerPreface,
};

use crate::harness::{Choices, Cluster, PATIENCE, Setup, processor_time, seed, setting, wait_for};

/// Between two questions of one client.
const PAUSE: Duration = Duration::from_millis(20);

/// Longest that a client waits for a word.
const LIMIT: Duration = Duration::from_secs(1);

/// How long no slave may be missing any more once all are back: more than three heartbeats.
const STEADY: Duration = Duration::from_secs(4);

/// Processor time that all slaves together may take for looking for their master, of each second.
const LOOKING: f64 = 0.5;

/// Processor time that a master may take to start, and to take all of them in.
const TAKING_IN: Duration = Duration::from_secs(1);

/// What clients were told.
type Told = Mutex<Vec<Answer>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Answer {
    asked: Instant,
    heard: Instant,
    /// To how many the client could go.
    slaves: usize,
}

/// One restart.
struct Restart {
    first: Duration,
    all: Duration,
    processor: Duration,
}

#[test]
fn a_master_that_is_started_again_sends_clients_to_its_slaves_at_once() {
    let seed = seed();
    let rounds = setting("MINI_FTP_ROUNDS", 2);
    let slaves = setting("MINI_FTP_SLAVES", 6) as usize;
    let clients = setting("MINI_FTP_CLIENTS", 8);
    let limit = setting("MINI_FTP_MILLISECONDS", PATIENCE.as_millis() as u64);
    eprintln!("MINI_FTP_SEED={seed} MINI_FTP_ROUNDS={rounds} MINI_FTP_SLAVES={slaves}");
    let mut choices = Choices(seed);
    // Over TLS a registration costs most.
    let setup = Setup::new(slaves).workers(1);
    let mut cluster = setup.slave_options(["--tls", "always"]).start();
    let before: Vec<_> = cluster.slaves.iter().map(|slave| slave.family()).collect();
    let (told, is_over) = (Told::default(), AtomicBool::new(false));
    let address = cluster.address();
    let restarts: Vec<_> = thread::scope(|threads| {
        for _ in 0..clients {
            threads.spawn(|| keep_asking(address, &told, &is_over));
        }
        let _ends_with_us = Ends(&is_over);
        let draw = |_| Duration::from_millis(choices.below(4_000));
        let outages: Vec<_> = (0..rounds).map(draw).collect();
        let restart = |outage| restart(&mut cluster, outage, &told);
        outages.into_iter().map(restart).collect()
    });
    let after: Vec<_> = cluster.slaves.iter().map(|slave| slave.family()).collect();
    assert_eq!(before, after, "processes of slaves");
    let latest = |of: fn(&Restart) -> Duration| restarts.iter().map(of).max().unwrap();
    let (first, all) = (
        latest(|restart| restart.first),
        latest(|restart| restart.all),
    );
    eprintln!(
        "seed {seed}: {rounds} restarts, {slaves} slaves, {clients} clients: first redirect within {:.2} s, all slaves within \
         {:.2} s, the master's processor time {:.2} s",
        first.as_secs_f64(),
        all.as_secs_f64(),
        latest(|restart| restart.processor).as_secs_f64()
    );
    assert!(first <= Duration::from_millis(limit), "{first:?}");
}

/// Sets a flag when it goes, be it by a failed assertion.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

fn restart(cluster: &mut Cluster, outage: Duration, told: &Told) -> Restart {
    let count = cluster.slaves.len();
    let spent = |cluster: &Cluster| -> Duration {
        let family = cluster.slaves.iter().flat_map(|slave| slave.family());
        family.map(processor_time).sum()
    };
    cluster.master().process.kill();
    // Real clients, which pause ever longer between two tries.
    let clients = [(); 2].map(|()| cluster.client().options(["--wait", "60"]));
    let mut waiting = clients.each_ref().map(|client| client.spawn(["ls"]));
    let (down, spent_before) = (Instant::now(), spent(cluster));
    // The moment is the test's choice, not something that it waits for.
    thread::sleep(outage);
    let looked = (spent(cluster) - spent_before).as_secs_f64();
    let most = down.elapsed().as_secs_f64().max(1.0) * LOOKING;
    assert!(looked <= most, "{looked} s of processor time");

    let begun = Instant::now();
    cluster.master().restart();
    let moment = |wanted: usize| {
        wait_for("clients to be sent to slaves", PATIENCE, || {
            let told = told.lock().unwrap();
            let is_it = |told: &&Answer| told.asked >= down && told.slaves >= wanted;
            told.iter().find(is_it).map(|told| told.heard)
        })
    };
    let (first, all) = (moment(1), moment(count));
    let processor = processor_time(cluster.master().pid());
    assert!(processor <= TAKING_IN, "{processor:?}");
    for client in &mut waiting {
        assert_eq!(client.wait_code(PATIENCE), 0, "{}", client.stderr());
    }
    // Nobody is lost again that is back.
    thread::sleep(STEADY.saturating_sub(all.elapsed()));
    let told = std::mem::take(&mut *told.lock().unwrap());
    let lost = told
        .iter()
        .find(|told| told.asked > all && told.slaves < count);
    assert_eq!(lost, None, "of {count} slaves");
    Restart {
        first: first - begun,
        all: all - begun,
        processor,
    }
}

fn keep_asking(master: SocketAddr, told: &Told, is_over: &AtomicBool) {
    while !is_over.load(Relaxed) {
        // Nobody is there, or nobody knows of a slave: asked again soon.
        let asked = Instant::now();
        if let Ok(slaves) = ask(master) {
            let heard = Instant::now();
            told.lock().unwrap().push(Answer {
                asked,
                heard,
                slaves,
            });
        }
        thread::sleep(PAUSE);
    }
}

/// To how many slaves a client could go that comes now.
fn ask(master: SocketAddr) -> Result<usize, ConnectionError> {
    let stream = TcpStream::connect_timeout(&master, LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    let mut connection = Connection::new(stream);
    connection.send_raw(&ClientPreface::ours().encode());
    let locate = MasterRequest::Locate {
        tried: Vec::new(),
        renew: false,
    };
    connection.send(1, &locate);
    connection.flush()?;
    connection.read_line(MAX_GREETING)?;
    let mut preface = [0; ServerPreface::LENGTH];
    connection.read_exact(&mut preface)?;
    ServerPreface::decode(&preface)?;
    let header = connection.receive_answer()?;
    match connection.decode(&header)? {
        MasterReply::Located { slaves, .. } if !slaves.is_empty() => Ok(slaves.len()),
        _ => Err(io::Error::from(io::ErrorKind::NotFound).into()),
    }
}
