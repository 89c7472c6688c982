//! A key of this user, from which the files of a tree get their upload identities: the same at every try, without a record
//! for each, so that a try replaces what an earlier one left at the slaves.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use protocol::{RemotePath, UploadId};

/// Drawn once, then kept beneath the state directory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UploadKey([u8; 32]);

impl UploadKey {
    /// The key kept beneath `state`, made where there is none. One that cannot be kept is good for this process.
    pub(crate) fn of(state: Option<&Path>) -> io::Result<Self> {
        let mut fresh = [0; 32];
        getrandom::fill(&mut fresh)?;
        let kept = state
            .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
            .and_then(|state| keep(state, fresh));
        Ok(Self(kept.unwrap_or_else(|error| {
            tracing::debug!(%error, "upload key not kept");
            fresh
        })))
    }

    /// The identity of the upload of the file at the absolute path `source` to `remote`.
    pub(crate) fn id(&self, source: &[u8], remote: &RemotePath) -> UploadId {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(source);
        hasher.update(&[0]);
        hasher.update(remote.as_bytes());
        UploadId(*hasher.finalize().as_bytes())
    }
}

fn keep(state: &Path, fresh: [u8; 32]) -> io::Result<[u8; 32]> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(state)?;
    let path = state.join("upload.key");
    let made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path);
    match made {
        Ok(mut file) => file.write_all(&fresh).map(|()| fresh),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            <[u8; 32]>::try_from(fs::read(&path)?).map_err(|_| io::ErrorKind::InvalidData.into())
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_try_of_one_user_has_the_same_identity_and_no_other_upload_has() {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("state");
        let key = UploadKey::of(Some(&state)).unwrap();
        let remote = RemotePath::try_from("/a").unwrap();
        let id = key.id(b"/home/a", &remote);
        let again = UploadKey::of(Some(&state)).unwrap();
        assert_eq!(again.id(b"/home/a", &remote), id);
        assert_ne!(again.id(b"/home/b", &remote), id);
        assert_ne!(again.id(b"/home/a", &RemotePath::root()), id);
        assert_ne!(UploadKey::of(None).unwrap().id(b"/home/a", &remote), id);
    }

    #[test]
    fn a_damaged_key_stops_nothing() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("upload.key"), "short").unwrap();
        UploadKey::of(Some(directory.path())).unwrap();
    }
}
