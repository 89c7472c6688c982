//! Slaves that belong to a master, those that do not, and whose tickets they take.

mod joining;
mod revoking;
mod tickets;

use std::path::{Path, PathBuf};

use crate::harness::{Cluster, PATIENCE, wait_until};

/// A state directory of another machine, so to say.
fn elsewhere() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    (folder, state)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// What the operator is shown of each slave.
fn shown(cluster: &Cluster) -> Vec<serde_json::Value> {
    let shown = cluster.operator(["slaves", "--json"]);
    shown.succeeded().json()
}

/// Waits until the operator sees so many slaves that serve.
fn wait_for_up(cluster: &Cluster, count: usize) {
    wait_until(&format!("{count} slaves to be up"), PATIENCE, || {
        let is_up = |slave: &&serde_json::Value| slave["state"] == "up";
        shown(cluster).iter().filter(is_up).count() == count
    });
}
