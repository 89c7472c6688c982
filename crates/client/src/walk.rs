//! A local tree, as it is to be sent: folders before what is in them, no symbolic link followed.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use protocol::ErrorCode;

use crate::{ClientError, Result};

/// What was found below a folder, by paths relative to it.
#[derive(Debug, Default)]
pub(crate) struct Walk {
    pub(crate) folders: Vec<PathBuf>,
    pub(crate) files: Vec<PathBuf>,
    /// Links and special files, with what they are.
    pub(crate) skipped: Vec<(PathBuf, &'static str)>,
    pub(crate) failed: Vec<(PathBuf, ClientError)>,
}

/// Walks the tree below `root`, names in order.
pub(crate) fn walk(root: &Path) -> Result<Walk> {
    if !std::fs::metadata(root)?.is_dir() {
        return Err(ErrorCode::NotDirectory.into());
    }
    let mut found = Walk::default();
    found.take_folder(root, Path::new(""))?;
    let mut next = 0;
    while let Some(folder) = found.folders.get(next).cloned() {
        next += 1;
        if let Err(error) = found.take_folder(root, &folder) {
            found.failed.push((folder, error));
        }
    }
    Ok(found)
}

impl Walk {
    fn take_folder(&mut self, root: &Path, folder: &Path) -> Result<()> {
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(root.join(folder))? {
            let entry = entry?;
            entries.push((entry.file_name(), entry.file_type()?));
        }
        entries.sort_by(|(a, _): &(OsString, _), (b, _)| a.cmp(b));
        for (name, kind) in entries {
            let path = folder.join(name);
            if kind.is_dir() {
                self.folders.push(path);
            } else if kind.is_file() {
                self.files.push(path);
            } else if kind.is_symlink() {
                self.skipped.push((path, "a symbolic link"));
            } else {
                self.skipped.push((path, ErrorCode::NotRegular.sentence()));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn links_are_told_and_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        fs::create_dir_all(root.join("b/c")).unwrap();
        fs::write(root.join("b/c/file"), "").unwrap();
        fs::write(root.join("a"), "").unwrap();
        std::os::unix::fs::symlink("..", root.join("b/up")).unwrap();
        let found = walk(root).unwrap();
        assert_eq!(found.folders, [Path::new("b"), Path::new("b/c")]);
        assert_eq!(found.files, [Path::new("a"), Path::new("b/c/file")]);
        assert_eq!(found.skipped, [(PathBuf::from("b/up"), "a symbolic link")]);
        assert!(
            walk(&root.join("a"))
                .unwrap_err()
                .is(ErrorCode::NotDirectory)
        );
    }
}
