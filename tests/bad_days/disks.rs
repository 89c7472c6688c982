//! Disks that are full, on either side.

use std::fs;
use std::path::PathBuf;

use super::MEBIBYTE;
use crate::harness::{
    Cluster, Finished, PATIENCE, Setup, SmallDisk, allocated, done_as_superuser, random_bytes,
    staged, tamper, tree, wait_until, write_file,
};

/// A slave on a disk of 8 MiB.
fn cluster_on_a_small_disk() -> Option<(Cluster, SmallDisk)> {
    let mut cluster = Setup::new(0).start();
    let disk = SmallDisk::mount(&cluster.root(), 8)?;
    cluster.add_slave(&[]);
    cluster.wait_for_slaves(1);
    Some((cluster, disk))
}

#[test]
fn an_upload_that_the_storage_cannot_hold_is_refused_and_the_old_file_stays() {
    if done_as_superuser() {
        return;
    }
    let Some((cluster, _disk)) = cluster_on_a_small_disk() else {
        return;
    };
    let client = cluster.client();
    client.write("a.bin", b"old");
    client.run(["put", "a.bin"]).succeeded();
    client.write("a.bin", &random_bytes(1, 16 * MEBIBYTE));
    client.run(["put", "-f", "a.bin"]).failed_exactly(
        1,
        "ftpclient: cannot put 'a.bin': no space left on the server",
    );
    assert_eq!(fs::read(cluster.path("a.bin")).unwrap(), b"old");
    assert_eq!(staged(&cluster.root()), Vec::<PathBuf>::new());
    client.write("b.bin", b"small");
    client.run(["put", "b.bin"]).succeeded();
}

#[test]
fn an_upload_during_which_the_disk_fills_up_is_refused_and_the_old_file_stays() {
    if done_as_superuser() {
        return;
    }
    // Within TLS content is written by another thread than the one that receives it.
    for tls in ["auto", "always"] {
        fill_up_during_an_upload(tls);
    }
}

fn fill_up_during_an_upload(tls: &str) {
    let Some((cluster, _disk)) = cluster_on_a_small_disk() else {
        return;
    };
    cluster.write("a.bin", b"old");
    let client = cluster
        .client()
        .options(["--limit-rate", "4M", "--tls", tls]);
    client.run(["ls"]).succeeded(); // and knows the master from now on
    client.write("a.bin", &random_bytes(2, 6 * MEBIBYTE));
    let mut upload = client.spawn(["put", "-f", "a.bin"]);
    wait_until("the upload to begin", PATIENCE, || {
        staged(&cluster.root())
            .iter()
            .any(|path| allocated(path) > 0)
    });
    cluster.write("other.bin", &random_bytes(3, 5 * MEBIBYTE));
    assert_eq!(upload.wait_code(PATIENCE), 1);
    let said = upload.stderr();
    assert_eq!(
        said,
        "ftpclient: cannot put 'a.bin': no space left on the server"
    );
    assert_eq!(fs::read(cluster.path("a.bin")).unwrap(), b"old");
    assert_eq!(staged(&cluster.root()), Vec::<PathBuf>::new());
    fs::remove_file(cluster.path("other.bin")).unwrap();
    client.run(["put", "-f", "a.bin"]).succeeded();
    assert_eq!(
        fs::metadata(cluster.path("a.bin")).unwrap().len(),
        6 * MEBIBYTE as u64
    );
}

#[test]
fn a_download_that_the_local_disk_cannot_hold_fails_and_goes_on_when_there_is_room() {
    if done_as_superuser() {
        return;
    }
    for tls in ["auto", "always"] {
        go_on_when_there_is_room(tls);
    }
}

fn go_on_when_there_is_room(tls: &str) {
    let cluster = Cluster::start(1);
    let content = random_bytes(4, 16 * MEBIBYTE);
    cluster.write("a.bin", &content);
    let client = cluster.client().options(["--tls", tls]);
    client.run(["ls"]).succeeded(); // and knows the master from now on
    let Some(disk) = SmallDisk::mount(&client.folder(), 8) else {
        return;
    };
    client.write("old.bin", b"old");
    client.run(["get", "a.bin"]).failed_exactly(
        1,
        "ftpclient: cannot get '/a.bin': no space left on this disk",
    );
    assert!(!client.path("a.bin").exists());
    assert_eq!(client.read("old.bin"), b"old");
    disk.resize(32);
    client.run(["get", "a.bin"]).succeeded();
    assert!(client.read("a.bin") == content);
    assert_eq!(client.names().len(), 2);
}

/// Files of 100 kB: some fit, not all.
fn fill_tree(root: &std::path::Path) {
    for number in 0..200 {
        let name = format!("tree/{}/{number}.bin", number % 3);
        write_file(&root.join(name), &random_bytes(number, 100_000));
    }
}

/// What is said of a full disk: how many files are there; so many are.
#[track_caller]
fn assert_says_how_many(finished: &Finished, why: &str, root: &std::path::Path) {
    assert_eq!(finished.code, 1, "{finished:?}");
    let is_whole = |path: &&PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.ends_with(".bin") && !name.starts_with('.')
    };
    let stored = tree(root).keys().filter(is_whole).count();
    assert!(stored > 0 && stored < 200, "{stored}");
    let sentence =
        format!("{why}; {stored} files are stored, the same command goes on behind them");
    let last = finished.stderr.lines().last().unwrap();
    assert!(last.ends_with(&sentence), "{finished:?}");
}

#[test]
fn a_tree_that_the_local_disk_cannot_hold_goes_on_when_there_is_room() {
    if done_as_superuser() {
        return;
    }
    for streams in ["1", "3"] {
        let cluster = Cluster::start(3);
        fill_tree(&cluster.root());
        let client = cluster.client().options(["--streams", streams]);
        let Some(disk) = SmallDisk::mount(&client.folder(), 8) else {
            return;
        };
        let finished = client.run(["get", "-r", "tree"]);
        assert_says_how_many(&finished, "no space left on this disk", &client.folder());
        disk.resize(64);
        client.run(["get", "-r", "tree"]).succeeded();
        assert_eq!(tree(&client.folder()), tree(&cluster.root()));
    }
}

#[test]
fn a_tree_that_the_storage_cannot_hold_goes_on_when_there_is_room() {
    if done_as_superuser() {
        return;
    }
    for streams in ["1", "3"] {
        let mut cluster = Setup::new(0).start();
        let Some(disk) = SmallDisk::mount(&cluster.root(), 8) else {
            return;
        };
        for _ in 0..3 {
            cluster.add_slave(&[]);
        }
        cluster.wait_for_slaves(3);
        let client = cluster.client().options(["--streams", streams]);
        fill_tree(&client.folder());
        let finished = client.run(["put", "-r", "tree"]);
        let why = "no space left on the server";
        assert_says_how_many(&finished, why, &cluster.root());
        disk.resize(64);
        client.run(["put", "-r", "tree"]).succeeded();
        assert_eq!(tree(&client.folder()), tree(&cluster.root()));
    }
}

#[test]
fn an_upload_whose_system_call_fails_is_stored_whole_or_refused_and_the_old_file_stays() {
    if done_as_superuser() {
        return;
    }
    let cluster = Setup::new(1).without_master().workers(1).start();
    let worker = cluster.slaves[0].workers()[0];
    let client = cluster.client();
    let contents = [random_bytes(5, 300_000), random_bytes(6, 300_000)];
    cluster.write("a.bin", &contents[0]);
    let stored = || fs::read(cluster.path("a.bin")).unwrap();
    for (call, error) in [
        ("pwrite64", "EIO"),
        ("pwrite64", "ENOSPC"),
        ("fsync", "EIO"),
        ("fsync", "ENOSPC"),
        ("renameat", "EIO"),
        ("renameat2", "EIO"),
        ("openat2", "EIO"),
        ("openat", "EMFILE"),
        ("flock", "EIO"),
        ("getdents64", "EIO"),
        ("fchmod", "EPERM"),
        ("utimensat", "EPERM"),
        ("fsetxattr", "ENOSPC"),
        ("recvfrom,read", "EINTR"),
        ("recvfrom,read", "ECONNRESET"),
        ("sendto,write", "EPIPE"),
    ] {
        let old = stored();
        let new = contents.iter().find(|content| **content != old).unwrap();
        client.write("a.bin", new);
        let Some(mut strace) = tamper(worker, call, &format!("error={error}:when=1")) else {
            return;
        };
        let finished = client.run(["put", "-f", "a.bin"]);
        strace.terminate(PATIENCE);
        assert!(finished.stderr.lines().count() <= 2, "{finished:?}");
        match finished.code {
            0 => assert!(stored() == *new, "{call} {error}: {finished:?}"),
            _ => assert!(stored() == old, "{call} {error}: {finished:?}"),
        }
        client.run(["put", "-f", "a.bin"]).succeeded();
        assert!(stored() == *new, "{call} {error}");
        assert_eq!(
            staged(&cluster.root()),
            Vec::<PathBuf>::new(),
            "{call} {error}"
        );
    }
    assert_eq!(cluster.slaves[0].workers(), [worker], "nobody died of it");
}
