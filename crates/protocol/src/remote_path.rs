//! Remote paths: parsed once into a form that cannot name anything above the root, never validated twice.

use std::fmt;

use thiserror::Error;

use crate::limits::{MAX_COMPONENTS, MAX_NAME, MAX_PATH};

/// An absolute path on a slave: `/`, or components each led by one `/`. A component is any bytes but NUL and `/`, is not
/// empty, `.` or `..`, and has at most [`MAX_NAME`] bytes. There is no other way to write the same path.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RemotePath(Vec<u8>);

/// Why bytes are no remote path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PathError {
    /// Does not begin with `/`.
    #[error("path is not absolute")]
    NotAbsolute,
    /// Holds a NUL byte.
    #[error("path holds a NUL byte")]
    Nul,
    /// An empty component, `.` or `..`, or a closing `/`, where only the normal form is allowed.
    #[error("path is not normalised")]
    NotNormal,
    /// More bytes than [`MAX_PATH`] or more components than [`MAX_COMPONENTS`].
    #[error("path too long")]
    TooLong,
    /// A component of more than [`MAX_NAME`] bytes.
    #[error("name too long")]
    NameTooLong,
}

impl RemotePath {
    /// The root, `/`.
    #[must_use]
    pub fn root() -> Self {
        Self(b"/".to_vec())
    }

    /// A path in the only form allowed on the wire.
    ///
    /// # Errors
    /// Everything that [`PathError`] names; nothing is repaired.
    pub fn parse(bytes: &[u8]) -> Result<Self, PathError> {
        let Some((b'/', rest)) = bytes.split_first() else {
            return Err(PathError::NotAbsolute);
        };
        check_lengths(bytes)?;
        if !rest.is_empty() {
            rest.split(|&byte| byte == b'/')
                .try_for_each(check_component)?;
        }
        Ok(Self(bytes.to_vec()))
    }

    /// What a person's `typed` path means when `self` is the current folder: relative or absolute, with `.`, `..` and
    /// repeated `/` resolved by the text alone; `..` stops at the root.
    ///
    /// # Errors
    /// [`PathError::Nul`], [`PathError::TooLong`], [`PathError::NameTooLong`].
    pub fn resolve(&self, typed: &[u8]) -> Result<Self, PathError> {
        let mut resolved = if typed.first() == Some(&b'/') {
            Self::root()
        } else {
            self.clone()
        };
        for component in typed.split(|&byte| byte == b'/') {
            match component {
                b"" | b"." => {}
                b".." => resolved = resolved.parent().unwrap_or_else(Self::root),
                name => resolved = resolved.join(name)?,
            }
        }
        Ok(resolved)
    }

    /// This folder's entry of that name.
    ///
    /// # Errors
    /// When `name` is no single component or the result is too long.
    pub fn join(&self, name: &[u8]) -> Result<Self, PathError> {
        check_component(name)?;
        let mut bytes = self.0.clone();
        if !self.is_root() {
            bytes.push(b'/');
        }
        bytes.extend_from_slice(name);
        check_lengths(&bytes)?;
        Ok(Self(bytes))
    }

    /// What a recursive listing of this folder means by `below`: components joined by `/`.
    ///
    /// # Errors
    /// When one of them is no component or the result is too long.
    pub fn join_all(&self, below: &[u8]) -> Result<Self, PathError> {
        below
            .split(|&byte| byte == b'/')
            .try_for_each(check_component)?;
        let length = self.0.len() + 1 + below.len();
        let mut bytes = Vec::with_capacity(length);
        bytes.extend_from_slice(&self.0);
        if !self.is_root() {
            bytes.push(b'/');
        }
        bytes.extend_from_slice(below);
        check_lengths(&bytes)?;
        Ok(Self(bytes))
    }

    /// The folder that holds this path; `None` for the root.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        let (parent, _) = self.split()?;
        Some(if parent.is_empty() {
            Self::root()
        } else {
            Self(parent.to_vec())
        })
    }

    /// The last component; `None` for the root.
    #[must_use]
    pub fn name(&self) -> Option<&[u8]> {
        self.split().map(|(_, name)| name)
    }

    /// The components from the root down; none for the root.
    pub fn components(&self) -> impl Iterator<Item = &[u8]> {
        self.0
            .split(|&byte| byte == b'/')
            .filter(|component| !component.is_empty())
    }

    /// Whether this is `/`.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0 == b"/"
    }

    /// Whether `self` is `other` or lies beneath it.
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        other.is_root()
            || self
                .0
                .strip_prefix(other.0.as_slice())
                .is_some_and(|rest| matches!(rest.first(), None | Some(b'/')))
    }

    /// The path's bytes, beginning with `/`.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The path's bytes as seen from the root, without the leading `/`: empty for the root itself.
    #[must_use]
    pub fn relative(&self) -> &[u8] {
        self.0.get(1..).unwrap_or_default()
    }

    fn split(&self) -> Option<(&[u8], &[u8])> {
        if self.is_root() {
            return None;
        }
        let slash = self.0.iter().rposition(|&byte| byte == b'/')?;
        Some((self.0.get(..slash)?, self.0.get(slash + 1..)?))
    }
}

/// A component as it may stand in a path or a listing: one name, not a way to another folder.
///
/// # Errors
/// [`PathError::NotNormal`] for an empty name, `.`, `..` or one with `/`; [`PathError::Nul`]; [`PathError::NameTooLong`].
pub fn check_component(name: &[u8]) -> Result<(), PathError> {
    if name.contains(&0) {
        Err(PathError::Nul)
    } else if matches!(name, b"" | b"." | b"..") || name.contains(&b'/') {
        Err(PathError::NotNormal)
    } else if name.len() > MAX_NAME {
        Err(PathError::NameTooLong)
    } else {
        Ok(())
    }
}

fn check_lengths(path: &[u8]) -> Result<(), PathError> {
    let components = path.iter().filter(|&&byte| byte == b'/').count();
    if path.len() > MAX_PATH || components > MAX_COMPONENTS {
        Err(PathError::TooLong)
    } else {
        Ok(())
    }
}

impl TryFrom<&str> for RemotePath {
    type Error = PathError;

    fn try_from(text: &str) -> Result<Self, PathError> {
        Self::parse(text.as_bytes())
    }
}

impl fmt::Debug for RemotePath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "\"{}\"", self.0.escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn path(text: &str) -> RemotePath {
        RemotePath::try_from(text).unwrap()
    }

    #[test]
    fn only_the_normal_form_is_a_path() {
        assert_eq!(RemotePath::parse(b""), Err(PathError::NotAbsolute));
        assert_eq!(RemotePath::parse(b"a"), Err(PathError::NotAbsolute));
        for bad in ["//", "/a/", "/a//b", "/.", "/..", "/a/../b", "/a/."] {
            assert_eq!(
                RemotePath::parse(bad.as_bytes()),
                Err(PathError::NotNormal),
                "{bad}"
            );
        }
        assert_eq!(RemotePath::parse(b"/a\0b"), Err(PathError::Nul));
        assert_eq!(
            RemotePath::parse(&[b"/", [b'a'; 256].as_slice()].concat()),
            Err(PathError::NameTooLong)
        );
        assert_eq!(
            RemotePath::parse(&b"/a".repeat(256)),
            Err(PathError::TooLong)
        );
        assert!(RemotePath::parse(b"/\xff\n~").is_ok());
    }

    #[test]
    fn typed_paths_resolve_lexically_and_stop_at_the_root() {
        let folder = path("/pub/music");
        for (typed, meant) in [
            ("", "/pub/music"),
            ("a", "/pub/music/a"),
            ("../a", "/pub/a"),
            ("../../../../a", "/a"),
            ("/x//y/./z/", "/x/y/z"),
            ("..", "/pub"),
            ("/", "/"),
        ] {
            assert_eq!(folder.resolve(typed.as_bytes()), Ok(path(meant)), "{typed}");
        }
    }

    #[test]
    fn an_entry_is_one_name() {
        assert_eq!(path("/a").join(b"b"), Ok(path("/a/b")));
        for bad in ["", ".", "..", "/", "/b", "b/", "b/c", "../b"] {
            let joined = path("/a").join(bad.as_bytes());
            assert_eq!(joined, Err(PathError::NotNormal), "{bad}");
        }
        assert_eq!(path("/a").join(b"b\0"), Err(PathError::Nul));
    }

    #[test]
    fn what_is_below_a_folder_is_checked_component_by_component() {
        assert_eq!(path("/a").join_all(b"b/c"), Ok(path("/a/b/c")));
        assert_eq!(RemotePath::root().join_all(b"b"), Ok(path("/b")));
        for bad in ["", "/b", "b/", "b//c", "../b", "b/.."] {
            let joined = path("/a").join_all(bad.as_bytes());
            assert_eq!(joined, Err(PathError::NotNormal), "{bad}");
        }
        let deep = path("/a").join_all("b/".repeat(255).trim_end_matches('/').as_bytes());
        assert_eq!(deep, Err(PathError::TooLong));
    }

    #[test]
    fn parents_and_names() {
        assert_eq!(path("/a/b").parent(), Some(path("/a")));
        assert_eq!(path("/a").parent(), Some(RemotePath::root()));
        assert_eq!(RemotePath::root().parent(), None);
        assert_eq!(path("/a/b").name(), Some(b"b".as_slice()));
        assert_eq!(RemotePath::root().name(), None);
        assert!(path("/a/b").is_within(&path("/a")));
        assert!(!path("/ab").is_within(&path("/a")));
        assert!(path("/ab").is_within(&RemotePath::root()));
    }

    proptest! {
        #[test]
        fn whatever_is_typed_stays_beneath_the_root(typed in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(resolved) = path("/a/b").resolve(&typed) {
                prop_assert_eq!(RemotePath::parse(resolved.as_bytes()), Ok(resolved.clone()));
            }
        }

        #[test]
        fn components_rebuild_the_path(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(parsed) = RemotePath::parse(&[b"/", bytes.as_slice()].concat()) {
                let rebuilt = parsed.components().try_fold(RemotePath::root(), |path, name| path.join(name));
                prop_assert_eq!(rebuilt, Ok(parsed));
            }
        }
    }
}
