//! What every test stands on: programs with folders, ports and keys of their own, that end with the test.

mod checks;
mod choices;
mod client;
mod cluster;
mod content;
mod gauge;
mod impostor;
mod machine;
mod namespace;
mod proc;
mod process;
mod proxy;
mod router;
mod secured;
mod session;
mod terminal;
mod wait;
mod wire;

pub use choices::{Choices, seed, setting};
pub use client::{Client, Finished, shell};
pub use cluster::{Cluster, Server, Setup, master_binary, slave_binary, user_command};
pub use content::{
    Node, allocated, digest_of, random_bytes, staged, sweep_staging, tree, write_file,
};
pub use gauge::{Gauge, Held, Reading};
pub use impostor::Impostor;
pub use machine::{
    SmallDisk, among_neighbours, at_low_priority, tamper, trace_into, with_calls_that,
    without_privileges,
};
pub use namespace::{HERE, Place};
pub use proc::{
    children, connected_to, descendants, field, free_descriptors, is_alive, is_still_sent_to,
    is_stopped, limit_of, open_descriptors, owner_of_connection, peers_of, processor_time,
    resident_bytes, status_of, thread_count, what_it_does,
};
pub use process::{Process, code_of, signal_pid, stop_pid};
pub use proxy::{Direction, Fault, Proxy};
pub use router::Router;
pub use secured::{Secured, secure, secure_over};
pub use session::Session;
pub use terminal::{AT_ITS_TERMINAL, Terminal};
pub use testing::{done_as_superuser, skipped};
pub use wait::{PATIENCE, wait_for, wait_until};
pub use wire::{Wire, offers, port_of, say_and_listen};
