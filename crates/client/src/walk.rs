//! A local tree, as it is to be sent: folders before what is in them, no symbolic link followed.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::FileType;
use std::path::{Path, PathBuf};

use protocol::ErrorCode;

use crate::{ClientError, Result};

/// A walk through the tree below a folder. Of the whole tree it holds the folders that are still to be read, and the names
/// in the one at hand.
#[derive(Debug)]
pub(crate) struct Walk<'a> {
    root: &'a Path,
    names: Vec<Name>,
}

/// What a walk comes across, by paths relative to the folder.
#[derive(Debug)]
pub(crate) enum Found {
    /// A folder. They are numbered from 1 on in the order in which they are found; the walk's own is 0.
    Folder { number: usize, path: PathBuf },
    /// A file in the folder of that number. Those numbers never fall.
    File {
        folder: usize,
        path: PathBuf,
        size: u64,
    },
    /// A link or special file, with what it is.
    Skipped { path: PathBuf, why: &'static str },
    /// A folder that was found, but cannot be read.
    Unreadable { path: PathBuf, error: ClientError },
}

#[derive(Debug)]
struct Name {
    name: OsString,
    kind: FileType,
    /// Of a file.
    size: u64,
}

impl<'a> Walk<'a> {
    /// Begins with the names in the folder itself.
    pub(crate) fn begin(root: &'a Path) -> Result<Self> {
        if !std::fs::metadata(root)?.is_dir() {
            return Err(ErrorCode::NotDirectory.into());
        }
        Ok(Self {
            root,
            names: names_in(root)?,
        })
    }

    /// Visits everything, names in order, folder by folder. Fails only where `visit` does.
    pub(crate) fn visit(self, visit: &mut dyn FnMut(Found) -> Result<()>) -> Result<()> {
        let mut folders = Folders::default();
        folders.look_through(0, Path::new(""), self.names, visit)?;
        while let Some((number, path)) = folders.unread.pop_front() {
            match names_in(&self.root.join(&path)) {
                Ok(names) => folders.look_through(number, &path, names, visit)?,
                Err(error) => visit(Found::Unreadable { path, error })?,
            }
        }
        Ok(())
    }
}

/// The folders that were found.
#[derive(Default)]
struct Folders {
    found: usize,
    unread: VecDeque<(usize, PathBuf)>,
}

impl Folders {
    fn look_through(
        &mut self,
        folder: usize,
        within: &Path,
        names: Vec<Name>,
        visit: &mut dyn FnMut(Found) -> Result<()>,
    ) -> Result<()> {
        for Name { name, kind, size } in names {
            let path = within.join(name);
            visit(if kind.is_dir() {
                self.found += 1;
                let number = self.found;
                self.unread.push_back((number, path.clone()));
                Found::Folder { number, path }
            } else if kind.is_file() {
                Found::File { folder, path, size }
            } else if kind.is_symlink() {
                let why = "a symbolic link";
                Found::Skipped { path, why }
            } else {
                let why = ErrorCode::NotRegular.sentence();
                Found::Skipped { path, why }
            })?;
        }
        Ok(())
    }
}

fn names_in(folder: &Path) -> Result<Vec<Name>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        // One that is gone by now says so when it is opened.
        let size = match kind.is_file() {
            true => entry.metadata().map_or(0, |facts| facts.len()),
            false => 0,
        };
        names.push(Name {
            name: entry.file_name(),
            kind,
            size,
        });
    }
    names.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn walk(root: &Path) -> Vec<String> {
        let mut found = Vec::new();
        let walk = Walk::begin(root).unwrap();
        walk.visit(&mut |next| {
            found.push(match next {
                Found::Folder { number, path } => format!("{number}: {}/", path.display()),
                Found::File { folder, path, size } => {
                    format!("{folder}: {} of {size}", path.display())
                }
                Found::Skipped { path, why } => format!("{}, {why}", path.display()),
                Found::Unreadable { path, error } => format!("{}: {error}", path.display()),
            });
            Ok(())
        })
        .unwrap();
        found
    }

    #[test]
    fn links_are_told_and_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        fs::create_dir_all(root.join("b/c")).unwrap();
        fs::create_dir(root.join("d")).unwrap();
        fs::write(root.join("b/c/file"), "content").unwrap();
        fs::write(root.join("d/file"), "").unwrap();
        fs::write(root.join("a"), "").unwrap();
        std::os::unix::fs::symlink("..", root.join("b/up")).unwrap();
        let expected = [
            "0: a of 0",
            "1: b/",
            "2: d/",
            "3: b/c/",
            "b/up, a symbolic link",
            "2: d/file of 0",
            "3: b/c/file of 7",
        ];
        assert_eq!(walk(root), expected);
        let error = Walk::begin(&root.join("a")).unwrap_err();
        assert!(error.is(ErrorCode::NotDirectory));
    }

    #[test]
    fn a_folder_that_is_gone_is_told_and_the_others_are_visited() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        for folder in ["a", "b"] {
            fs::create_dir(root.join(folder)).unwrap();
        }
        fs::write(root.join("b/file"), "").unwrap();
        let (mut unreadable, mut files) = (Vec::new(), 0);
        let walk = Walk::begin(root).unwrap();
        fs::remove_dir(root.join("a")).unwrap();
        walk.visit(&mut |found| {
            match found {
                Found::Unreadable { path, error } => unreadable.push((path, error.word())),
                Found::File { .. } => files += 1,
                Found::Folder { .. } | Found::Skipped { .. } => {}
            }
            Ok(())
        })
        .unwrap();
        assert_eq!(unreadable, [(PathBuf::from("a"), "not-found")]);
        assert_eq!(files, 1);
    }
}
