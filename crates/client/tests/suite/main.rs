//! The client against slaves and masters that live in this process and can be told to misbehave.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a failed setup is a failed test"
)]

mod at_hand;
mod connecting;
mod downloads;
mod encrypted;
mod faults;
mod first_words;
mod front;
mod master;
mod mirrors;
mod setting;
mod several;
mod slave;
mod storage;
mod striping;
mod talk;
mod talk_content;
mod trees;
mod uploads;
