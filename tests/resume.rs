//! Going on where a transfer was broken off, both ways: what is there is checked, and what is stored is always whole.

mod deaths;
mod parts;
mod sources;
mod trees;
mod wire;

use std::ffi::OsString;
use std::path::PathBuf;

use crate::harness::{
    Client, Cluster, PATIENCE, Process, Setup, allocated, random_bytes, staged, wait_until,
};

const MEBIBYTE: usize = 1024 * 1024;

/// Large enough to be broken off in the middle, small enough for a test.
const SIZE: usize = 12 * MEBIBYTE;

/// So large that much is left to be sent when all buffers on the way are full.
const LARGE: usize = 32 * MEBIBYTE;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Get,
    Put,
}

/// One file to be moved, from one side to the other.
struct Job {
    cluster: Cluster,
    client: Client,
    content: Vec<u8>,
    way: Way,
}

impl Job {
    fn new(setup: Setup, way: Way) -> Self {
        Self::of(setup, way, random_bytes(1, SIZE))
    }

    fn of(setup: Setup, way: Way, content: Vec<u8>) -> Self {
        let cluster = setup.start();
        let client = cluster.client();
        let mut job = Self {
            cluster,
            client,
            content: Vec::new(),
            way,
        };
        job.change_source(content);
        job
    }

    /// Gives the source another content.
    fn change_source(&mut self, content: Vec<u8>) {
        match self.way {
            Way::Get => self.cluster.write("a.bin", &content),
            Way::Put => drop(self.client.write("a.bin", &content)),
        }
        self.content = content;
    }

    fn verb(&self) -> &'static str {
        match self.way {
            Way::Get => "get",
            Way::Put => "put",
        }
    }

    /// Where the file will be.
    fn target(&self) -> PathBuf {
        match self.way {
            Way::Get => self.client.path("a.bin"),
            Way::Put => self.cluster.path("a.bin"),
        }
    }

    /// Bytes that have arrived so far.
    fn arrived(&self) -> u64 {
        match self.way {
            Way::Get => allocated(&self.client.path(".a.bin.part")),
            Way::Put => staged(&self.cluster.root())
                .iter()
                .map(|path| allocated(path))
                .sum(),
        }
    }

    /// Starts the transfer and returns in the middle of it.
    fn begin(&self) -> Process {
        // So slow that the middle takes a moment: two or three seconds for the whole.
        let rate = if self.content.len() > SIZE {
            "12M"
        } else {
            "6M"
        };
        let transfer = self
            .client
            .spawn(["--limit-rate", rate, self.verb(), "a.bin"]);
        wait_until("some mebibytes to arrive", PATIENCE, || {
            self.arrived() > 3 * MEBIBYTE as u64
        });
        assert!(!self.target().exists(), "not before it is whole");
        transfer
    }

    /// Runs the transfer as a person would who tries again; how many bytes were there already.
    #[track_caller]
    fn finish(&self) -> u64 {
        let finished = self.client.run(["--json", self.verb(), "a.bin"]);
        finished.succeeded();
        self.assert_whole();
        let result = &finished.json()[0];
        assert_eq!(result["bytes"], self.content.len());
        assert_eq!(result["verified"], true);
        result["resumed_at"].as_u64().unwrap()
    }

    /// Fails the test unless the file is there, whole, and nothing else is.
    #[track_caller]
    fn assert_whole(&self) {
        let content = std::fs::read(self.target()).unwrap();
        assert!(content == self.content, "another content");
        assert_eq!(self.client.names(), [OsString::from("a.bin")]);
        assert_eq!(staged(&self.cluster.root()), Vec::<PathBuf>::new());
    }
}
