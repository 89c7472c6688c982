//! The local side: where local names are, what is there, and the local shell.

use std::env;
use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use protocol::{EntryKind, ErrorCode};

use crate::failure::{Failure, Several, cannot};
use crate::invocation::Invocation;
use crate::json::FolderRecord;
use crate::listed::{Facts, Rows, is_hidden};
use crate::names;
use crate::session::Session;
use crate::words::Word;

/// `lcd`
pub(crate) fn change(session: &mut Session, invocation: &Invocation) -> Result<(), Failure> {
    let path = match invocation.word(0) {
        Some(word) => session.local_path(word.literal()),
        None => env::home_dir().ok_or_else(|| invocation.usage("there is no home folder"))?,
    };
    let tried = cannot("go to", path.as_os_str().as_bytes());
    let facts = fs::metadata(&path).map_err(Failure::of(tried.clone()))?;
    if !facts.is_dir() {
        return Err(Failure::of(tried)(ErrorCode::NotDirectory));
    }
    session.local = path;
    Ok(())
}

/// `lpwd`
pub(crate) fn show(session: &mut Session, _: &Invocation) -> Result<(), Failure> {
    let tried = cannot("find", session.local.as_os_str().as_bytes());
    let path = whole(&session.local).map_err(Failure::of(tried))?;
    let path = path.as_os_str().as_bytes();
    if session.output.is_json() {
        session.output.record(&FolderRecord::new(path))
    } else {
        session.output.name("", path)
    }
}

/// `lls`
pub(crate) fn list(session: &mut Session, invocation: &Invocation) -> Result<(), Failure> {
    let here = Word::default();
    let word = invocation.word(0).unwrap_or(&here);
    let named = names::local(&session.local, word, "list")?;
    let mut several = Several::default();
    let mut rows = Rows::default();
    let is_only = named.len() == 1;
    for name in named {
        let added = if is_only && name.path.is_dir() || name.path.as_os_str().is_empty() {
            add_folder(&mut rows, &name.path, invocation.has(b'a'))
        } else {
            add(&mut rows, &name.shown, &name.path)
        };
        let tried = cannot("list", name.path.as_os_str().as_bytes());
        if let Err(failure) = added.map_err(Failure::of(tried)) {
            session.output.failure(&failure);
            several.note(&failure)?;
        }
    }
    rows.sort();
    let written = session.output.rows(&rows, invocation.has(b'l'));
    several.finish_after(written)
}

/// `!`: a person's own shell, in the local folder. Not for scripts: what they hold may have come from a server.
pub(crate) fn shell(session: &mut Session, invocation: &Invocation) -> Result<(), Failure> {
    if !session.is_interactive {
        return Err(invocation.usage("works in an interactive session only"));
    }
    let shell = env::var_os("SHELL").unwrap_or_else(|| "/bin/sh".into());
    let mut command = Command::new(&shell);
    if let Some(word) = invocation.word(0) {
        command.arg("-c").arg(OsStr::from_bytes(word.literal()));
    }
    let tried = cannot("run", shell.as_bytes());
    let status = command
        .current_dir(folder(&session.local))
        .status()
        .map_err(Failure::of(tried))?;
    if status.success() {
        Ok(())
    } else {
        let why = format!("ended with {status}");
        Err(Failure::refused(
            "the local command".to_owned(),
            ErrorCode::Internal,
            &why,
        ))
    }
}

fn add_folder(rows: &mut Rows, path: &Path, hidden: bool) -> io::Result<()> {
    for entry in fs::read_dir(folder(path))? {
        let entry = entry?;
        let name = entry.file_name().into_vec();
        if hidden || !is_hidden(&name) {
            add(rows, &name, &entry.path())?;
        }
    }
    Ok(())
}

fn add(rows: &mut Rows, name: &[u8], path: &Path) -> io::Result<()> {
    let facts = fs::symlink_metadata(path)?;
    let facts = Facts {
        kind: kind(&facts),
        size: if facts.is_file() { facts.len() } else { 0 },
        modified_ns: facts
            .mtime()
            .saturating_mul(1_000_000_000)
            .saturating_add(facts.mtime_nsec()),
    };
    rows.add(&[name], facts);
    Ok(())
}

fn kind(facts: &Metadata) -> EntryKind {
    if facts.is_file() {
        EntryKind::File
    } else if facts.is_dir() {
        EntryKind::Directory
    } else if facts.is_symlink() {
        EntryKind::Link
    } else {
        EntryKind::Other
    }
}

/// The empty path is the current directory, but not to the system.
fn folder(path: &Path) -> &Path {
    if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    }
}

fn whole(path: &Path) -> io::Result<PathBuf> {
    #[allow(
        clippy::disallowed_methods,
        reason = "shown to a person; nothing is opened by the answer"
    )]
    fs::canonicalize(folder(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script;
    use crate::testing::session;

    fn run(session: &mut Session, line: &str) -> Result<(), Failure> {
        let commands = script::read(line.as_bytes()).unwrap();
        commands.iter().try_for_each(|command| command.run(session))
    }

    #[test]
    fn the_local_folder_changes_only_to_folders() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("x")).unwrap();
        fs::write(folder.path().join("y"), "").unwrap();
        let mut session = session(folder.path());
        run(&mut session, "lcd x; lcd ..; lcd x").unwrap();
        assert_eq!(session.local, folder.path().join("x/../x"));
        let file = run(&mut session, "lcd ../y").unwrap_err();
        assert!(file.is(ErrorCode::NotDirectory));
        let missing = run(&mut session, "lcd z").unwrap_err();
        assert!(missing.is(ErrorCode::NotFound));
    }

    #[test]
    fn scripts_get_no_shell() {
        let mut session = session(Path::new(""));
        let refusal = run(&mut session, "!touch /tmp/x").unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "!: works in an interactive session only; usage: !COMMAND"
        );
    }

    #[test]
    fn local_listings_hide_dotfiles_unless_asked() {
        let folder = tempfile::tempdir().unwrap();
        for name in [".a", "b"] {
            fs::write(folder.path().join(name), "12345").unwrap();
        }
        let mut rows = Rows::default();
        add_folder(&mut rows, folder.path(), false).unwrap();
        let listed: Vec<_> = rows.iter().collect();
        assert_eq!(listed.len(), 1);
        let facts = listed[0].facts;
        assert_eq!((facts.kind, facts.size), (EntryKind::File, 5));
        add_folder(&mut rows, folder.path(), true).unwrap();
        assert_eq!(rows.iter().count(), 3);
    }
}
