//! What a listing or `stat` says of one name, and what an account may do.

use crate::{Digest, Version};

/// One name in the storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// One component; in a recursive listing the path below the listed folder, components joined by `/`. Empty in the
    /// answer about one path.
    pub name: Vec<u8>,
    /// What the name stands for.
    pub kind: EntryKind,
    /// Bytes of content; 0 for anything but a file, and where facts were not asked for.
    pub size: u64,
    /// Modification time, nanoseconds since the epoch (negative before it).
    pub modified_ns: i64,
    /// Permission bits, 0777.
    pub mode: u16,
    /// The file's version token; files only, and only where facts were asked for.
    pub version: Option<Version>,
    /// The content's digest, where the storage knows it already.
    pub digest: Option<Digest>,
}

impl Entry {
    /// How many bytes of a payload it takes.
    #[must_use]
    pub fn encoded_length(&self) -> usize {
        // The name's length, kind, size, modification time, mode, and whether there are a version and a digest.
        const FIXED: usize = 2 + 1 + 8 + 8 + 2 + 1 + 1;
        let version = self.version.as_ref();
        let version = version.map_or(0, |version| 2 + version.as_bytes().len());
        let digest = self.digest.map_or(0, |digest| digest.0.len());
        FIXED + self.name.len() + version + digest
    }
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A folder.
    Directory,
    /// A symbolic link.
    Link,
    /// A device, pipe or socket: listed, never transferred.
    Other,
}

impl EntryKind {
    /// The number on the wire.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::File => 1,
            Self::Directory => 2,
            Self::Link => 3,
            Self::Other => 4,
        }
    }

    /// The kind of that number.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::File),
            2 => Some(Self::Directory),
            3 => Some(Self::Link),
            4 => Some(Self::Other),
            _ => None,
        }
    }
}

/// What an account, or everybody where there are no accounts, may do: a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rights(u8);

impl Rights {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// List, read, and ask for facts.
    pub const READ: Self = Self(1);
    /// Store, make folders, rename.
    pub const WRITE: Self = Self(2);
    /// Remove and replace.
    pub const DELETE: Self = Self(4);
    /// Reading alone.
    pub const READ_ONLY: Self = Self::READ;
    /// Everything.
    pub const ALL: Self = Self(7);

    /// Whether all of `other` is in this set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// This set and `other` together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The set as bits, as on the wire.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// The set of these bits; `None` when a bit means nothing.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Option<Self> {
        if bits & !Self::ALL.0 == 0 {
            Some(Self(bits))
        } else {
            None
        }
    }
}
