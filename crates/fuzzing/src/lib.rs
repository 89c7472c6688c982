//! What must hold of every decoder, whatever bytes it is given: the targets of `make fuzz`, which `cargo test` runs over
//! the seeds in `fuzz/seeds`.
//!
//! | target | what it is given | whose bytes those are |
//! | --- | --- | --- |
//! | `request` | preface, frames, requests and content, as a slave reads them | any client's |
//! | `reply` | greeting, preface, frames, replies and content, as a client reads them | any server's |
//! | `master` | what a master is asked and answers: locating, login, registration, joining, revocation | anybody's |
//! | `ticket` | tickets, forged, or made with the slave's own key | any client's |
//! | `path` | remote paths, typed and on the wire | any peer's |
//! | `accounts` | `users.toml` | the operator's |
//! | `fleet` | `slaves.toml`, the keys that a slave was given, and what a master remembers of its slaves | the operator's |
//! | `pins` | `known_masters` | the user's |
//! | `netrc` | `.netrc` | the user's |
//! | `words` | lines of commands | the user's |
//! | `glob` | wildcards, and the rules of `mirror` | the user's, matched with any peer's names |
//! | `values` | sizes, rates, hosts, names, fingerprints, invitations | the operator's and the user's |
//! | `options` | the value of every option of the three programs | the operator's and the user's |
//! | `config` | configuration files of the three programs | the operator's |
//! | `stored` | the digest kept with a file, ledgers of quotas | whoever writes to the storage |
//! | `resume` | what a client left to go on with a transfer | whoever writes to the user's folders |
//!
//! Beyond that no target panics, each holds the decoder to what it promises: what is decoded is decoded again from its own
//! encoding, a slow and obvious second way says the same, paths lead nowhere else; and none takes more memory than
//! [`Target::run`] allows.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod accounts;
mod config;
mod frames;
mod glob;
mod netrc;
mod options;
mod path;
mod pins;
mod resume;
mod stored;
mod stream;
mod ticket;
mod values;
mod words;

use sys::allocations::{Counting, most_held};

pub use accounts::{ACCOUNTS, FLEET};
pub use config::CONFIG;
pub use frames::{MASTER, REPLY, REQUEST};
pub use glob::GLOB;
pub use netrc::NETRC;
pub use options::OPTIONS;
pub use path::PATH;
pub use pins::PINS;
pub use resume::RESUME;
pub use stored::STORED;
pub use ticket::TICKET;
pub use values::VALUES;
pub use words::WORDS;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bytes that most decoders may hold for each byte that they are given: a text of one byte takes a pointer, two lengths and an
/// allocation, a growing list twice as many and the old one beside it, and all of it is decoded twice.
const USUAL: usize = 64;

/// A decoder, or several of one subject, with what must hold of them.
#[derive(Debug)]
pub struct Target {
    /// As the target and the folder with its seeds are called.
    pub name: &'static str,
    /// Bytes that it may hold for an input of no bytes: buffers, messages of errors.
    fixed: usize,
    /// And for each byte of the input.
    for_each_byte: usize,
    /// Makes what every input needs, once a thread; it is not counted.
    prepare: fn(),
    work: fn(&[u8]),
}

const fn nothing() {}

/// Every target.
pub static ALL: [&Target; 16] = [
    &REQUEST, &REPLY, &MASTER, &TICKET, &PATH, &ACCOUNTS, &FLEET, &PINS, &NETRC, &WORDS, &GLOB,
    &VALUES, &OPTIONS, &CONFIG, &STORED, &RESUME,
];

impl Target {
    /// Feeds it an input.
    ///
    /// # Panics
    /// Something that must hold does not, or too much memory was held at once.
    pub fn run(&self, input: &[u8]) {
        (self.prepare)();
        let most = self.fixed + self.for_each_byte * input.len();
        let held = most_held(|| (self.work)(input));
        assert!(
            held <= most,
            "{}: {held} bytes were held for an input of {}",
            self.name,
            input.len()
        );
    }
}
