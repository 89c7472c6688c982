//! Who may do what: state directory, keys, tickets, proofs of registration.
//!
//! Everything here starts from one secret, the master key in the state directory. A slave is handed the one key that
//! is its own, so a broken slave can forge nothing for another one.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod keys;
mod mac;
mod random;
mod registration;
mod state_directory;
mod state_file;
mod ticket;

pub use keys::{MasterKey, RegistrationKey, SlaveKey};
pub use random::{fresh_nonce, fresh_secret};
pub use registration::{Identification, Introduction, ProofError};
pub use state_directory::{StateDirectory, StateError};
pub use ticket::{ClientClaim, Grant, IssueError, TicketError, check, issue};
