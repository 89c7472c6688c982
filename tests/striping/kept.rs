//! Several large files, one after another: the streams of one serve the next.

use super::MEBIBYTE;
use crate::harness::{
    Client, Cluster, PATIENCE, Proxy, Session, Setup, peers_of, random_bytes, wait_until,
};

/// Each worth several streams.
const FILES: usize = 4;

/// Two with each slave, of which one is there from the start.
const STREAMS: usize = 4;

struct Kept {
    cluster: Cluster,
    client: Client,
    proxies: [Proxy; 2],
}

impl Kept {
    fn new() -> Self {
        Self::on(Setup::new(0))
    }

    fn on(slaves: Setup) -> Self {
        let mut cluster = slaves.start();
        let proxies = [Proxy::listen(), Proxy::listen()];
        for proxy in &proxies {
            cluster.add_slave_behind(proxy);
        }
        cluster.wait_for_slaves(proxies.len());
        for number in 0..FILES {
            cluster.write(format!("tree/{number}"), &content(number));
        }
        let streams = STREAMS.to_string();
        let client = cluster.client().options(["--streams", streams.as_str()]);
        Self {
            cluster,
            client,
            proxies,
        }
    }

    /// Connections that clients have made to the slaves so far.
    fn connections(&self) -> usize {
        self.proxies.iter().map(Proxy::connections).sum()
    }

    /// Connections that are open now.
    fn open(&self) -> usize {
        let slaves = self.cluster.slaves.iter();
        slaves.map(|slave| peers_of(slave.address).len()).sum()
    }

    fn assert_whole(&self, folder: &str) {
        for number in 0..FILES {
            let name = format!("{folder}{number}");
            assert!(self.client.read(&name) == content(number), "{name}");
        }
    }
}

fn content(number: usize) -> Vec<u8> {
    random_bytes(number as u64, 34 * MEBIBYTE + number)
}

#[test]
fn the_streams_of_one_file_serve_the_next() {
    let kept = Kept::new();
    for (command, folder) in [
        (["get", "-r", "tree"].as_slice(), "tree/"),
        (&["get", "tree/0", "tree/1", "tree/2", "tree/3", "."], ""),
    ] {
        let before = kept.connections();
        kept.client.run(command.iter().copied()).succeeded();
        kept.assert_whole(folder);
        let made = kept.connections() - before;
        // One that is slow at the end of a file is cut off, and opened anew.
        let each_time = 1 + FILES * (STREAMS - 1);
        assert!(
            (STREAMS..each_time).contains(&made),
            "{made} of {each_time}"
        );
    }
}

#[test]
fn a_session_keeps_no_stream_beyond_its_command() {
    let kept = Kept::new();
    let mut session = Session::start(&kept.client);
    session.ask("get tree/0 tree/1 .");
    session.ask("get -r tree");
    wait_until("one connection to be left", PATIENCE, || kept.open() == 1);
    kept.assert_whole("tree/");
    assert_eq!(session.end(), 0);
}

#[test]
fn streams_that_were_lost_between_two_files_are_opened_anew() {
    goes_on_without_a_slave(Kept::new());
}

#[test]
fn the_last_place_is_not_held_by_a_stream_that_waits_for_the_next_file() {
    goes_on_without_a_slave(Kept::on(Setup::new(0).workers(1).sessions(1)));
}

fn goes_on_without_a_slave(mut kept: Kept) {
    let slowly = ["--limit-rate", "20M", "get", "-r", "tree"];
    let mut transfer = kept.client.spawn(slowly);
    wait_until("a file to be there", PATIENCE, || {
        (0..FILES).any(|number| kept.client.path(format!("tree/{number}")).exists())
    });
    kept.cluster.slaves[1].kill();
    assert_eq!(transfer.wait_code(PATIENCE), 0, "{}", transfer.stderr());
    kept.assert_whole("tree/");
}
