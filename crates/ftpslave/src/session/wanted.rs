//! A request for content, in a form that can be told from another one.

use protocol::{RemotePath, Request, Version};
use storage::OpenFile;
use transfer::Range;

/// What a client asks of a file's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) path: RemotePath,
    pub(super) offset: u64,
    pub(super) length: u64,
    pub(super) expected: Option<Version>,
    pub(super) digest: bool,
}

impl Wanted {
    /// What is asked for, if it is content.
    pub(super) fn by(request: Request) -> Option<Self> {
        match request {
            Request::Retrieve {
                path,
                offset,
                length,
                expected,
                digest,
            } => Some(Self {
                path,
                offset,
                length,
                expected,
                digest,
            }),
            _ => None,
        }
    }

    /// The part of the file that this is; `None` where the file does not reach that far.
    pub(super) fn range_in(&self, file: &dyn OpenFile, request: u32) -> Option<Range> {
        let behind = file.entry().size.checked_sub(self.offset)?;
        Some(Range {
            offset: self.offset,
            length: self.length.min(behind),
            request,
        })
    }
}
