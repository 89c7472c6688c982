//! `ls`: a folder's names, or the names that wildcards match.

use client::Listing;
use protocol::{EntryKind, RemotePath};

use crate::failure::{Failure, Several, cannot};
use crate::invocation::Invocation;
use crate::listed::{Facts, Rows, is_hidden};
use crate::look::Look;
use crate::names::{self, Named};
use crate::session::Session;
use crate::words::Word;

/// Lists. A folder shows what is in it; several names that wildcards match show themselves.
pub(crate) fn list(session: &mut Session, invocation: &Invocation) -> Result<(), Failure> {
    let here = Word::default();
    let word = invocation.word(0).unwrap_or(&here);
    let named = names::remote_with_facts(session, word, "list")?;
    let mut lister = Lister {
        recursive: invocation.has(b'R'),
        hidden: invocation.has(b'a'),
        facts: invocation.has(b'l') || session.output.is_json(),
        rows: Rows::default(),
        failures: Several::default(),
    };
    if let [only] = named.as_slice() {
        lister.only(session, only)?;
    } else {
        lister.several(session, named)?;
    }
    lister.rows.sort();
    let written = session.output.rows(&lister.rows, invocation.has(b'l'));
    lister.failures.finish_after(written)
}

struct Lister {
    recursive: bool,
    hidden: bool,
    facts: bool,
    rows: Rows,
    failures: Several,
}

impl Lister {
    fn only(&mut self, session: &mut Session, name: &Named<RemotePath>) -> Result<(), Failure> {
        let tried = cannot("list", name.path.as_bytes());
        let entry = session
            .client()?
            .stat(&name.path, true)
            .and_then(|entry| name.fits(entry))
            .map_err(Failure::of(tried))?;
        if entry.kind == EntryKind::Directory {
            return self.folder(session, &name.path, b"");
        }
        self.rows.add(&[&name.shown], Facts::from(&entry));
        Ok(())
    }

    fn several(
        &mut self,
        session: &mut Session,
        named: Vec<Named<RemotePath>>,
    ) -> Result<(), Failure> {
        for (name, entry) in names::look(session, named, ("list", Look::AtName))? {
            let tried = cannot("list", name.path.as_bytes());
            let entry = match entry.map_err(Failure::of(tried)) {
                Ok(entry) => entry,
                Err(failure) => {
                    self.failed(session, &failure)?;
                    continue;
                }
            };
            if self.recursive && entry.kind == EntryKind::Directory {
                let prefix = [&name.shown, b"/".as_slice()].concat();
                if let Err(failure) = self.folder(session, &name.path, &prefix) {
                    self.failed(session, &failure)?;
                }
            }
            self.rows.add(&[&name.shown], Facts::from(&entry));
        }
        Ok(())
    }

    fn folder(
        &mut self,
        session: &mut Session,
        path: &RemotePath,
        prefix: &[u8],
    ) -> Result<(), Failure> {
        let (rows, hidden) = (&mut self.rows, self.hidden);
        let listing = Listing {
            recursive: self.recursive,
            facts: self.facts,
        };
        let unreadable = session
            .client()?
            .list(path, listing, &mut |entry| {
                if hidden || !is_hidden(&entry.name) {
                    rows.add(&[prefix, &entry.name], Facts::from(&entry));
                }
            })
            .map_err(Failure::of(cannot("list", path.as_bytes())))?;
        for folder in unreadable {
            let path = [path.as_bytes(), b"/", &folder.name].concat();
            let path = RemotePath::root().resolve(&path);
            let shown = path
                .as_ref()
                .map_or(folder.name.as_slice(), RemotePath::as_bytes);
            self.failed(session, &Failure::of(cannot("list", shown))(folder.code))?;
        }
        Ok(())
    }

    fn failed(&mut self, session: &mut Session, failure: &Failure) -> Result<(), Failure> {
        session.output.failure(failure);
        self.failures.note(failure)
    }
}
