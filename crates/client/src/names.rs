//! Names that this side makes up: of partial downloads, and of what is stored beside something else.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use protocol::limits::MAX_NAME;
use protocol::{ErrorCode, PathError, RemotePath};

use crate::ClientError;

/// How much of a name is kept where `.NAME.part` would be too long, bytes.
const KEPT: usize = 200;

/// Under which name the content of `target` is collected until it is whole.
pub(crate) fn part_name(target: &OsStr) -> OsString {
    let name = target.as_bytes();
    let mut part = b".".to_vec();
    if name.len() + b"..part".len() <= MAX_NAME {
        part.extend_from_slice(name);
    } else {
        let digest = blake3::hash(name).to_hex();
        part.extend_from_slice(name.get(..KEPT).unwrap_or(name));
        part.push(b'~');
        part.extend(digest.bytes().take(16));
    }
    part.extend_from_slice(b".part");
    OsString::from_vec(part)
}

/// The first of `newNAME`, `newnewNAME`, … that is not taken by something else.
pub(crate) fn name_beside(
    name: &[u8],
    mut is_taken: impl FnMut(&[u8]) -> Result<bool, ClientError>,
) -> Result<Vec<u8>, ClientError> {
    let mut beside = name.to_vec();
    loop {
        beside.splice(0..0, *b"new");
        if beside.len() > MAX_NAME {
            return Err(ErrorCode::NameTooLong.into());
        }
        if !is_taken(&beside)? {
            return Ok(beside);
        }
    }
}

/// The same folder's entry of another name.
pub(crate) fn renamed(path: &RemotePath, name: &[u8]) -> Result<RemotePath, PathError> {
    path.parent().unwrap_or_else(RemotePath::root).join(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_has_a_hidden_name_of_bounded_length() {
        assert_eq!(part_name(OsStr::new("a.bin")), OsStr::new(".a.bin.part"));
        let longest = "x".repeat(249);
        assert_eq!(part_name(OsStr::new(&longest)).len(), MAX_NAME);
        let one = part_name(OsStr::new(&format!("{longest}1")));
        let two = part_name(OsStr::new(&format!("{longest}2")));
        assert_ne!(one, two);
        assert_eq!(one.len(), 1 + 200 + 1 + 16 + 5);
    }

    #[test]
    fn the_first_free_name_is_taken() {
        let taken = |name: &[u8]| Ok(matches!(name, b"newa" | b"newnewa"));
        assert_eq!(name_beside(b"a", taken).unwrap(), b"newnewnewa");
        let error = name_beside(b"a", |_| Ok(true)).unwrap_err();
        assert!(error.is(ErrorCode::NameTooLong));
    }
}
