//! Who may do what: state directory, keys, tickets, proofs of registration.
#![forbid(unsafe_code)]
