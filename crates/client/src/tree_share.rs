//! How much of a tree waits, and how much of that one stream may have under way.

/// So many files any stream may have under way: a slave that gets them one by one spends its time waiting.
const FEW: Share = Share {
    files: 32,
    bytes: 256 * 1024,
};

/// More bytes need not be under way on any line.
const MUCH: u64 = 16 * 1024 * 1024;

/// What waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Left {
    pub(crate) files: usize,
    pub(crate) bytes: u64,
}

/// How much one stream may have under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    files: usize,
    bytes: u64,
}

impl Share {
    pub(crate) fn of(left: Left, streams: u32) -> Self {
        if streams <= 1 {
            return Self {
                files: usize::MAX,
                bytes: u64::MAX,
            };
        }
        let parts = 2 * streams;
        Self {
            files: (left.files / usize::try_from(parts).unwrap_or(usize::MAX)).max(FEW.files),
            bytes: (left.bytes / u64::from(parts)).clamp(FEW.bytes, MUCH),
        }
    }

    /// Whether it holds another file behind so many, of so many bytes.
    pub(crate) const fn has_room(&self, files: usize, bytes: u64) -> bool {
        files == 0 || (files < self.files && bytes < self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_become_small_towards_the_end_and_one_stream_has_all() {
        let left = Left {
            files: 1000,
            bytes: 100 * 1024 * 1024,
        };
        let many = Share::of(left, 3);
        assert!(many.has_room(165, 0) && !many.has_room(166, 0));
        assert!(many.has_room(1, MUCH - 1) && !many.has_room(1, MUCH));
        let few = Share::of(Left::default(), 3);
        assert!(few.has_room(31, 0) && !few.has_room(32, 0));
        assert!(few.has_room(0, u64::MAX) && !few.has_room(1, FEW.bytes));
        assert!(Share::of(left, 1).has_room(100_000, u64::MAX - 1));
    }
}
