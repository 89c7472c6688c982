//! Who may do what, and over what: accounts, state directory, keys, tickets, proofs of registration, TLS.
//!
//! Tickets and proofs start from one secret, the master key in the state directory. A slave is handed the keys that are
//! its own, so a broken slave can forge nothing for another one; one on another machine is given them for an
//! [`Invitation`]. Passwords are kept as argon2id hashes, and checked
//! by a [`Gatekeeper`], which bounds what strangers can make it compute.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod accounts;
mod accounts_file;
mod fleet;
mod fleet_file;
mod gatekeeper;
mod invitation;
mod keys;
mod lanes;
mod mac;
mod own_keys;
mod password;
mod pin_file;
mod pins;
mod queue;
mod random;
mod registration;
mod rights_file;
mod served_file;
mod state_directory;
mod state_file;
mod ticket;
pub mod tls;
mod toml_file;

pub use accounts::{Account, Accounts, Home, HomeError, NameError, UserName, whose_rights_changed};
pub use accounts_file::{AccountsError, AccountsFile};
pub use fleet::{Fleet, JoinError, MAX_INVITATIONS, MAX_MEMBERS, TooManyInvitations};
pub use fleet_file::{Edition, FleetError, FleetFile};
pub use gatekeeper::{Attempt, Gatekeeper, LoginError};
pub use invitation::{Invitation, InvitationError};
pub use keys::{MasterKey, RegistrationKey, SlaveKey};
pub use own_keys::{OwnKeys, RoomForKeys};
pub use password::{PasswordError, PasswordHash};
pub use pin_file::{PinError, PinFile};
pub use pins::{AddError, Pin, Pins, Remembered};
pub use random::{fresh_nonce, fresh_secret};
pub use registration::{Identification, Introduction, ProofError};
pub use rights_file::RightsFile;
pub use served_file::{Served, ServedFile};
pub use state_directory::{StateDirectory, StateError};
pub use ticket::{ClientClaim, Grant, IssueError, TicketError, check, issue};
pub use toml_file::Malformed;
