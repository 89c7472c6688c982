//! Faults: what the programs live through is drawn from a seed, and what they have promised is checked against ledgers. Each
//! subject runs short with the others, and long by a make target.

mod durability;
mod failover;
mod power_cuts;
mod restart;
mod soak;
mod storm;
mod sweep;
