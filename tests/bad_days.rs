//! Bad days: each ends in one clear sentence and the right status, or is got over without one, and nothing is lost.

mod answers;
mod asleep;
mod busy;
mod changes;
mod corruption;
mod disks;
mod hostile;
mod identity;
mod name_servers;
mod names;
mod roots;
mod slaves;
mod starting;

const MEBIBYTE: usize = 1024 * 1024;
