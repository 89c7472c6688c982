//! Trees: what has been moved is not moved again, and nothing is left lying about.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::Signal;

use super::MEBIBYTE;
use crate::harness::{
    Client, Cluster, PATIENCE, Process, Setup, allocated, random_bytes, staged, tree, wait_until,
    write_file,
};

/// Small files, middling ones, and large ones in their midst: more than what fits into the kernel's buffers on the way.
fn fill(root: &Path) {
    for number in 0..30 {
        let folder = root.join(format!("tree/folder {}", number % 3));
        let size = if number % 4 == 0 { 300_000 } else { 5_000 };
        write_file(
            &folder.join(format!("{number}.bin")),
            &random_bytes(number, size),
        );
    }
    // So many that each of two streams still has some when a busy machine looks up.
    for number in 0..5 {
        let path = root.join(format!("tree/folder {}/large {number}.bin", number % 3));
        write_file(&path, &random_bytes(99, 6 * MEBIBYTE));
    }
}

/// Starts the command, slowly; `arrived` says how many bytes are there, published or not.
fn begin(client: &Client, verb: &str, arrived: impl Fn() -> u64) -> Process {
    let transfer = client.spawn(["--limit-rate", "4M", verb, "-r", "tree"]);
    wait_until("a good part to arrive", PATIENCE, || {
        arrived() > 6 * MEBIBYTE as u64
    });
    transfer
}

fn sum(paths: impl IntoIterator<Item = PathBuf>) -> u64 {
    paths.into_iter().map(|path| allocated(&path)).sum()
}

/// The files beneath a folder, or none where there is no folder. Nothing is read: the transfer goes on meanwhile.
fn beneath(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => files.append(&mut beneath(&entry.path())),
            _ => files.push(entry.path()),
        }
    }
    files
}

/// Those that are no part of one that is still to come.
fn whole(folder: &Path) -> BTreeSet<PathBuf> {
    let files = beneath(folder).into_iter();
    files.filter(|path| !is_part(path)).collect()
}

fn is_part(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension == "part")
}

fn assert_clean(cluster: &Cluster, client: &Client) {
    let (ours, theirs) = (tree(&client.folder()), tree(&cluster.root()));
    assert_eq!(ours, theirs);
    assert!(!ours.keys().any(|path| is_part(path)), "{:?}", ours.keys());
    assert_eq!(staged(&cluster.root()), Vec::<PathBuf>::new());
}

fn get(setup: Setup) -> (Cluster, Client, Process) {
    let cluster = setup.start();
    fill(&cluster.root());
    let client = cluster.client();
    let transfer = begin(&client, "get", || sum(beneath(&client.path("tree"))));
    (cluster, client, transfer)
}

fn put(setup: Setup) -> (Cluster, Client, Process) {
    let cluster = setup.start();
    let client = cluster.client();
    fill(&client.folder());
    let transfer = begin(&client, "put", || {
        let published = beneath(&cluster.path("tree"));
        sum(published.into_iter().chain(staged(&cluster.root())))
    });
    (cluster, client, transfer)
}

/// What a person does who tries again.
fn again(client: &Client, verb: &str) {
    client.run([verb, "-r", "tree"]).succeeded();
}

#[test]
fn get_of_a_tree_goes_on_after_the_client_is_killed() {
    let (cluster, client, mut transfer) = get(Setup::new(1));
    transfer.kill();
    again(&client, "get");
    assert_clean(&cluster, &client);
}

#[test]
fn put_of_a_tree_goes_on_after_the_client_is_killed() {
    let (cluster, client, mut transfer) = put(Setup::new(1));
    transfer.kill();
    again(&client, "put");
    assert_clean(&cluster, &client);
}

fn goes_on_with_the_other_slave((mut cluster, client, mut transfer): (Cluster, Client, Process)) {
    let serving = cluster.serving();
    cluster.slaves[serving].kill();
    assert_eq!(transfer.wait_code(PATIENCE), 0, "{}", transfer.stderr());
    assert_eq!(
        transfer.stderr().lines().count(),
        1,
        "{}",
        transfer.stderr()
    );
    // Small files that the dead slave had received cannot be asked for again: it sweeps when it is back.
    cluster.slaves[serving].restart();
    wait_until("a clean storage", PATIENCE, || {
        staged(&cluster.root()).is_empty()
    });
    assert_clean(&cluster, &client);
}

#[test]
fn get_of_a_tree_goes_on_with_the_other_slave() {
    goes_on_with_the_other_slave(get(Setup::new(2)));
}

#[test]
fn put_of_a_tree_goes_on_with_the_other_slave() {
    goes_on_with_the_other_slave(put(Setup::new(2)));
}

#[test]
fn ctrl_c_during_a_tree_keeps_what_is_there() {
    for way in [get, put] {
        let (cluster, client, mut transfer) = way(Setup::new(1));
        // One side has the whole tree from the beginning.
        let arrived = || -> BTreeSet<PathBuf> {
            let sides = [client.path("tree"), cluster.path("tree")].map(|side| whole(&side));
            let [one, other] = sides;
            if one.len() < other.len() { one } else { other }
        };
        wait_until("some files to be there", PATIENCE, || arrived().len() >= 10);
        let before = arrived();
        transfer.signal(Signal::INT);
        assert_eq!(transfer.wait_code(PATIENCE), 130);
        assert!(arrived().is_superset(&before));
    }
}
