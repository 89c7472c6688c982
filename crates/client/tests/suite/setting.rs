//! A storage, its slaves, a master, a folder and a client: what every test begins with.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use client::{
    Client, ClientError, Conflict, Download, Interrupt, Notice, Observer, Options, Progress,
    Target, Transferred, Upload,
};
use protocol::RemotePath;

use crate::master::Master;
use crate::slave::Slave;
use crate::storage::Storage;

/// Remembers what it was told.
#[derive(Default)]
pub(crate) struct Watcher(Mutex<Vec<Notice>>, Mutex<Vec<Progress>>);

impl Observer for Watcher {
    fn notice(&self, notice: &Notice) {
        self.0.lock().unwrap().push(notice.clone());
    }

    fn progress(&self, progress: &Progress) {
        self.1.lock().unwrap().push(progress.clone());
    }
}

pub(crate) struct Setting {
    pub(crate) storage: Storage,
    pub(crate) slaves: Vec<Slave>,
    pub(crate) master: Master,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) state: tempfile::TempDir,
    pub(crate) watcher: Arc<Watcher>,
    pub(crate) options: Options,
}

impl Watcher {
    pub(crate) fn heard(&self, is: impl Fn(&Notice) -> bool) -> bool {
        self.0.lock().unwrap().iter().any(is)
    }
}

impl Setting {
    pub(crate) fn new(slaves: u8) -> Self {
        Self::with_ticket_life(slaves, 600)
    }

    pub(crate) fn with_ticket_life(slaves: u8, life: u32) -> Self {
        let storage = Storage::default();
        let storages = vec![storage.clone(); slaves.into()];
        Self::over(storage, &storages, life)
    }

    /// Slaves that do not have the same storage, each its own of `storages`.
    pub(crate) fn over(storage: Storage, storages: &[Storage], life: u32) -> Self {
        let slaves: Vec<_> = (1..)
            .zip(storages)
            .map(|(number, storage)| Slave::start(storage, number, true))
            .collect();
        Self {
            master: Master::start(&slaves, life),
            storage,
            slaves,
            folder: tempfile::tempdir().unwrap(),
            state: tempfile::tempdir().unwrap(),
            watcher: Arc::default(),
            options: Options {
                timeout: Duration::from_secs(10),
                retries: 3,
                ..Options::default()
            },
        }
    }

    /// Other slaves, and another master that knows them, over the same storage.
    pub(crate) fn replace_slaves(&mut self, slaves: u8) {
        self.slaves = (1..=slaves)
            .map(|number| Slave::start(&self.storage, number + 100, true))
            .collect();
        self.master = Master::start(&self.slaves, 600);
    }

    pub(crate) fn connect(&self) -> Result<Client, ClientError> {
        self.connect_to(&[self.master.address])
    }

    pub(crate) fn connect_with(&self, interrupt: Interrupt) -> Result<Client, ClientError> {
        self.connect_as(&[target(self.master.address)], interrupt)
    }

    pub(crate) fn connect_to(&self, addresses: &[SocketAddr]) -> Result<Client, ClientError> {
        let targets: Vec<_> = addresses.iter().copied().map(target).collect();
        self.connect_as(&targets, Interrupt::default())
    }

    pub(crate) fn connect_as(
        &self,
        targets: &[Target],
        interrupt: Interrupt,
    ) -> Result<Client, ClientError> {
        let observer = Arc::clone(&self.watcher) as Arc<dyn Observer>;
        let options = self.options.clone();
        let mut client = Client::connect(targets, options, observer, interrupt)?;
        client.set_state_directory(Some(self.state.path().to_owned()));
        Ok(client)
    }

    pub(crate) fn local(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(self.folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    pub(crate) fn get(
        &self,
        client: &mut Client,
        conflict: Conflict,
    ) -> Result<Transferred, ClientError> {
        client.download(&Download {
            remote: path("/a"),
            local: self.local("a"),
            conflict,
        })
    }

    pub(crate) fn put(
        &self,
        client: &mut Client,
        conflict: Conflict,
    ) -> Result<Transferred, ClientError> {
        client.upload(&Upload {
            local: self.local("a"),
            remote: path("/a"),
            conflict,
        })
    }

    pub(crate) fn progress(&self) -> Vec<Progress> {
        self.watcher.1.lock().unwrap().clone()
    }

    pub(crate) fn notices(&self) -> Vec<Notice> {
        self.watcher.0.lock().unwrap().clone()
    }
}

fn target(address: SocketAddr) -> Target {
    Target {
        host: address.ip().to_string(),
        port: address.port(),
    }
}

pub(crate) fn path(text: &str) -> RemotePath {
    RemotePath::try_from(text).unwrap()
}

/// Bytes of which no two blocks are alike.
pub(crate) fn content(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes
}
