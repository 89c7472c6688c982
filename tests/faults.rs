//! Faults: everything goes wrong, drawn from a seed, while clients keep a ledger of what they were told.

mod storm;
