//! The client library: connect, follow a redirect, download, upload, retry.
//!
//! A [`Client`] speaks to whichever slave serves it now. When that slave is lost, between commands or in the middle of a
//! transfer, the next one carries on where it stopped; the caller learns of it by a [`Notice`]. It prints nothing and
//! asks nobody: what a person sees is the program's business.
//!
//! | subject | where |
//! | --- | --- |
//! | who serves: masters, offers, tickets, failover | `route`, `master`, `renewal`, `session`, `retry` |
//! | who the user is, who the server is, and to whom a secret may be said | `login`, `trust`, `secrecy` |
//! | a connection that never waits in vain, in clear or over TLS | `dial`, `patient`, `channel`, `probe`, `aside` |
//! | names on the local side | `folder`, `names`, `part_file`, `place` |
//! | what is kept between two tries | `formats`, `trailer`, `state_folder`, `upload_record`, `known_digest` |
//! | one file | `download`, `at_hand`, `fetch`, `block_digests`, `repair`, `upload`, `sending` |
//! | one file from several slaves at once | `stripe` and what is below it |
//! | whole trees, from as many slaves as help | `tree_desk`, `tree_crew`, `tree_report` |
//! | a tree that is fetched | `tree_download`, `backlog`, `tree_job`, `tree_fetch`, `batch` |
//! | a tree that is sent | `tree_upload`, `walk`, `tree_spread`, `tree_outgoing`, `tree_send` |
//! | making a tree equal to another | `mirror`, `mirror_tree`, `mirror_plan`, `mirror_compare`, `mirror_work`, `mirror_orders` |
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod aside;
mod asking;
mod at_hand;
mod backlog;
mod batch;
mod block_digests;
mod channel;
mod client;
mod commands;
mod compare;
mod content;
mod context;
mod dial;
mod download;
mod draft;
mod error;
mod fault;
mod fetch;
mod folder;
pub mod formats;
mod known_digest;
mod list;
mod login;
mod master;
mod mirror;
mod mirror_compare;
mod mirror_moves;
mod mirror_orders;
mod mirror_plan;
mod mirror_tree;
mod mirror_work;
mod names;
mod notice;
mod options;
mod part_file;
mod patient;
mod place;
mod probe;
mod publish;
mod rate;
mod renewal;
mod repair;
mod retry;
mod route;
mod secrecy;
mod sending;
mod session;
mod several;
mod source_file;
mod state_folder;
mod stripe;
mod target;
mod trailer;
mod transferred;
mod tree_content;
mod tree_crew;
mod tree_desk;
mod tree_download;
mod tree_fetch;
mod tree_job;
mod tree_outbox;
mod tree_outgoing;
mod tree_report;
mod tree_send;
mod tree_share;
mod tree_spread;
mod tree_upload;
mod trust;
mod under_way;
mod upload;
mod upload_key;
mod upload_record;
mod walk;

pub use client::Client;
pub use commands::{KnownSlave, Space, Sum};
pub use error::{ClientError, ClientErrorKind};
pub use list::Listing;
pub use login::Credentials;
pub use mirror::{
    Change, Comparison, Mirror, MirrorItem, MirrorRules, MirrorSummary, Outcome, Side,
};
pub use notice::{Notice, Observer, Progress, Silent};
pub use options::{Interrupt, Options};
pub use target::{Target, TargetError};
pub use transferred::{Conflict, Download, Status, Transferred, TreeItem, TreeSummary, Upload};
pub use trust::{Encryption, Trust};

/// What every operation gives back.
pub type Result<T> = std::result::Result<T, ClientError>;
