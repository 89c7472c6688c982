//! A source that changed meanwhile: the new content, whole, and never half of each.

use std::fs;

use rustix::process::Signal;

use super::{Job, MEBIBYTE, SIZE, Way};
use crate::harness::{PATIENCE, Setup, random_bytes};

fn changed_between_two_tries(way: Way) {
    for content in [
        random_bytes(2, SIZE),
        random_bytes(2, SIZE - 1),
        random_bytes(2, SIZE + MEBIBYTE),
        Vec::new(),
    ] {
        let mut job = Job::new(Setup::new(1), way);
        let mut transfer = job.begin();
        transfer.signal(Signal::INT);
        assert_eq!(transfer.wait_code(PATIENCE), 130);
        job.change_source(content);
        assert_eq!(job.finish(), 0);
    }
}

#[test]
fn get_starts_again_when_the_remote_file_changed_between_two_tries() {
    changed_between_two_tries(Way::Get);
}

#[test]
fn put_starts_again_when_the_local_file_changed_between_two_tries() {
    changed_between_two_tries(Way::Put);
}

/// Only the end differs, and the time is put back: nothing but the content tells.
#[test]
fn put_notices_a_change_that_hides_behind_the_old_time() {
    let mut job = Job::new(Setup::new(1), Way::Put);
    let mut transfer = job.begin();
    transfer.signal(Signal::INT);
    assert_eq!(transfer.wait_code(PATIENCE), 130);
    let path = job.client.path("a.bin");
    let before = fs::metadata(&path).unwrap().modified().unwrap();
    let mut content = job.content.clone();
    content[0] ^= 1;
    content[SIZE - 1] ^= 1;
    job.change_source(content);
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.set_modified(before).unwrap();
    job.finish();
}

/// The slave dies, the file changes, another slave goes on: the version that was begun is no more.
#[test]
fn get_starts_again_when_the_file_changes_while_slaves_are_changed() {
    let mut job = Job::new(Setup::new(2), Way::Get);
    let mut transfer = job.begin();
    job.change_source(random_bytes(2, SIZE));
    let serving = job.cluster.serving();
    job.cluster.slaves[serving].kill();
    assert_eq!(transfer.wait_code(PATIENCE), 0);
    job.assert_whole();
}
