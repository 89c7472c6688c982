//! Names on the server: where one is, folders made and removed, things renamed.

use client::{Client, ClientError};
use protocol::{EntryKind, ErrorCode, RemotePath};

use crate::commands::each::{Answered, each};
use crate::destination::is_closed;
use crate::failure::{Failure, Several, cannot};
use crate::invocation::Invocation;
use crate::json::FolderRecord;
use crate::names::{self, Named};
use crate::output::Output;
use crate::session::Session;
use crate::words::Word;

/// `cd`
pub(crate) fn change(session: &mut Session, invocation: &Invocation) -> Result<(), Failure> {
    let Some(word) = invocation.word(0) else {
        session.folder = RemotePath::root();
        return Ok(());
    };
    let path = names::one_remote(session, word, "go to")?;
    let tried = cannot("go to", path.as_bytes());
    let entry = session
        .client()?
        .stat(&path, true)
        .map_err(Failure::of(tried.clone()))?;
    if entry.kind != EntryKind::Directory {
        return Err(Failure::of(tried)(ErrorCode::NotDirectory));
    }
    session.folder = path;
    Ok(())
}

/// `pwd`
pub(crate) fn show(session: &mut Session, _: &Invocation) -> Result<(), Failure> {
    let path = session.folder.as_bytes();
    if session.output.is_json() {
        session.output.record(&FolderRecord::new(path))
    } else {
        session.output.name("", path)
    }
}

/// `mkdir`
pub(crate) fn make(session: &mut Session, invocation: &Invocation) -> Result<(), Failure> {
    let parents = invocation.has(b'p');
    let mut several = Several::default();
    for word in &invocation.words {
        let tried = cannot("make", word.literal());
        let made = session
            .folder
            .resolve(word.literal())
            .map_err(Failure::of(tried))
            .and_then(|path| {
                let tried = cannot("make", path.as_bytes());
                let made = session.client()?.make_directory(&path, parents);
                made.map_err(Failure::of(tried))
            });
        if let Err(failure) = made {
            session.output.failure(&failure);
            several.note(&failure)?;
        }
    }
    several.finish()
}

/// `rm`
pub(crate) fn remove(session: &mut Session, invocation: &Invocation) -> Result<(), Failure> {
    let recursive = invocation.has(b'r');
    let excused = Some(ErrorCode::NotFound).filter(|_| invocation.has(b'f'));
    let ask = |client: &mut Client, paths: &[RemotePath], answered: &mut Answered<'_, ()>| {
        client.remove_each(paths, recursive, answered)
    };
    let names = doomed(session, invocation);
    each(session, names, ("remove", excused), ask, silently)
}

/// `rmdir`
pub(crate) fn remove_empty(session: &mut Session, invocation: &Invocation) -> Result<(), Failure> {
    let ask = Client::remove_each_directory;
    let names = doomed(session, invocation);
    each(session, names, ("remove", None), ask, silently)
}

/// What is to be removed. Nobody who writes `.` or `..`, or a wildcard before it, is sure to mean the folder that it names: rm(1p)
/// refuses it.
fn doomed(
    session: &mut Session,
    invocation: &Invocation,
) -> Vec<Result<Named<RemotePath>, Failure>> {
    let names = names::remote_each(session, &invocation.words, "remove");
    let refuse = |name: Named<RemotePath>| {
        let mut components = name.shown.rsplit(|&byte| byte == b'/');
        match components.find(|component| !component.is_empty()) {
            Some(b"." | b"..") => {
                let tried = cannot("remove", &name.shown);
                let why = "'.' and '..' are not removed: name the folder";
                Err(Failure::refused(tried, ErrorCode::BadName, why))
            }
            _ => Ok(name),
        }
    };
    names
        .into_iter()
        .map(|name| name.and_then(refuse))
        .collect()
}

/// `mv`
pub(crate) fn rename(session: &mut Session, invocation: &Invocation) -> Result<(), Failure> {
    let (Some(from), Some(to)) = (invocation.word(0), invocation.word(1)) else {
        return Err(invocation.usage("a name is missing"));
    };
    let from = names::one_remote_itself(session, from, "move")?.path;
    let target = new_name(session, &from, to)?;
    session
        .client()?
        .rename(&from, &target, !invocation.has(b'n'))
        .map_err(Failure::of(format!(
            "{} to '{}'",
            cannot("move", from.as_bytes()),
            cli::name(target.as_bytes())
        )))
}

/// What `from` is to be called where it is moved to `to`: below it, where that is a folder.
fn new_name(session: &mut Session, from: &RemotePath, to: &Word) -> Result<RemotePath, Failure> {
    let tried = || cannot("move", from.as_bytes());
    let target = session.folder.resolve(to.literal());
    let target = target.map_err(Failure::of(tried()))?;
    let existing = kind_of(session, &target, true, tried())?;
    // A link to a folder that is renamed to itself is no move into it.
    if let (Some(EntryKind::Directory), Some(name)) = (existing, from.name())
        && target != *from
    {
        return target.join(name).map_err(Failure::of(tried()));
    }
    if is_closed(to.literal()) {
        // What is not there yet may be written as a folder where it becomes one: rename(2).
        let becomes = match existing {
            Some(kind) => Some(kind),
            None => kind_of(session, from, false, tried())?,
        };
        if becomes.is_some_and(|kind| kind != EntryKind::Directory) {
            let tried = cannot("move to", target.as_bytes());
            return Err(Failure::of(tried)(ClientError::from(
                ErrorCode::NotDirectory,
            )));
        }
    }
    Ok(target)
}

/// `None`: nothing is there. `tried` is what is said where that cannot be told.
fn kind_of(
    session: &mut Session,
    path: &RemotePath,
    follow: bool,
    tried: String,
) -> Result<Option<EntryKind>, Failure> {
    match session
        .client()?
        .stat(path, follow)
        .map_err(Failure::of(tried))
    {
        Ok(entry) => Ok(Some(entry.kind)),
        Err(failure) if failure.is(ErrorCode::NotFound) => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// What is done is not worth a word.
fn silently(_: &mut Output, _: &Named<RemotePath>, (): ()) -> Result<(), Failure> {
    Ok(())
}
