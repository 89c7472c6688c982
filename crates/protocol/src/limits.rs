//! Every bound on what a peer may send, each named once and checked before anything is allocated.

/// Longest payload of a control frame, bytes.
pub const MAX_CONTROL_PAYLOAD: u32 = 64 * 1024;

/// Longest payload of a data frame, bytes.
pub const MAX_DATA_PAYLOAD: u32 = 1024 * 1024;

/// Length of a content block, bytes: the unit of the block tree (see [`Digest`](crate::Digest)).
pub const BLOCK: u64 = 1024 * 1024;

/// Longest greeting line, bytes, CR LF included.
pub const MAX_GREETING: usize = 512;

/// Longest remote path, bytes (`PATH_MAX` of Linux counts the closing NUL, so one less).
pub const MAX_PATH: usize = 4095;

/// Most components of a remote path.
pub const MAX_COMPONENTS: usize = 255;

/// Longest component of a remote path, bytes (`NAME_MAX` of Linux).
pub const MAX_NAME: usize = 255;

/// Longest version token, bytes.
pub const MAX_VERSION_TOKEN: usize = 64;

/// Longest ticket, bytes.
pub const MAX_TICKET: usize = 512;

/// Longest user name, password, host name, or explaining text, bytes.
pub const MAX_TEXT: usize = 1024;

/// Content that a single `StoreWhole` frame may carry, bytes.
pub const MAX_INLINE_CONTENT: usize = 56 * 1024;

/// Requests a client may have outstanding, unless the preface of the server announces another number.
pub const WINDOW_REQUESTS: u32 = 256;

/// Answer bytes a server buffers before it stops reading, unless its preface announces another number.
pub const WINDOW_ANSWER_BYTES: u32 = 1024 * 1024;

/// Most slaves in one answer of the master.
pub const MAX_SLAVES: usize = 64;

/// Most addresses by which one slave is offered.
pub const MAX_ADDRESSES: usize = 8;

/// Most block digests in one frame (32 bytes each, below the control payload's bound).
pub const MAX_BLOCK_DIGESTS: usize = 2000;

/// Most levels below the listed folder that a recursive listing descends.
pub const MAX_DEPTH: usize = 64;

/// Seconds that a ticket is good for.
pub const TICKET_LIFE_S: u64 = 600;

/// Most redirects (master answers) a client follows for one operation.
pub const MAX_REDIRECTS: usize = 16;

/// Most revocations in one answer to a heartbeat.
pub const MAX_REVOCATIONS: usize = 64;
