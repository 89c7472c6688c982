//! Where a `get` or `put` puts things: the rules about the last name, the same for both directions.

/// What the last name stands for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Existing {
    Nothing,
    Folder,
    /// A file, or anything else that holds no names.
    File,
}

/// What is to be stored there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sources {
    OneFile,
    /// A folder, with `-r`.
    OneTree,
    Several,
}

/// What the last name means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placement {
    /// It is the copy's own name.
    As,
    /// It is the folder that takes the copies under their own names.
    Into,
    /// Likewise, and the folder is to be made first.
    IntoNew,
}

/// A folder is meant, and there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotAFolder;

/// Decides. `closed` says that the name ends in `/`.
pub(crate) fn place(
    existing: Existing,
    closed: bool,
    sources: Sources,
) -> Result<Placement, NotAFolder> {
    match (existing, sources) {
        (Existing::Folder, _) => Ok(Placement::Into),
        // As `cp -r` has it: the copy of a folder is a folder, so the `/` says nothing new.
        (Existing::Nothing, Sources::OneTree) => Ok(Placement::As),
        (Existing::Nothing, _) if closed => Ok(Placement::IntoNew),
        (Existing::Nothing | Existing::File, Sources::OneFile) if !closed => Ok(Placement::As),
        _ => Err(NotAFolder),
    }
}

/// Whether a typed name says by itself that it is a folder.
pub(crate) fn is_closed(name: &[u8]) -> bool {
    let last = name.rsplit(|&byte| byte == b'/').next();
    matches!(last, Some(b"" | b"." | b"..")) && !name.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules() {
        use Existing::{File, Folder, Nothing};
        use Placement::{As, Into, IntoNew};
        use Sources::{OneFile, OneTree, Several};
        for (existing, closed, sources, expected) in [
            (Nothing, false, OneFile, Ok(As)),
            (Nothing, true, OneFile, Ok(IntoNew)),
            (Folder, false, OneFile, Ok(Into)),
            (Folder, true, OneFile, Ok(Into)),
            (File, false, OneFile, Ok(As)),
            (File, true, OneFile, Err(NotAFolder)),
            (Nothing, false, OneTree, Ok(As)),
            (Nothing, true, OneTree, Ok(As)),
            (Folder, false, OneTree, Ok(Into)),
            (File, false, OneTree, Err(NotAFolder)),
            (Nothing, false, Several, Err(NotAFolder)),
            (Nothing, true, Several, Ok(IntoNew)),
            (Folder, false, Several, Ok(Into)),
            (File, false, Several, Err(NotAFolder)),
        ] {
            assert_eq!(
                place(existing, closed, sources),
                expected,
                "{existing:?} {closed} {sources:?}"
            );
        }
    }

    #[test]
    fn names_that_can_only_be_folders() {
        for name in ["a/", "/", ".", "..", "a/..", "a/."] {
            assert!(is_closed(name.as_bytes()), "{name}");
        }
        for name in ["", "a", "/a", "...", "a/b"] {
            assert!(!is_closed(name.as_bytes()), "{name}");
        }
    }
}
