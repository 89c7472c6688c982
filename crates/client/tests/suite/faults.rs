//! What a fake slave can be told to do wrong.

use std::time::Duration;

use protocol::{Digest, ErrorCode, Request};

/// The digest that is kept with a file, as a fake slave tells it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Kept {
    /// That of the content.
    #[default]
    Right,
    /// Another one.
    Other(Digest),
    /// Says nothing any more to whoever asks.
    Silent,
}

/// Each happens once, unless it says otherwise, and is then forgotten.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    /// Says `421` to every connection.
    pub(crate) busy: bool,
    /// Which requests it does not know, always.
    pub(crate) unknown: Option<fn(&Request) -> bool>,
    /// Says nothing before it has heard what is asked behind the ticket, always; on how many connections it has.
    pub(crate) questions_ahead: Option<u32>,
    /// Answers every ticket with this.
    pub(crate) refuse_tickets: Option<ErrorCode>,
    /// Is gone after so many bytes of content sent.
    pub(crate) die_after_sent: Option<u64>,
    /// Is gone after so many bytes of content received.
    pub(crate) die_after_received: Option<u64>,
    /// Is gone after an upload or command was carried out, before it is answered.
    pub(crate) die_before_answer: bool,
    /// Is gone once so many files are stored, before that is said of the last.
    pub(crate) die_after_stored: Option<u32>,
    /// Says nothing any more, to anyone, after so many bytes of content sent.
    pub(crate) hang_after_sent: Option<u64>,
    /// Ends the connection before the byte of content at this offset of the file, always.
    pub(crate) cut_at: Option<u64>,
    /// Says that files have this size, always.
    pub(crate) claimed_size: Option<u64>,
    /// What it says of the digest that was kept with a file, always.
    pub(crate) kept: Kept,
    /// Keeps its answers until so many more requests have come.
    pub(crate) keep_answers: u32,
    /// Rests before each piece of content, always.
    pub(crate) rest: Duration,
    /// Flips a bit of the byte of content at this offset of the file.
    pub(crate) flip: Option<u64>,
    /// Whether that happens every time.
    pub(crate) flip_always: bool,
    /// Puts this content in place of the file after so many bytes sent, and says that it changed.
    pub(crate) change_after_sent: Option<(u64, Vec<u8>)>,
    /// Refuses an upload with this after so many bytes received.
    pub(crate) refuse_store: Option<(u64, ErrorCode)>,
    /// Refuses to make a folder with this.
    pub(crate) refuse_folder: Option<ErrorCode>,
    /// Answers so many small files or folders with something that is no answer to them.
    pub(crate) nonsense: u32,
    /// Says that a content did not match its digest: so many times.
    pub(crate) corrupt: u32,
    /// Is gone after so many parts of a listing.
    pub(crate) die_after_parts: Option<u32>,
    /// Lists these names as well, as files, every time.
    pub(crate) also_lists: Vec<&'static str>,
    /// Lists these folders as ones that it cannot read, every time.
    pub(crate) cannot_read: Vec<String>,
    /// Sends up to so many pieces behind a content that was announced without them, once; then as many as it has sent.
    pub(crate) overflow: Overflow,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Overflow {
    #[default]
    Never,
    Once(u32),
    Sent(u32),
}
