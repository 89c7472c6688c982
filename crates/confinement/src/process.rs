//! A process gives up what it does not need, and makes sure that it has.

use std::io;

use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit,
};
use rustix::thread::set_no_new_privs;

use crate::error::{ConfinementError, doing};
use crate::hierarchies::{self, Hierarchy, Network};
use crate::kernel::Kernel;
use crate::{capabilities, filter, self_test};

/// Whether a process is confined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sandbox {
    /// As far as the kernel can.
    On,
    /// It keeps its user's rights, and can be looked into by that user: to find faults.
    Off,
}

/// What a process may do from now on.
#[derive(Debug)]
pub struct Confinement<'a> {
    /// Files that it may reach.
    pub hierarchies: &'a [Hierarchy<'a>],
    /// Connections that it may make.
    pub network: Network,
    /// Descriptors that it may have open, as far as the limit that it was started with goes.
    pub descriptors: u64,
    /// Whether there is more to it than limits.
    pub sandbox: Sandbox,
}

impl Confinement<'_> {
    /// Holds this process to it, for as long as it lives. To be called with everything open that no table names, and
    /// before the first thread: those that run already would not be held.
    ///
    /// # Errors
    /// A step fails that this kernel knows, a guard does not hold, or it refuses what the process needs. The process must
    /// not go on then: what was given up until there stays given up.
    pub fn enter(&self) -> Result<(), ConfinementError> {
        if threads() > 1 {
            return Err(ConfinementError::Threads);
        }
        limit_descriptors(self.descriptors)?;
        give_up_privileges(self.sandbox)?;
        if self.sandbox == Sandbox::Off {
            return Ok(());
        }
        let kernel = Kernel::ask();
        hierarchies::restrict(kernel, self.hierarchies, &self.network)?;
        self_test::files_and_ports(kernel, self.hierarchies, &self.network)?;
        if kernel.restricts_calls() {
            filter::install(&self.network)?;
            self_test::calls(&self.network)?;
        }
        self_test::what_is_needed(self.hierarchies)
    }
}

/// Gives up what no process of a server needs, also one that starts others and reads its configuration again, which is as
/// much as such a one can: capabilities, new privileges, and, in a sandbox, a memory that others can see.
///
/// # Errors
/// The kernel refuses a step.
pub fn give_up_privileges(sandbox: Sandbox) -> Result<(), ConfinementError> {
    capabilities::keep_those_over_files()
        .map_err(|error| doing("give up capabilities")(io::Error::from(error)))?;
    set_no_new_privs(true).map_err(doing("give up new privileges"))?;
    match sandbox {
        Sandbox::On => keep_memory_to_itself(),
        Sandbox::Off => Ok(()),
    }
}

/// No core, and no look into the memory, not even for this process's own user: keys are in it.
fn keep_memory_to_itself() -> Result<(), ConfinementError> {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    setrlimit(Resource::Core, none).map_err(doing("forbid cores"))?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(doing("hide the memory"))
}

/// The soft limit that a process starts with is low for the sake of select(2), which is not used here.
fn limit_descriptors(most: u64) -> Result<(), ConfinementError> {
    let maximum = getrlimit(Resource::Nofile)
        .maximum
        .map_or(most, |maximum| maximum.min(most));
    let limit = Rlimit {
        current: Some(maximum),
        maximum: Some(maximum),
    };
    setrlimit(Resource::Nofile, limit).map_err(doing("limit descriptors"))
}

/// How many threads this process has; where `/proc` does not say, the one that asks.
fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count)
}
