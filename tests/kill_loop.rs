//! Somebody is killed at a random moment of a transfer, again and again. `MINI_FTP_ROUNDS` (12), `MINI_FTP_MEBIBYTES`
//! (16) and `MINI_FTP_SEED` (drawn, and shown) can be set; the same seed makes the same choices.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::harness::{
    Choices, Client, Cluster, PATIENCE, Process, Setup, owner_of_connection, peers_of,
    random_bytes, seed, setting, signal_pid, staged,
};

use rustix::process::Signal;

/// Who is killed.
#[derive(Clone, Copy, Debug)]
enum Victim {
    Client,
    Worker,
    Slave,
    Master,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Get,
    Put,
}

#[test]
fn whoever_is_killed_at_whatever_moment_no_file_is_torn_lost_or_mixed() {
    let seed = seed();
    let rounds = setting("MINI_FTP_ROUNDS", 12);
    let size = setting("MINI_FTP_MEBIBYTES", 16) as usize * 1024 * 1024;
    eprintln!("MINI_FTP_SEED={seed} MINI_FTP_ROUNDS={rounds}");
    let mut choices = Choices(seed);
    let mut disturbed = 0;
    let mut cluster = Setup::new(2).observable().start();
    // Two contents of one length: what is torn or mixed can be told from either.
    let contents = [random_bytes(seed, size), random_bytes(!seed, size)];
    for round in 0..rounds {
        let way = choices.one_of(&[Way::Get, Way::Put]);
        let victim = choices.one_of(&[
            Victim::Client,
            Victim::Worker,
            Victim::Slave,
            Victim::Master,
        ]);
        let (old, new) = match choices.next() % 2 {
            0 => (&contents[0], &contents[1]),
            _ => (&contents[1], &contents[0]),
        };
        let moment = Duration::from_millis(choices.next() % 500);
        let tls = choices.one_of(&["auto", "always"]);
        let told = format!(
            "seed {seed}, round {round}: {way:?}, tls {tls}, {victim:?} killed after {moment:?}"
        );
        let was_disturbed = Round {
            cluster: &mut cluster,
            client: None,
            way,
            tls,
            old,
            new,
            told: &told,
        }
        .run(victim, moment);
        disturbed += u64::from(was_disturbed);
    }
    eprintln!("{disturbed} of {rounds} transfers lost somebody they needed");
}

/// One transfer of `new`, onto a name that stands for `old`.
struct Round<'a> {
    cluster: &'a mut Cluster,
    client: Option<Client>,
    way: Way,
    tls: &'a str,
    old: &'a [u8],
    new: &'a [u8],
    told: &'a str,
}

impl Round<'_> {
    /// Whether the transfer could not go on as it had begun.
    fn run(mut self, victim: Victim, moment: Duration) -> bool {
        let client = self.cluster.client();
        match self.way {
            Way::Get => {
                // Replaced as an upload would: readers of the old one keep it.
                self.cluster.write("next.bin", self.new);
                fs::rename(self.cluster.path("next.bin"), self.cluster.path("a.bin")).unwrap();
            }
            Way::Put => {
                self.cluster.write("next.bin", self.old);
                fs::rename(self.cluster.path("next.bin"), self.cluster.path("a.bin")).unwrap();
                client.write("a.bin", self.new);
            }
        }
        self.client = Some(client);
        let mut transfer = self.start();
        // The moment is the test's choice, not something that it waits for.
        std::thread::sleep(moment);
        self.kill(victim, &mut transfer);
        let code = transfer.wait_code(PATIENCE);
        self.assert_never_mixed();
        self.restart_the_dead();
        if code != 0 {
            let code = self.start().wait_code(PATIENCE);
            assert_eq!(code, 0, "{}", self.told);
        }
        self.assert_whole();
        code != 0 || transfer.stderr().contains("lost")
    }

    fn start(&self) -> Process {
        let arguments = match self.way {
            Way::Get => ["get", "a.bin"].as_slice(),
            Way::Put => ["put", "-f", "a.bin"].as_slice(),
        };
        // So that a transfer is about as long as the moments that are drawn.
        let rate = (self.new.len() as u64 * 2).to_string();
        let options = ["--limit-rate", rate.as_str(), "--tls", self.tls];
        let client = self.client.as_ref().unwrap();
        client.spawn(options.iter().chain(arguments).copied())
    }

    fn kill(&mut self, victim: Victim, transfer: &mut Process) {
        let serving = self
            .cluster
            .slaves
            .iter()
            .position(|slave| !peers_of(slave.address).is_empty());
        match victim {
            Victim::Client => drop(transfer.kill()),
            Victim::Master => drop(self.cluster.master().process.kill()),
            // Nobody is served yet, or not any more: any slave will do.
            Victim::Slave => self.cluster.slaves[serving.unwrap_or(0)].kill(),
            Victim::Worker => {
                let slave = &self.cluster.slaves[serving.unwrap_or(0)];
                let workers = slave.workers();
                let peers = peers_of(slave.address);
                let owner = |peer| owner_of_connection(slave.address, peer, &workers);
                let worker = peers
                    .into_iter()
                    .find_map(owner)
                    .or(workers.first().copied());
                worker
                    .into_iter()
                    .for_each(|pid| signal_pid(pid, Signal::KILL));
            }
        }
    }

    /// What a person would start again.
    fn restart_the_dead(&mut self) {
        if !self.cluster.master().process.is_running() {
            self.cluster.master().restart();
        }
        for slave in &mut self.cluster.slaves {
            if !slave.process.is_running() {
                slave.restart();
            }
        }
        self.cluster.wait_for_slaves(self.cluster.slaves.len());
    }

    fn target(&self) -> PathBuf {
        match self.way {
            Way::Get => self.client.as_ref().unwrap().path("a.bin"),
            Way::Put => self.cluster.path("a.bin"),
        }
    }

    /// At no moment does the name stand for anything but one whole content, or nothing where nothing was.
    fn assert_never_mixed(&self) {
        match read(&self.target()) {
            Some(content) => {
                let is_old = self.way == Way::Put && content == self.old;
                assert!(
                    is_old || content == self.new,
                    "{}: torn or mixed",
                    self.told
                );
            }
            None => assert_eq!(self.way, Way::Get, "{}: lost", self.told),
        }
    }

    fn assert_whole(&self) {
        let content = read(&self.target());
        assert!(
            content.is_some_and(|content| content == self.new),
            "{}",
            self.told
        );
        let client = self.client.as_ref().unwrap();
        assert_eq!(client.names(), [OsString::from("a.bin")], "{}", self.told);
        assert_eq!(
            staged(&self.cluster.root()),
            Vec::<PathBuf>::new(),
            "{}",
            self.told
        );
        assert!(read(&self.cluster.path("a.bin")).is_some_and(|content| content == self.new));
    }
}

fn read(path: &Path) -> Option<Vec<u8>> {
    fs::read(path).ok()
}
