//! What lasts from one command to the next: the connection, where one is on both sides, and where results go.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use client::{Client, ClientError, Interrupt, KnownSlave, Options, Target};
use protocol::{ErrorCode, RemotePath};

use crate::ask::Person;
use crate::failure::Failure;
use crate::look::Look;
use crate::output::Output;
use crate::screen::Screen;

/// A session with one server.
pub(crate) struct Session {
    /// The current remote folder.
    pub(crate) folder: RemotePath,
    /// Where relative local names are; the empty path is the current directory.
    pub(crate) local: PathBuf,
    pub(crate) connection: Connection,
    pub(crate) output: Output,
    /// Who answers questions, where somebody can.
    pub(crate) person: Option<Person>,
    /// Whether commands are typed by a person, one after the other.
    pub(crate) is_interactive: bool,
    /// Set by `bye`.
    pub(crate) is_over: bool,
}

impl Session {
    /// The client, connected.
    pub(crate) fn client(&mut self) -> Result<&mut Client, Failure> {
        self.connection.open()
    }

    /// The local path of a typed name.
    pub(crate) fn local_path(&self, typed: &[u8]) -> PathBuf {
        self.local.join(OsStr::from_bytes(typed))
    }
}

/// A path below `folder` as seen from there, any other as it is.
pub(crate) fn seen_from<'a>(folder: &Path, path: &'a Path) -> &'a [u8] {
    let seen = path.strip_prefix(folder).unwrap_or(path);
    seen.as_os_str().as_bytes()
}

/// A remote path below `folder` as seen from there, any other as it is.
pub(crate) fn remote_seen_from<'a>(folder: &RemotePath, path: &'a RemotePath) -> &'a [u8] {
    if !path.is_within(folder) || path == folder {
        return path.as_bytes();
    }
    let below = if folder.is_root() {
        Some(path.relative())
    } else {
        path.as_bytes().get(folder.as_bytes().len() + 1..)
    };
    below.unwrap_or_else(|| path.as_bytes())
}

/// A connection that is made when it is first needed.
pub(crate) struct Connection {
    pub(crate) targets: Vec<Target>,
    pub(crate) options: Options,
    pub(crate) screen: Arc<Screen>,
    pub(crate) interrupt: Interrupt,
    client: Option<Client>,
}

impl Connection {
    pub(crate) const fn new(
        targets: Vec<Target>,
        options: Options,
        screen: Arc<Screen>,
        interrupt: Interrupt,
    ) -> Self {
        Self {
            targets,
            options,
            screen,
            interrupt,
            client: None,
        }
    }

    /// Connects unless that is done.
    pub(crate) fn open(&mut self) -> Result<&mut Client, Failure> {
        self.open_for(None)
    }

    /// Connects unless that is done, for what is likely to be asked first, and of which name.
    pub(crate) fn open_for(
        &mut self,
        look: Option<(RemotePath, Look)>,
    ) -> Result<&mut Client, Failure> {
        let client = match self.client.take() {
            Some(client) => client,
            None => self.connect(look)?,
        };
        Ok(self.client.insert(client))
    }

    /// The targets as a person would write them.
    pub(crate) fn name(&self) -> String {
        let names: Vec<_> = self.targets.iter().map(Target::to_string).collect();
        names.join(",")
    }

    /// What the masters know of their slaves: asked of them alone, so it has an answer where no slave is up.
    pub(crate) fn slaves(&mut self) -> Result<Vec<KnownSlave>, Failure> {
        let slaves = match &mut self.client {
            Some(client) => client.slaves(),
            None => self.unconnected().slaves(),
        };
        slaves.map_err(Failure::of("cannot list the slaves".to_owned()))
    }

    fn unconnected(&self) -> Client {
        Client::unconnected(
            &self.targets,
            self.options.clone(),
            Arc::clone(&self.screen) as _,
            self.interrupt.clone(),
        )
    }

    fn connect(&self, look: Option<(RemotePath, Look)>) -> Result<Client, Failure> {
        let mut client = self.unconnected();
        match look {
            Some((path, Look::ToGet)) => client.expect_download(&path),
            Some((path, look)) => client.expect_stat(&path, look != Look::AtName),
            None => {}
        }
        let opened = client.open().map_err(|error| {
            let name = self.name();
            let tried = format!("cannot connect to '{name}'");
            // With several targets each cause names its own; a single one has been named already.
            let sentence = error.to_string();
            let cause = sentence.strip_prefix(&format!("{name}: "));
            let mut cause = cause.unwrap_or(&sentence).to_owned();
            if self.options.login.is_none() && cause == ErrorCode::LoginRequired.sentence() {
                cause.push_str(": say who you are with -u NAME");
            }
            Failure::of(tried)(ClientError::new(error.kind(), cause))
        });
        opened.map(|()| client)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_shown_as_seen_from_where_one_is() {
        let path = |text| RemotePath::try_from(text).unwrap();
        for (folder, seen, shown) in [
            ("/", "/a/b", "a/b"),
            ("/a", "/a/b", "b"),
            ("/a", "/ab", "/ab"),
            ("/a", "/a", "/a"),
            ("/", "/", "/"),
        ] {
            let path = (path(folder), path(seen));
            assert_eq!(remote_seen_from(&path.0, &path.1), shown.as_bytes());
        }
        assert_eq!(seen_from(Path::new(""), Path::new("a/b")), b"a/b");
        assert_eq!(seen_from(Path::new("x"), Path::new("x/b")), b"b");
        assert_eq!(seen_from(Path::new("x"), Path::new("/b")), b"/b");
    }
}
