//! A root that is another folder by now: a disk that was unmounted, say, and left its empty mount point.

use std::fs;

use rustix::process::Signal;

use crate::harness::{PATIENCE, Setup, signal_pid, wait_until};

#[test]
fn a_worker_that_is_replaced_does_not_serve_the_folder_that_took_the_root_s_place() {
    let cluster = Setup::new(1).workers(1).start();
    let (root, moved) = (cluster.root(), cluster.root().with_file_name("elsewhere"));
    cluster.write("a", b"content");
    fs::rename(&root, &moved).unwrap();
    fs::create_dir(&root).unwrap();
    let slave = &cluster.slaves[0];
    signal_pid(slave.workers()[0], Signal::KILL);
    slave.process.wait_for_line("another storage", PATIENCE);
    let client = cluster.client();
    client.write("b", b"content");
    client.run(["put", "b"]).failed(3, "cannot connect");
    assert_eq!(fs::read_dir(&root).unwrap().count(), 0);

    fs::remove_dir(&root).unwrap();
    fs::rename(&moved, &root).unwrap();
    wait_until("the slave to serve again", PATIENCE, || {
        client.run(["put", "b"]).code == 0
    });
    client.run(["get", "a"]).succeeded();
}
