//! What a server gives up before it meets anybody: user, capabilities, files, sockets, system calls.
//!
//! Knows nothing of file transfer. A process first becomes the user it shall be ([`User::become_it`]), opens what it
//! needs, and then enters its [`Confinement`]: from there on it has what the tables say, and has tried that it has no
//! more.
//!
//! | file | its subject |
//! | --- | --- |
//! | `user` `capabilities` | who the process is, and what the superuser is left |
//! | `hierarchies` | the table of files: Landlock |
//! | `calls` `filter` | the table of system calls: seccomp |
//! | `kernel` | what the kernel can forbid at all |
//! | `self_test` | whether it does |
#![forbid(unsafe_code)]

mod calls;
mod capabilities;
mod error;
mod filter;
mod hierarchies;
mod kernel;
mod process;
mod self_test;
mod user;

pub use error::{ConfinementError, UserError};
pub use hierarchies::{Allowed, Hierarchy, Network};
pub use kernel::{Kernel, Missing};
pub use process::{Confinement, Sandbox, give_up_privileges};
pub use user::User;
