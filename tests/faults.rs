//! Faults: what is promised of bad days, measured under faults that a seed draws, each run long by a make target.

mod failover;
mod restart;
mod soak;
