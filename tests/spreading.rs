//! Trees from and to several slaves at once, through the real programs: whoever dies, stops or has no place.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::harness::{
    Client, Cluster, Direction, Fault, Finished, PATIENCE, Process, Proxy, Session, Setup,
    random_bytes, staged, tree, wait_until, write_file,
};

/// Files of a tree, of every kind: sent whole, streamed, and for themselves.
const SMALL: usize = 1000;
const MIDDLING: usize = 4;
const LARGE: usize = 2;

/// So slow that the middle takes a moment: the small files alone three seconds.
const RATE: &str = "3M";

/// For those that run to their end: slow enough for all slaves to take part.
const UNDISTURBED: [&str; 2] = ["--limit-rate", "12M"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Get,
    Put,
}

/// A tree to be moved between a client that asks for three streams and the slaves.
struct Spread {
    cluster: Cluster,
    client: Client,
    way: Way,
}

fn fill(root: &Path) {
    for number in 0..SMALL {
        let name = format!("tree/folder {}/{number}.bin", number % 7);
        write_file(&root.join(name), &random_bytes(number as u64, 10_000));
    }
    for number in 0..MIDDLING {
        let name = format!("tree/folder {number}/middling.bin");
        write_file(&root.join(name), &random_bytes(1, 700_000 + number));
    }
    for number in 0..LARGE {
        let name = format!("tree/folder {number}/large.bin");
        write_file(&root.join(name), &random_bytes(2, 8_400_000 + number));
    }
}

impl Spread {
    fn new(way: Way) -> Self {
        Self::over(Cluster::start(3), way)
    }

    fn over(cluster: Cluster, way: Way) -> Self {
        let options = ["--json", "--streams", "3", "--limit-rate", RATE];
        let client = cluster.client().options(options);
        fill(&match way {
            Way::Get => cluster.root(),
            Way::Put => client.folder(),
        });
        Self {
            cluster,
            client,
            way,
        }
    }

    fn slaves(&self) -> Vec<SocketAddr> {
        let slaves = self.cluster.slaves.iter();
        slaves.map(|slave| slave.address).collect()
    }

    const fn command(&self) -> [&'static str; 3] {
        match self.way {
            Way::Get => ["get", "-r", "tree"],
            Way::Put => ["put", "-r", "tree"],
        }
    }

    fn target(&self) -> PathBuf {
        match self.way {
            Way::Get => self.client.path("tree"),
            Way::Put => self.cluster.path("tree"),
        }
    }

    /// Files that have their names, by their paths below the tree; they may be many more a moment later.
    fn arrived(&self) -> Vec<PathBuf> {
        let target = self.target();
        let mut found = Vec::new();
        for folder in fs::read_dir(&target).into_iter().flatten().flatten() {
            for file in fs::read_dir(folder.path()).unwrap().flatten() {
                let name = file.file_name().into_string().unwrap();
                if name.ends_with(".bin") && !name.starts_with('.') {
                    found.push(Path::new(&folder.file_name()).join(name));
                }
            }
        }
        found
    }

    /// Starts the transfer and returns in the middle of it, when every one of these has served a file: before, a
    /// connection that is lost need not be told of.
    fn begin(&self, slaves: &[SocketAddr]) -> Process {
        let transfer = self.client.spawn(self.command());
        for slave in slaves {
            transfer.wait_for_output(&format!("\"slave\":\"{slave}\""), PATIENCE);
        }
        assert!(self.arrived().len() < SMALL + MIDDLING + LARGE, "too late");
        transfer
    }

    /// All is there, and was told of once.
    #[track_caller]
    fn assert_moved(&self, results: &[serde_json::Value]) {
        assert_eq!(tree(&self.client.folder()), tree(&self.cluster.root()));
        let names: BTreeSet<_> = results
            .iter()
            .map(|result| result["remote"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(names.len(), SMALL + MIDDLING + LARGE);
        assert_eq!(results.len(), names.len(), "told twice");
    }

    #[track_caller]
    fn assert_went_on(&self, mut transfer: Process, lost: SocketAddr) {
        assert_eq!(transfer.wait_code(PATIENCE), 0, "{}", transfer.stderr());
        let said = transfer.stderr();
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains(&format!("slave {lost} lost")), "{said}");
        assert!(said.contains("going on with"), "{said}");
        self.assert_moved(&objects(&transfer.stdout()));
    }
}

fn objects(stdout: &str) -> Vec<serde_json::Value> {
    let object = |line| serde_json::from_str(line).unwrap();
    stdout.lines().map(object).collect()
}

fn who_served(results: &[serde_json::Value]) -> BTreeSet<String> {
    let slave = |result: &serde_json::Value| result["slave"].as_str().unwrap().to_owned();
    results.iter().map(slave).collect()
}

fn moves_with_all_slaves(way: Way) {
    let mut spread = Spread::new(way);
    spread.client = spread.client.options(UNDISTURBED);
    let finished = spread.client.run(spread.command());
    assert_eq!(finished.succeeded().stderr, "");
    let results = finished.json();
    spread.assert_moved(&results);
    assert_eq!(who_served(&results).len(), 3);
}

#[test]
fn a_tree_is_fetched_from_all_slaves() {
    moves_with_all_slaves(Way::Get);
}

#[test]
fn a_tree_is_sent_through_all_slaves() {
    moves_with_all_slaves(Way::Put);
}

fn moves_over_one_connection(way: Way) {
    let mut spread = Spread::new(way);
    spread.client = spread.client.options(UNDISTURBED);
    spread.client = spread.client.options(["--streams", "1"]);
    let finished = spread.client.run(spread.command());
    finished.succeeded();
    spread.assert_moved(&finished.json());
    assert_eq!(who_served(&finished.json()).len(), 1);
}

#[test]
fn one_stream_is_the_classic_way() {
    moves_over_one_connection(Way::Get);
    moves_over_one_connection(Way::Put);
}

fn survives_a_killed_slave(way: Way) {
    let mut spread = Spread::new(way);
    let slaves = spread.slaves();
    let transfer = spread.begin(&slaves);
    spread.cluster.slaves[1].kill();
    spread.assert_went_on(transfer, slaves[1]);
}

#[test]
fn a_slave_that_is_killed_is_not_missed_by_get() {
    survives_a_killed_slave(Way::Get);
}

#[test]
fn a_slave_that_is_killed_is_not_missed_by_put() {
    survives_a_killed_slave(Way::Put);
}

fn survives_a_stopped_slave(way: Way) {
    // The slaves set the pace: nothing that one sent before it was stopped waits in the client's buffers.
    let cluster = Setup::new(3).slave_options(["--limit-rate", "1M"]).start();
    let mut spread = Spread::over(cluster, way);
    spread.client = spread.client.options(["--limit-rate", "1G"]);
    let slaves = spread.slaves();
    let transfer = spread.begin(&slaves);
    let stopped = Instant::now();
    spread.cluster.slaves[2].signal_all(Signal::STOP);
    transfer.wait_for_line("lost", PATIENCE);
    let noticed = stopped.elapsed();
    assert!(noticed < Duration::from_secs(5), "{noticed:?}");
    spread.assert_went_on(transfer, slaves[2]);
    // Awake again, it must not disturb what the others have stored.
    spread.cluster.slaves[2].signal_all(Signal::CONT);
    spread.cluster.wait_for_slaves(3);
    wait_until("what it had received to be gone", PATIENCE, || {
        staged(&spread.cluster.root()).is_empty()
    });
    assert_eq!(tree(&spread.client.folder()), tree(&spread.cluster.root()));
}

#[test]
fn a_slave_that_is_stopped_is_not_waited_for_by_get() {
    survives_a_stopped_slave(Way::Get);
}

#[test]
fn a_slave_that_is_stopped_is_not_waited_for_by_put() {
    survives_a_stopped_slave(Way::Put);
}

fn survives_a_slave_that_is_shut_down(way: Way) {
    let spread = Spread::new(way);
    let slaves = spread.slaves();
    let transfer = spread.begin(&slaves);
    spread.cluster.slaves[1].process.signal(Signal::TERM);
    spread.assert_went_on(transfer, slaves[1]);
}

#[test]
fn a_slave_that_is_shut_down_is_not_missed_by_get() {
    survives_a_slave_that_is_shut_down(Way::Get);
}

#[test]
fn a_slave_that_is_shut_down_is_not_missed_by_put() {
    survives_a_slave_that_is_shut_down(Way::Put);
}

/// Two slaves, and a third behind a wire.
fn behind_a_wire() -> (Cluster, Proxy) {
    let mut cluster = Cluster::start(2);
    let proxy = Proxy::listen();
    let advertised = proxy.address.to_string();
    let slave = cluster.add_slave(&["--advertise", &advertised]).address;
    proxy.forward_to(slave);
    cluster.wait_for_slaves(3);
    (cluster, proxy)
}

fn survives_a_cut_wire(way: Way) {
    let (cluster, proxy) = behind_a_wire();
    let spread = Spread::over(cluster, way);
    let mut slaves = spread.slaves();
    slaves[2] = proxy.address;
    let transfer = spread.begin(&slaves);
    proxy.cut_all();
    spread.assert_went_on(transfer, proxy.address);
}

#[test]
fn a_wire_that_is_cut_is_not_missed_by_get() {
    survives_a_cut_wire(Way::Get);
}

#[test]
fn a_wire_that_is_cut_is_not_missed_by_put() {
    survives_a_cut_wire(Way::Put);
}

#[test]
fn a_slow_slave_ends_with_few() {
    for way in [Way::Get, Way::Put] {
        let (cluster, proxy) = behind_a_wire();
        proxy.always(Fault::Throttle {
            bytes_per_second: 200_000,
        });
        let mut spread = Spread::over(cluster, way);
        spread.client = spread.client.options(UNDISTURBED);
        let finished = spread.client.run(spread.command());
        finished.succeeded();
        let results = finished.json();
        spread.assert_moved(&results);
        let slow = proxy.address.to_string();
        let small = |result: &&serde_json::Value| result["bytes"] == 10_000;
        let of_slow = |result: &&serde_json::Value| result["slave"] == slow.as_str();
        let count = results.iter().filter(small).filter(of_slow).count();
        assert!(count < SMALL / 5, "{way:?}: {count}");
    }
}

/// Files of a folder whose listing takes some hundred kilobytes.
const MANY: usize = 8_000;

/// A folder of many names behind a wire over which the listing stalls half-way.
fn stalled_listing() -> (Cluster, Client, Proxy, Process) {
    let mut cluster = Setup::new(0).start();
    let proxy = Proxy::listen();
    let advertised = proxy.address.to_string();
    let slave = cluster.add_slave(&["--advertise", &advertised]).address;
    proxy.forward_to(slave);
    cluster.wait_for_slaves(1);
    for number in 0..MANY {
        cluster.write(format!("tree/{number}"), &number.to_be_bytes());
    }
    proxy.next(Fault::StallAfter {
        direction: Direction::ToClient,
        bytes: 200_000,
    });
    let client = cluster.client();
    let transfer = client.spawn(["get", "-r", "tree"]);
    (cluster, client, proxy, transfer)
}

#[test]
fn content_moves_before_the_listing_ends_and_a_listing_that_breaks_off_is_gone_on_with() {
    let (cluster, client, proxy, mut transfer) = stalled_listing();
    let published = || {
        let names = fs::read_dir(client.path("tree")).map(Iterator::count);
        names.unwrap_or(0)
    };
    wait_until("files to be there", PATIENCE, || published() > 500);
    assert!(published() < MANY && transfer.is_running());
    proxy.cut_all();
    assert_eq!(transfer.wait_code(PATIENCE), 0, "{}", transfer.stderr());
    let said = transfer.stderr();
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(tree(&client.folder()) == tree(&cluster.root()));
}

fn moves_with_one_place(way: Way) {
    let cluster = Setup::new(1).workers(1).sessions(1).start();
    let mut spread = Spread::over(cluster, way);
    spread.client = spread.client.options(UNDISTURBED);
    let finished = spread.client.run(spread.command());
    assert_eq!(finished.succeeded().stderr, "");
    spread.assert_moved(&finished.json());
}

#[test]
fn a_slave_with_a_single_place_lists_and_serves_in_turn() {
    moves_with_one_place(Way::Get);
    moves_with_one_place(Way::Put);
}

#[test]
fn slaves_without_a_free_place_are_passed_over() {
    let cluster = Setup::new(3).workers(1).sessions(1).start();
    let guests = [cluster.client(), cluster.client()];
    let guests: Vec<_> = guests.iter().map(Session::start).collect();
    for way in [Way::Get, Way::Put] {
        let name = format!("{way:?}");
        let client = cluster.client().options(["--json", "--streams", "3"]);
        let root = match way {
            Way::Get => cluster.path(&name),
            Way::Put => client.path(&name),
        };
        fill(&root);
        let verb = name.to_lowercase();
        let finished = client.run([verb.as_str(), "-r", &name]);
        assert_eq!(finished.succeeded().stderr, "");
        assert_eq!(who_served(&finished.json()).len(), 1);
        assert_eq!(tree(&client.path(&name)), tree(&cluster.path(&name)));
    }
    drop(guests);
}

fn goes_on_where_a_killed_run_was(way: Way) {
    let spread = Spread::new(way);
    let mut transfer = spread.begin(&[]);
    wait_until("middling files to be there", PATIENCE, || {
        let arrived = spread.arrived();
        arrived.iter().any(|path| path.ends_with("middling.bin"))
    });
    transfer.kill();
    let arrived = spread.arrived();
    let finished: Finished = spread.client.run(spread.command());
    finished.succeeded();
    let results = finished.json();
    spread.assert_moved(&results);
    let of = |path: &PathBuf| format!("/tree/{}", path.display());
    for path in &arrived {
        let name = of(path);
        let result = results.iter().find(|result| result["remote"] == *name);
        assert_eq!(result.unwrap()["status"], "unchanged", "{name}");
    }
    wait_until("nothing to be left of the first try", PATIENCE, || {
        staged(&spread.cluster.root()).is_empty()
    });
}

#[test]
fn what_a_killed_get_has_stored_is_not_fetched_again() {
    goes_on_where_a_killed_run_was(Way::Get);
}

#[test]
fn what_a_killed_put_has_stored_is_not_sent_again() {
    goes_on_where_a_killed_run_was(Way::Put);
}

/// Few files, and much in them: it is the bytes that make further streams worth while.
#[test]
fn few_files_of_some_megabytes_move_with_all_slaves() {
    let cluster = Cluster::start(3);
    let client = cluster.client().options(["--json", "--streams", "3"]);
    let client = client.options(["--limit-rate", "20M"]);
    for number in 0..15 {
        let name = format!("tree/{number}");
        client.write(&name, &random_bytes(number, 3_000_000));
    }
    for command in ["put", "get"] {
        let finished = client.run([command, "-r", "tree"]);
        finished.succeeded();
        assert_eq!(who_served(&finished.json()).len(), 3, "{command}");
        assert_eq!(tree(&client.folder()), tree(&cluster.root()));
        fs::remove_dir_all(client.path("tree")).unwrap();
    }
}

/// The name that one file gets beside an older one is another file's own: whoever comes later finds it taken.
#[test]
fn a_name_that_is_taken_on_the_way_costs_no_file() {
    let cluster = Cluster::start(1);
    let client = cluster.client().options(["--json"]);
    for number in 0..220 {
        cluster.write(format!("tree/{number}"), &random_bytes(number, 100));
    }
    cluster.write("tree/a", b"the slave's");
    cluster.write("tree/newa", b"another file");
    for _ in 0..5 {
        client.write("tree/a", b"older");
        let finished = client.run(["get", "-r", "-n", "tree"]);
        finished.succeeded();
        assert_eq!(finished.json().len(), 222);
        let contents: BTreeSet<Vec<u8>> = fs::read_dir(client.path("tree"))
            .unwrap()
            .map(|entry| fs::read(entry.unwrap().path()).unwrap())
            .collect();
        let there = |content: &[u8]| contents.contains(content);
        assert!(there(b"older") && there(b"the slave's") && there(b"another file"));
        assert_eq!(contents.len(), 223);
        fs::remove_dir_all(client.path("tree")).unwrap();
    }
}
