//! Who gets in, and what they may do there.

mod homes;
mod logins;
mod passwords;
mod quotas;
mod standing_alone;

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use protocol::{MasterReply, MasterRequest, Secretive, Text};

use crate::harness::{Cluster, Setup, Wire};

/// Nobody would type it by chance, so whoever shows it has it from where it was set.
const PASSWORD: &str = "canary-7f3a secret";

/// A cluster with one slave and the account `ada`, who may do everything.
fn with_ada() -> Setup {
    Setup::new(1).account(["ada"], PASSWORD)
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn login(user: &str, password: &str) -> MasterRequest {
    MasterRequest::Login {
        user: Text::new(user),
        password: Secretive::new(password.as_bytes()).unwrap(),
    }
}

fn locate() -> MasterRequest {
    MasterRequest::Locate {
        tried: Vec::new(),
        renew: false,
    }
}

/// Fails the test unless the server closes this connection, without another word and long before its deadline for logins.
fn is_closed(wire: &mut Wire) {
    let begun = Instant::now();
    let mut rest = Vec::new();
    wire.socket().read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty());
    assert!(
        begun.elapsed() < Duration::from_secs(15),
        "{:?}",
        begun.elapsed()
    );
}

/// A connection to the master on which `ada` has logged in.
fn logged_in(cluster: &Cluster) -> Wire {
    let mut wire = Wire::open(cluster.address());
    match wire.ask(&login("ada", PASSWORD)) {
        MasterReply::Welcome { .. } => wire,
        other => panic!("{other:?}"),
    }
}
