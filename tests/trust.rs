//! Whom the client trusts, what it says to whom, and what of that can be seen on the way.
//!
//! The client takes 0.0.0.0 for another machine, though the kernel leads it to this one.

mod in_between;
mod masters;
mod newcomer;

use std::fs;
use std::path::PathBuf;

use crate::harness::{Client, Cluster, Setup};

/// Nobody would type it by chance, so whoever hears it has it from the client.
const PASSWORD: &str = "canary-5d0e secret";

/// A slave that stands alone, as everybody's.
fn alone() -> Setup {
    Setup::new(1).without_master().on_localhost()
}

/// The host that a client calls the first server by, so that it leaves the machine.
fn elsewhere(cluster: &Cluster) -> String {
    format!("0.0.0.0:{}", cluster.address().port())
}

/// Where a client remembers servers.
fn pins(client: &Client) -> PathBuf {
    client.home().join("data/mini-ftp/known_masters")
}

/// What stands there.
fn remembered(client: &Client) -> String {
    fs::read_to_string(pins(client)).unwrap_or_default()
}
