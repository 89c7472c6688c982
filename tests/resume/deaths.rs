//! Whoever dies, what has arrived is not sent again.

use rustix::process::Signal;

use super::{Job, LARGE, MEBIBYTE, Way};
use crate::harness::{PATIENCE, Setup, owner_of_connection, peers_of, random_bytes, signal_pid};

const SOME: u64 = 2 * MEBIBYTE as u64;

fn after_the_client_is_killed(way: Way) {
    let job = Job::new(Setup::new(1), way);
    job.begin().kill();
    assert!(job.finish() >= SOME);
}

#[test]
fn get_resumes_after_the_client_is_killed() {
    after_the_client_is_killed(Way::Get);
}

#[test]
fn put_resumes_after_the_client_is_killed() {
    after_the_client_is_killed(Way::Put);
}

fn after_ctrl_c(way: Way) {
    let job = Job::new(Setup::new(1), way);
    let mut transfer = job.begin();
    transfer.signal(Signal::INT);
    assert_eq!(transfer.wait_code(PATIENCE), 130);
    assert!(!job.target().exists());
    assert!(job.arrived() >= SOME, "what has arrived is kept");
    assert!(job.finish() >= SOME);
}

#[test]
fn get_resumes_after_ctrl_c() {
    after_ctrl_c(Way::Get);
}

#[test]
fn put_resumes_after_ctrl_c() {
    after_ctrl_c(Way::Put);
}

fn when_its_worker_is_killed(way: Way) {
    let job = Job::of(
        Setup::new(1).observable().workers(2),
        way,
        random_bytes(1, LARGE),
    );
    let mut transfer = job.begin();
    let slave = &job.cluster.slaves[0];
    let peer = peers_of(slave.address)[0];
    let worker = owner_of_connection(slave.address, peer, &slave.workers()).unwrap();
    signal_pid(worker, Signal::KILL);
    assert_eq!(transfer.wait_code(PATIENCE), 0);
    assert_eq!(
        transfer.stderr().lines().count(),
        1,
        "{}",
        transfer.stderr()
    );
    job.assert_whole();
}

#[test]
fn get_goes_on_by_itself_when_its_worker_is_killed() {
    when_its_worker_is_killed(Way::Get);
}

#[test]
fn put_goes_on_by_itself_when_its_worker_is_killed() {
    when_its_worker_is_killed(Way::Put);
}

fn after_its_only_slave_was_killed(way: Way) {
    let mut job = Job::new(Setup::new(1), way);
    let mut transfer = job.begin();
    job.cluster.slaves[0].kill();
    // Whether the client is still trying when the slave is back is not the question here.
    transfer.kill();
    job.cluster.slaves[0].restart();
    job.cluster.wait_for_slaves(1);
    assert!(job.finish() >= SOME);
}

#[test]
fn get_resumes_after_its_only_slave_was_killed_and_started_again() {
    after_its_only_slave_was_killed(Way::Get);
}

#[test]
fn put_resumes_after_its_only_slave_was_killed_and_started_again() {
    after_its_only_slave_was_killed(Way::Put);
}

fn waits_for_its_only_slave(way: Way) {
    let mut job = Job::of(Setup::new(1).without_master(), way, random_bytes(1, LARGE));
    let mut transfer = job.begin();
    job.cluster.slaves[0].kill();
    job.cluster.slaves[0].restart();
    assert_eq!(transfer.wait_code(PATIENCE), 0);
    job.assert_whole();
}

#[test]
fn get_goes_on_by_itself_when_its_only_slave_comes_back() {
    waits_for_its_only_slave(Way::Get);
}

#[test]
fn put_goes_on_by_itself_when_its_only_slave_comes_back() {
    waits_for_its_only_slave(Way::Put);
}

fn after_the_whole_machine_went_down(way: Way) {
    let mut job = Job::new(Setup::new(2), way);
    let transfer = job.begin();
    transfer.signal(Signal::KILL);
    job.cluster.kill();
    job.cluster.restart();
    assert!(job.finish() >= SOME);
}

#[test]
fn get_resumes_after_the_whole_machine_went_down() {
    after_the_whole_machine_went_down(Way::Get);
}

#[test]
fn put_resumes_after_the_whole_machine_went_down() {
    after_the_whole_machine_went_down(Way::Put);
}

fn through_another_slave(way: Way) {
    let mut job = Job::new(Setup::new(2), way);
    let mut transfer = job.begin();
    let serving = job.cluster.serving();
    transfer.signal(Signal::INT);
    assert_eq!(transfer.wait_code(PATIENCE), 130);
    job.cluster.slaves[serving].kill();
    let finished = job.client.run(["--json", job.verb(), "a.bin"]);
    finished.succeeded();
    job.assert_whole();
    let result = &finished.json()[0];
    let other = job.cluster.slaves[1 - serving].address.to_string();
    assert_eq!(result["slave"], other);
    assert!(result["resumed_at"].as_u64().unwrap() >= SOME);
}

#[test]
fn get_resumes_through_another_slave_of_the_storage() {
    through_another_slave(Way::Get);
}

#[test]
fn put_resumes_through_another_slave_of_the_storage() {
    through_another_slave(Way::Put);
}
