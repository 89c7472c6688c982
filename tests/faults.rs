//! Faults: what the programs live through is drawn from a seed, and what they have promised is checked against ledgers.

mod durability;
mod power_cuts;
mod sweep;
