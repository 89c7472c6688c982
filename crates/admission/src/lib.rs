//! Who may come in, and for how long: limits against abuse, the same for master and slaves.
//!
//! A server makes a [`Gate`] over memory that all its processes share. A connection that is let in is a [`Visit`]: it
//! counts until it is dropped, and once it has logged in it counts for its user too. What a process held is given back
//! when it is killed, by [`give_back`]. Every [`Limit`] has a counter of how often somebody ran into it; a [`Reporter`]
//! puts them into words.
//!
//! | part | its subject |
//! | --- | --- |
//! | `limits` | the table: every limit, its default, its option, its sentence |
//! | `gate` | the decisions |
//! | `tally` | counts that a killed process gives back |
//! | `penalties` | sources that are not listened to for a while |
//! | `source` | whom an address belongs to |
//! | `memory` `counters` | where all of it stands; how often a limit was hit |
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod counters;
mod gate;
mod limits;
mod memory;
mod penalties;
mod source;
mod tally;

pub use counters::Reporter;
pub use gate::{Gate, Stage, Visit};
pub use limits::{
    HASHES_WAITING, Lapse, Limit, Limits, MESSAGE, MINIMUM_RATE_OVER, MOST_CONNECTIONS,
    REFUSED_LOGINS, RateFloor, STALL, Startups, StartupsError, UNKNOWN_REQUESTS, connections_for,
};
pub use memory::{WORDS, Words, give_back, of_one_process, prepare};
pub use penalties::Offence;
pub use source::source_of;
