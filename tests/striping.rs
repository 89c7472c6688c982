//! One large file from several slaves at once, through the real programs: whoever dies, stops or lies.

mod copies;
mod kept;
mod sources;

use std::ffi::OsString;
use std::path::PathBuf;

use rustix::process::Signal;

use crate::harness::{
    Client, Cluster, Direction, Fault, Finished, PATIENCE, Process, Proxy, SmallDisk, allocated,
    done_as_superuser, peers_of, random_bytes, wait_until,
};

const MEBIBYTE: usize = 1024 * 1024;

/// Larger than what is worth several streams; with a last block that is no whole one.
const SIZE: usize = 44 * MEBIBYTE + 100;

/// So slow that the middle takes a moment.
const RATE: &str = "11M";

/// A file, three slaves and a client that asks for three streams.
struct Striped {
    cluster: Cluster,
    client: Client,
    content: Vec<u8>,
}

impl Striped {
    fn new() -> Self {
        Self::over(Cluster::start(3))
    }

    fn over(cluster: Cluster) -> Self {
        let client = cluster.client().options(["--streams", "3"]);
        let content = random_bytes(7, SIZE);
        cluster.write("a.bin", &content);
        Self {
            cluster,
            client,
            content,
        }
    }

    fn part(&self) -> PathBuf {
        self.client.path(".a.bin.part")
    }

    /// Starts the transfer and returns in the middle of it, when every slave serves; a busy machine has seconds to do
    /// something then.
    fn begin(&self) -> Process {
        let transfer = self
            .client
            .spawn(["--json", "--limit-rate", "6M", "get", "a.bin"]);
        wait_until("some of the file to be there", PATIENCE, || {
            allocated(&self.part()) > 10 * MEBIBYTE as u64
        });
        for slave in &self.cluster.slaves {
            assert!(!peers_of(slave.address).is_empty(), "{}", slave.address);
        }
        transfer
    }

    /// Runs a command so slowly that every slave has the time to take part, however busy the machine.
    fn run<const N: usize>(&self, command: [&str; N]) -> Finished {
        let slowly = ["--limit-rate", RATE];
        self.client.run(slowly.into_iter().chain(command))
    }

    #[track_caller]
    fn assert_whole(&self) {
        assert!(self.client.read("a.bin") == self.content, "another content");
        assert_eq!(self.client.names(), [OsString::from("a.bin")]);
    }
}

#[test]
fn a_large_file_comes_from_all_slaves_and_the_result_names_them() {
    let striped = Striped::new();
    let finished = striped.run(["--json", "get", "a.bin"]);
    finished.succeeded();
    striped.assert_whole();
    let result = &finished.json()[0];
    assert_eq!(result["verified"], true);
    let slaves = result["slaves"].as_array().unwrap();
    assert_eq!(slaves.len(), 3, "{result}");
    assert_eq!(slaves[0], result["slave"]);
    let line = striped.run(["get", "-f", "a.bin"]);
    line.succeeded();
    for slave in &striped.cluster.slaves {
        let address = slave.address.to_string();
        assert!(line.stdout.contains(&address), "{}", line.stdout);
    }
}

#[test]
fn one_stream_where_one_is_asked_for_and_on_one_machine() {
    let striped = Striped::new();
    for options in [vec!["--streams", "1"], vec![]] {
        let client = striped.cluster.client().options(options);
        let finished = client.run(["--json", "get", "a.bin"]);
        finished.succeeded();
        assert!(finished.json()[0].get("slaves").is_none());
        assert!(client.read("a.bin") == striped.content);
    }
}

#[test]
fn a_new_slave_takes_the_place_of_a_killed_one() {
    let mut striped = Striped::over(Cluster::start(2));
    let options = ["--streams", "2", "--limit-rate", "6M"];
    striped.client = striped.cluster.client().options(options);
    let mut transfer = striped.client.spawn(["--json", "get", "a.bin"]);
    wait_until("some of the file to be there", PATIENCE, || {
        allocated(&striped.part()) > 4 * MEBIBYTE as u64
    });
    striped.cluster.add_slave(&[]);
    striped.cluster.wait_for_slaves(3);
    striped.cluster.slaves[0].kill();
    let newcomer = striped.cluster.slaves[2].address;
    wait_until("the new slave to serve", PATIENCE, || {
        !peers_of(newcomer).is_empty()
    });
    assert_eq!(transfer.wait_code(PATIENCE), 0);
    striped.assert_whole();
    assert!(transfer.stdout().contains(&newcomer.to_string()));
}

#[test]
fn a_wire_that_bends_a_block_is_named_and_the_block_comes_over_another() {
    let mut cluster = Cluster::start(2);
    let proxy = Proxy::listen();
    let advertised = proxy.address.to_string();
    let slave = cluster.add_slave(&["--advertise", &advertised]).address;
    proxy.forward_to(slave);
    cluster.wait_for_slaves(3);
    proxy.always(Fault::FlipBit {
        direction: Direction::ToClient,
        offset: 1_500_000,
    });
    let striped = Striped::over(cluster);
    let finished = striped.run(["get", "a.bin"]);
    finished.succeeded();
    striped.assert_whole();
    assert_eq!(finished.stderr.lines().count(), 1, "{}", finished.stderr);
    let told = format!("1 block from {advertised} damaged");
    assert!(finished.stderr.contains(&told), "{}", finished.stderr);
}

fn goes_on_after(signal: Signal, code: i32) {
    let striped = Striped::new();
    let mut transfer = striped.begin();
    transfer.signal(signal);
    assert_eq!(transfer.wait_code(PATIENCE), code);
    assert!(!striped.client.path("a.bin").exists());
    let kept = allocated(&striped.part());
    let finished = striped.client.run(["--json", "get", "a.bin"]);
    finished.succeeded();
    striped.assert_whole();
    let resumed = finished.json()[0]["resumed_at"].as_u64().unwrap();
    // Up to one block of each stream was on its way to the disk, and the trailer takes some room as well.
    assert!(resumed + 4 * MEBIBYTE as u64 >= kept, "{resumed} of {kept}");
}

#[test]
fn a_killed_client_goes_on_with_the_blocks_that_are_there() {
    goes_on_after(Signal::KILL, 128 + 9);
}

#[test]
fn ctrl_c_keeps_the_blocks_that_are_there() {
    goes_on_after(Signal::INT, 130);
}

#[test]
fn the_large_files_of_a_tree_are_striped_too() {
    let striped = Striped::new();
    striped.cluster.write("tree/large", &striped.content);
    striped.cluster.write("tree/small", b"small");
    let finished = striped.run(["--json", "get", "-r", "tree"]);
    finished.succeeded();
    let results = finished.json();
    let large = results
        .iter()
        .find(|result| result["remote"] == "/tree/large");
    assert_eq!(large.unwrap()["slaves"].as_array().unwrap().len(), 3);
    assert!(striped.client.read("tree/large") == striped.content);
}

#[test]
fn a_disk_that_fills_up_ends_it_and_the_next_try_goes_on() {
    if done_as_superuser() {
        return;
    }
    let striped = Striped::new();
    let Some(disk) = SmallDisk::mount(&striped.client.folder(), 24) else {
        return;
    };
    striped.client.run(["get", "a.bin"]).failed_exactly(
        1,
        "ftpclient: cannot get '/a.bin': no space left on this disk",
    );
    assert!(!striped.client.path("a.bin").exists());
    disk.resize(64);
    let finished = striped.client.run(["--json", "get", "a.bin"]);
    finished.succeeded();
    striped.assert_whole();
    let resumed = finished.json()[0]["resumed_at"].as_u64().unwrap();
    assert!(resumed >= 20 * MEBIBYTE as u64, "{resumed}");
}
