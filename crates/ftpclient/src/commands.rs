//! What the commands do, a file for each group of them.

mod each;
pub(crate) mod facts;
pub(crate) mod folders;
pub(crate) mod get;
pub(crate) mod help;
pub(crate) mod list;
pub(crate) mod local_side;
pub(crate) mod mirror;
pub(crate) mod put;
