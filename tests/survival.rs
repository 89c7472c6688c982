//! A slave that ends in the middle of a large transfer, however it ends: the others go on within five seconds, nothing is
//! sent twice but what was on its way, the user sees one line, and the content is right.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::harness::{
    Client, Cluster, Direction, PATIENCE, Process, Proxy, Setup, digest_of, random_bytes, staged,
    wait_until,
};

const MEBIBYTE: u64 = 1024 * 1024;

/// Larger than what is worth several streams; the last block is no whole one.
const SIZE: u64 = 48 * MEBIBYTE + 100;

/// As promised, counted from the moment at which the slave ended.
const GOES_ON_WITHIN: Duration = Duration::from_secs(5);

/// Everything on a wire that is no content.
const WORDS: u64 = 100_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Get,
    StripedGet,
    Put,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// kill -9 of all its processes.
    Killed,
    /// SIGSTOP of all of them: the connections stand.
    Stopped,
    /// Nothing passes between it and the client.
    CutOff,
    /// SIGTERM, and a grace that is too short for the transfer.
    Terminated,
}

impl Way {
    fn direction(self) -> Direction {
        match self {
            Self::Get | Self::StripedGet => Direction::ToClient,
            Self::Put => Direction::ToServer,
        }
    }

    /// Most that may be sent again: the block in flight; of a put, what its slave had not read yet; striped, what several
    /// streams are asked for at the very end as well.
    fn in_flight(self) -> u64 {
        match self {
            Self::Get => MEBIBYTE,
            Self::Put => 2 * MEBIBYTE,
            Self::StripedGet => 4 * MEBIBYTE,
        }
    }

    /// So slow that enough is left when the end is noticed; striped, when all three slaves take part, however late.
    fn rate(self) -> &'static str {
        match self {
            Self::StripedGet => "5M",
            Self::Get | Self::Put => "16M",
        }
    }
}

/// Three slaves, each at the other end of a wire that is watched, and a large file on its way.
struct Scene {
    cluster: Cluster,
    wires: Vec<Proxy>,
    client: Client,
    content: Vec<u8>,
    way: Way,
}

impl Scene {
    fn new(way: Way) -> Self {
        let mut cluster = Setup::new(0).slave_options(["--grace", "1"]).start();
        let wires: Vec<Proxy> = (0..3).map(|_| Proxy::listen()).collect();
        for wire in &wires {
            cluster.add_slave_behind(wire);
        }
        cluster.wait_for_slaves(wires.len());
        let streams = if way == Way::StripedGet { "3" } else { "1" };
        let client = cluster.client().options(["--streams", streams]);
        let content = random_bytes(SIZE, SIZE as usize);
        match way {
            Way::Get | Way::StripedGet => cluster.write("a.bin", &content),
            Way::Put => drop(client.write("a.bin", &content)),
        }
        Self {
            cluster,
            wires,
            client,
            content,
            way,
        }
    }

    /// Starts the transfer and returns in the middle of it.
    fn begin(&self) -> Process {
        let verb = match self.way {
            Way::Get | Way::StripedGet => "get",
            Way::Put => "put",
        };
        let rate = self.way.rate();
        let words = ["--json", "--limit-rate", rate, verb, "a.bin"];
        let transfer = self.client.spawn(words);
        wait_until("the transfer to be under way", PATIENCE, || {
            let passed = self.passed();
            let is_shared = passed.iter().all(|passed| *passed > MEBIBYTE);
            let all: u64 = passed.iter().sum();
            all > 8 * MEBIBYTE && (is_shared || self.way != Way::StripedGet)
        });
        transfer
    }

    /// Bytes that passed over each wire so far, the way that the content goes.
    fn passed(&self) -> Vec<u64> {
        let direction = self.way.direction();
        let wires = self.wires.iter();
        wires.map(|wire| wire.forwarded(direction)).collect()
    }

    fn strike(&mut self, slave: usize, end: End) {
        match end {
            End::Killed => self.cluster.slaves[slave].kill(),
            End::Stopped => self.cluster.slaves[slave].signal_all(Signal::STOP),
            End::CutOff => self.wires[slave].sever(),
            End::Terminated => self.cluster.slaves[slave].process.signal(Signal::TERM),
        }
    }

    #[track_caller]
    fn assert_whole(&self) {
        assert!(self.client.read("a.bin") == self.content, "local");
        let stored = std::fs::read(self.cluster.path("a.bin")).unwrap();
        assert!(stored == self.content, "stored");
        assert_eq!(self.client.names(), ["a.bin"]);
        assert_eq!(staged(&self.cluster.root()).len(), 0);
    }
}

fn survives(way: Way, end: End) {
    let mut scene = Scene::new(way);
    let mut transfer = scene.begin();
    let before = scene.passed();
    let lost = (0..before.len())
        .max_by_key(|slave| before[*slave])
        .unwrap();
    scene.strike(lost, end);
    let begun = Instant::now();
    let since = |scene: &Scene| -> u64 {
        let passed = scene.passed();
        let others = (0..passed.len()).filter(|slave| *slave != lost);
        others.map(|slave| passed[slave] - before[slave]).sum()
    };
    wait_until("the others to go on", PATIENCE, || since(&scene) > MEBIBYTE);
    if way == Way::StripedGet {
        // The other streams went on anyway: what counts is when the blocks of the lost one are given to them.
        transfer.wait_for_line("lost", PATIENCE);
    }
    let took = begun.elapsed();
    assert!(took < GOES_ON_WITHIN, "{took:?}");
    assert_eq!(transfer.wait_code(PATIENCE), 0, "{}", transfer.stderr());

    let told = transfer.stderr();
    assert_eq!(told.lines().count(), 1, "{told}");
    let address = scene.wires[lost].address;
    assert!(told.contains(&format!("slave {address} lost (")), "{told}");
    assert!(told.contains("going on with"), "{told}");

    let since = since(&scene);
    let left = SIZE - before.iter().sum::<u64>().min(SIZE);
    assert!(
        since <= left + way.in_flight() + WORDS,
        "{since} bytes passed where {left} were left"
    );

    let result: serde_json::Value = serde_json::from_str(&transfer.stdout()).unwrap();
    assert_eq!(result["blake3"], digest_of(&scene.content));
    assert_eq!(result["verified"], true);
    scene.assert_whole();
    if end == End::Stopped {
        // Awake again, it must not disturb what the others have stored.
        scene.cluster.slaves[lost].signal_all(Signal::CONT);
        scene.cluster.wait_for_slaves(3);
        scene.assert_whole();
    }
}

#[test]
fn a_get_survives_a_killed_slave() {
    survives(Way::Get, End::Killed);
}

#[test]
fn a_get_survives_a_stopped_slave() {
    survives(Way::Get, End::Stopped);
}

#[test]
fn a_get_survives_a_cut_link() {
    survives(Way::Get, End::CutOff);
}

#[test]
fn a_get_survives_a_slave_that_is_shut_down() {
    survives(Way::Get, End::Terminated);
}

#[test]
fn a_striped_get_survives_a_killed_slave() {
    survives(Way::StripedGet, End::Killed);
}

#[test]
fn a_striped_get_survives_a_stopped_slave() {
    survives(Way::StripedGet, End::Stopped);
}

#[test]
fn a_striped_get_survives_a_cut_link() {
    survives(Way::StripedGet, End::CutOff);
}

#[test]
fn a_striped_get_survives_a_slave_that_is_shut_down() {
    survives(Way::StripedGet, End::Terminated);
}

#[test]
fn a_put_survives_a_killed_slave() {
    survives(Way::Put, End::Killed);
}

#[test]
fn a_put_survives_a_stopped_slave() {
    survives(Way::Put, End::Stopped);
}

#[test]
fn a_put_survives_a_cut_link() {
    survives(Way::Put, End::CutOff);
}

#[test]
fn a_put_survives_a_slave_that_is_shut_down() {
    survives(Way::Put, End::Terminated);
}
