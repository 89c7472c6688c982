//! Folders of many names.

use std::fs::File;

use protocol::{RemotePath, Reply, Request};

use super::Wire;
use crate::harness::{Setup, field, status_of};

/// How many names there are in that folder.
fn count(wire: &mut Wire, path: RemotePath) -> usize {
    let id = wire.send(&Request::List {
        path,
        recursive: false,
        facts: true,
    });
    let mut count = 0;
    loop {
        let Reply::Entries { entries, more, .. } = wire.answer(id) else {
            panic!("no listing");
        };
        count += entries.len();
        if !more {
            return count;
        }
    }
}

#[test]
fn a_folder_whose_names_take_megabytes_is_listed_in_constant_memory() {
    const NAMES: usize = 20_000;
    let cluster = Setup::new(1)
        .observable()
        .without_master()
        .workers(1)
        .start();
    let names = |folder: &str, count: usize| {
        cluster.write(format!("{folder}/first"), b"");
        for number in 1..count {
            File::create(cluster.path(format!("{folder}/{number:0>240}"))).unwrap();
        }
    };
    names("few", NAMES / 20);
    names("many", NAMES);
    let worker = cluster.slaves[0].workers()[0];
    let peak = || -> u64 { field(&status_of(worker), "VmHWM")[0].parse().unwrap() };
    let mut wire = Wire::open(cluster.address());
    assert_eq!(count(&mut wire, super::path("/few")), NAMES / 20);
    let before = peak();
    assert_eq!(count(&mut wire, super::path("/many")), NAMES);
    let grown = peak().saturating_sub(before);
    // Of 4,700 KiB of names; the kernel counts in shares, one of each processor.
    assert!(grown < 1024, "by {grown} KiB");
}
