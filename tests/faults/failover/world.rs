//! A master, three slaves and a client, each in a network of its own behind one router, over one storage.
//!
//! The router counts every byte that goes to a slave or comes from it, whatever becomes of the processes.

use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::harness::{
    Client, PATIENCE, Place, Router, Server, connected_to, is_still_sent_to, master_binary,
    peers_of, random_bytes, slave_binary, staged, wait_until, write_file,
};

pub(super) const SLAVES: usize = 3;

/// How the connections of a world are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    pub(super) is_encrypted: bool,
    /// Bytes of content a second that each slave lets pass: so little that the processors rest.
    pub(super) rate: u64,
}

const MASTER: usize = SLAVES;
const CLIENT: usize = SLAVES + 1;

const MASTER_PORT: u16 = 2121;

/// Between two looks at whether all slaves are there again; each is a process.
const LOOK: Duration = Duration::from_millis(100);

/// Bytes that went from each slave to the router, or from the router to each slave.
pub(super) type Counts = [u64; SLAVES];

/// Which way the content goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Get,
    Put,
}

pub(super) struct World {
    // Processes stand before the folder they work in: fields are dropped in this order.
    pub(super) slaves: Vec<Server>,
    _master: Server,
    pub(super) client: Client,
    pub(super) manner: Manner,
    router: Router,
    places: Vec<Place>,
    directory: TempDir,
}

impl World {
    /// Starts everything; not where that is not allowed.
    pub(super) fn new(manner: Manner) -> Result<Self, String> {
        let router = Router::new()?;
        let places = (0..=CLIENT).map(|node| router.join(node as u8));
        let places = places.collect::<Result<Vec<_>, _>>()?;
        let directory = tempfile::tempdir().unwrap();
        for folder in ["root", "home"] {
            fs::create_dir(directory.path().join(folder)).unwrap();
        }
        let tls = if manner.is_encrypted { "auto" } else { "never" };
        let start = |node: usize, label: String, program: &Path, words: &str, port: u16| {
            let folder = |name: &str| directory.path().join(name).into_os_string();
            let mut arguments: Vec<OsString> = words.split_whitespace().map(Into::into).collect();
            arguments.extend(["--tls".into(), tls.into(), "--bind".into()]);
            arguments.extend([address(node).into(), "--state".into(), folder("state")]);
            if node < SLAVES {
                arguments.extend(["--root".into(), folder("root")]);
            } else {
                arguments.push("--port".into());
            }
            let start =
                || Server::start_at(port, label, program, (arguments, folder("home").into()));
            places[node].run(start)
        };
        let open = "--anonymous read-write";
        let master = start(
            MASTER,
            "ftpmaster".to_owned(),
            master_binary(),
            open,
            MASTER_PORT,
        );
        let serves = format!(
            "--master {}:{MASTER_PORT} --workers 2 --limit-rate {}",
            address(MASTER),
            manner.rate
        );
        // A slave is known by its port and its storage: each has a port of its own.
        let slaves = (0..SLAVES).map(|node| {
            let port = MASTER_PORT + 1 + u16::try_from(node).unwrap();
            start(
                node,
                format!("ftpslave {}", node + 1),
                slave_binary(),
                &serves,
                port,
            )
        });
        let slaves = slaves.collect();
        let host = format!("{}:{MASTER_PORT}", address(MASTER));
        let client = Client::new(host).options(["--tls", tls]);
        let world = Self {
            slaves,
            _master: master,
            client,
            manner,
            router,
            places,
            directory,
        };
        world.wait_for_slaves();
        Ok(world)
    }

    /// Puts there what is fetched (`a.bin`, and `long.bin`) and what is sent (`sent.bin`, with the content of `a.bin`).
    pub(super) fn furnish(&self, seed: u64, length: u64, long: u64) {
        let content = random_bytes(seed, length as usize);
        write_file(&self.root().join("a.bin"), &content);
        self.client.write("sent.bin", &content);
        let content = random_bytes(!seed, long as usize);
        write_file(&self.root().join("long.bin"), &content);
        // Nobody shall have to wait for a digest.
        let sum = || self.client.run(["sum", "a.bin", "long.bin"]);
        self.outside().run(sum).succeeded();
    }

    pub(super) fn root(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    /// The client's network.
    pub(super) fn outside(&self) -> &Place {
        &self.places[CLIENT]
    }

    /// The network of a slave.
    pub(super) fn place(&self, slave: usize) -> &Place {
        &self.places[slave]
    }

    pub(super) fn router(&self) -> &Place {
        self.router.place()
    }

    /// Where a slave is, for `ip` and `ss`.
    pub(super) fn address(slave: usize) -> String {
        address(slave)
    }

    /// The connections of clients that a slave has, by their other ends.
    pub(super) fn clients_of(&self, slave: usize) -> Vec<SocketAddr> {
        let listens = self.slaves[slave].address;
        self.places[slave].run(|| peers_of(listens))
    }

    /// Whether the client has a session, with each slave.
    pub(super) fn serving(&self) -> [bool; SLAVES] {
        let connected = self.outside().run(connected_to);
        std::array::from_fn(|slave| connected.contains(&self.slaves[slave].address))
    }

    /// Does `work` where the router's counters can be read, as often as it likes.
    pub(super) fn counting<T: Send>(
        &self,
        way: Way,
        work: impl FnOnce(&dyn Fn() -> Counts) -> T + Send,
    ) -> T {
        self.router.place().run(|| work(&|| counts(way)))
    }

    /// Starts a slave again that was killed.
    pub(super) fn restart(&mut self, slave: usize) {
        let server = &mut self.slaves[slave];
        self.places[slave].run(|| server.restart());
    }

    /// Waits until the master offers every slave, and nobody holds anything of a transfer any more.
    pub(super) fn wait_for_rest(&self) {
        self.wait_for_slaves();
        wait_until("the slaves to let their clients go", 2 * PATIENCE, || {
            (0..SLAVES).all(|slave| self.clients_of(slave).is_empty())
        });
        wait_until("the staging to be empty", PATIENCE, || {
            staged(&self.root()).is_empty()
        });
    }

    /// Waits until the master offers every slave, and the client's kernel has nothing left for any: a transfer that gave one up
    /// leaves there what it did not take.
    pub(super) fn wait_for_slaves(&self) {
        let end = Instant::now() + PATIENCE;
        loop {
            let answer = self.outside().run(|| self.client.run(["slaves"]));
            let up = |line: &&str| line.contains(" up ");
            if answer.stdout.lines().filter(up).count() == SLAVES {
                break;
            }
            assert!(Instant::now() < end, "{}\n{}", answer.stdout, answer.stderr);
            thread::sleep(LOOK);
        }
        let is_left = |slave: &Server| is_still_sent_to(slave.address);
        wait_until(
            "what was left for the slaves to arrive",
            2 * PATIENCE,
            || self.outside().run(|| !self.slaves.iter().any(is_left)),
        );
    }
}

fn address(node: usize) -> String {
    Router::ip(node as u8).to_string()
}

/// What the router's devices have carried so far (proc_pid_net(5)): of each, received bytes first, sent bytes ninth.
fn counts(way: Way) -> Counts {
    let table = fs::read_to_string("/proc/thread-self/net/dev").unwrap();
    std::array::from_fn(|slave| {
        let name = Router::line(slave as u8);
        let line = table.lines().find_map(|line| {
            let (device, figures) = line.split_once(':')?;
            (device.trim() == name).then_some(figures)
        });
        let place = match way {
            Way::Get => 0,
            Way::Put => 8,
        };
        let figure = line.and_then(|line| line.split_whitespace().nth(place));
        figure.unwrap().parse().unwrap()
    })
}
