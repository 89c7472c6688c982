//! Where the bytes of a transfer come from. Only the sending side looks at the difference.

use std::fmt;
use std::fs::File;
use std::io::Read;

/// A content to send.
pub enum Source {
    /// A file, read at explicit offsets, so that `sendfile` serves it and its descriptor may be shared.
    File {
        /// Open for reading; its own position means nothing.
        file: File,
        /// The content's length in bytes when the file was opened; one that is shorter by now has changed.
        length: u64,
    },
    /// Bytes that come in order, beginning where they were asked for.
    Stream(Box<dyn Read + Send>),
}

impl fmt::Debug for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { file, length } => formatter
                .debug_struct("File")
                .field("file", file)
                .field("length", length)
                .finish(),
            Self::Stream(_) => formatter.write_str("Stream"),
        }
    }
}
