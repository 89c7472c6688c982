//! Where operations are swept: one slave with one worker, a client, and how the two meet.

use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::{Client, Cluster, PATIENCE, Setup, tree, wait_for, wait_until};

/// What a client gives up soon: a failure may cost it its connection.
const OPTIONS: [&str; 6] = ["--retries", "2", "--timeout", "3", "--streams", "1"];

const TLS_ALONE: [&str; 2] = ["--tls", "always"];

const PASSWORD: &str = "a long secret";

/// What the slave serves, and the client's folder.
pub(super) struct Site {
    /// How the two meet.
    pub(super) name: &'static str,
    pub(super) cluster: Cluster,
    pub(super) client: Client,
}

impl Site {
    /// A slave that stands alone: everything is said in the clear.
    pub(super) fn alone() -> Self {
        let cluster = Setup::new(1).without_master().workers(1).start();
        Self {
            name: "alone",
            client: cluster.client().options(OPTIONS),
            cluster,
        }
    }

    /// As people have it: who has logged in at a master is sent to its slave, with a quota, and everybody speaks TLS alone.
    pub(super) fn behind_master() -> Self {
        let words = ["ada", "--quota", "100G"];
        let setup = Setup::new(1).workers(1).account(words, PASSWORD);
        let setup = setup.master_options(TLS_ALONE).slave_options(TLS_ALONE);
        let cluster = setup.start();
        let client = cluster.client().with_login("ada", PASSWORD);
        Self {
            name: "behind a master, within TLS",
            client: client.options(OPTIONS).options(TLS_ALONE),
            cluster,
        }
    }

    /// The master.
    pub(super) fn master(&self) -> u32 {
        self.cluster.servers().last().unwrap().pid()
    }

    /// Starts the master again where it has ended of a failure, as a service manager does. A worker is its supervisor's to replace.
    pub(super) fn revive_master(&mut self) {
        wait_until("a master that knows its slave", PATIENCE, || {
            if !self.cluster.master().process.is_running() {
                self.cluster.master().restart();
            }
            let slaves = self.client.run(["slaves"]);
            slaves.code == 0 && slaves.stdout.contains(" up ")
        });
    }

    /// The one worker; another one soon after it has ended.
    pub(super) fn worker(&self) -> u32 {
        wait_for("a worker", PATIENCE, || {
            self.cluster.slaves[0].workers().first().copied()
        })
    }

    /// Takes everything out of both folders, and what the client has kept of unfinished transfers.
    pub(super) fn clear(&self) {
        for folder in [self.cluster.root(), self.client.folder()] {
            for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
                let path = entry.path();
                match entry.file_type().unwrap().is_dir() {
                    _ if entry.file_name() == ".mini-ftp" => {}
                    true => fs::remove_dir_all(path).unwrap(),
                    false => fs::remove_file(path).unwrap(),
                }
            }
        }
        self.records()
            .for_each(|path| fs::remove_file(path).unwrap());
    }

    /// What the client keeps of transfers that it has not finished.
    pub(super) fn unfinished(&self) -> Vec<PathBuf> {
        let names = tree(&self.client.folder()).into_keys();
        names
            .filter(|name| is_part(name))
            .chain(self.records())
            .collect()
    }

    /// What uploads are known again by.
    fn records(&self) -> impl Iterator<Item = PathBuf> {
        let records = fs::read_dir(self.client.home().join("state/mini-ftp/uploads"));
        records
            .into_iter()
            .flatten()
            .map(|record| record.unwrap().path())
    }
}

/// Whether a name of the client's folder is that of a part of a download.
pub(super) fn is_part(name: &Path) -> bool {
    let name = name.file_name().unwrap().to_string_lossy();
    name.starts_with('.')
}
