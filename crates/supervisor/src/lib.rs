//! The pre-forked process pool; knows nothing of file transfer.
//!
//! A program makes a [`Pool`] of its listener and a [`Launch`], and gives itself to [`Supervisor::run`]. The supervisor
//! starts the same binary again for each worker; there [`Role::of_this_process`] says so and [`Worker`] (or [`Helper`])
//! takes over what was left for it. Workers share one listening socket, so a dead one takes no waiting client along.
//!
//! | who | owns | tells the others by |
//! |---|---|---|
//! | [`Supervisor`] | children, signals, slots | a byte on the lifeline: drain; its end: I am dead |
//! | [`Worker`] | sessions in places | its slot in the [`Scoreboard`], a tick each 250 ms |
//! | [`Helper`] | a task beside the sessions | a tick |
#![forbid(unsafe_code)]

mod backoff;
mod crew;
mod door;
mod exit;
mod helper;
mod launch;
mod letter;
mod member;
mod membership;
mod places;
mod roster;
mod scoreboard;
mod signals;
mod slot;
mod supervisor;
mod thread_pool;
mod wait;
mod wake;
mod worker;

pub use door::Door;
pub use exit::{Ended, SupervisorError, WorkerExit};
pub use helper::{Helper, HelperEvent};
pub use launch::{Handover, HelperLaunch, Launch, Owner, Pool};
pub use letter::{HELPER_ARGUMENT, Role, WORKER_ARGUMENT};
pub use places::{Admission, Place};
pub use scoreboard::{Scoreboard, Totals};
pub use slot::{SlotState, SlotStatus};
pub use supervisor::Supervisor;
pub use thread_pool::ThreadPool;
pub use wake::Waker;
pub use worker::{Accepting, Connection, Event, Worker};
