//! The table from requests to what carries them out. A new request does not compile without its row.

use protocol::{ConnectionError, Reply, Request};
use storage::{ListOptions, UploadRequest};

use super::Session;
use super::wanted::Wanted;

impl Session<'_> {
    /// Carries out a request that has been let pass, and collects or sends its answers.
    #[allow(clippy::too_many_lines, reason = "a table: one row for each request")]
    pub(super) fn execute(&mut self, id: u32, request: Request) -> Result<(), ConnectionError> {
        self.answered = None;
        if !matches!(request, Request::Retrieve { .. }) {
            self.ahead.rest();
        }
        match request {
            Request::Probe { worker } => self.probe(id, worker),
            Request::Identify { nonce } => self.identify(id, &nonce),
            Request::Stat { path, follow } => self.stat(id, &path, follow),
            Request::List {
                path,
                recursive,
                facts,
            } => return self.list(id, &path, ListOptions { recursive, facts }),
            Request::Retrieve { .. } => {
                return Wanted::by(request).map_or(Ok(()), |wanted| self.retrieve(id, &wanted));
            }
            Request::RetrieveWhole { path, most } => return self.retrieve_whole(id, &path, most),
            Request::Blocks {
                path,
                expected,
                first,
                count,
            } => return self.blocks(id, &path, &expected, (first, count)),
            Request::Checksum { path, fresh } => return self.checksum(id, &path, fresh),
            Request::DiskFree {} => return self.disk_free(id),
            Request::Store {
                path,
                upload,
                size,
                modified_ns,
                mode,
                condition,
                resume,
                deferred,
            } => {
                let wanted = UploadRequest {
                    path,
                    id: Some(upload),
                    resume,
                    size: Some(size),
                    modified_ns,
                    mode,
                    condition,
                    wanted: self.wanted.clone(),
                };
                return self.store(id, &wanted, deferred);
            }
            Request::StoreWhole {
                path,
                modified_ns,
                mode,
                condition,
                digest,
                deferred,
                content,
            } => {
                let size = u64::try_from(content.as_bytes().len()).ok();
                let wanted = UploadRequest {
                    path,
                    id: None,
                    resume: false,
                    size,
                    modified_ns,
                    mode,
                    condition,
                    wanted: self.wanted.clone(),
                };
                return self.store_whole(id, &wanted, (&content, &digest), deferred);
            }
            Request::Flush {} => {
                self.publish()?;
                self.connection.send(id, &Reply::Done {});
            }
            Request::Confirm { path, digest } => return self.confirm(id, &path, &digest),
            Request::Sync {} => return self.change(id, |storage| storage.sync()),
            Request::MakeDirectory { path, parents } => {
                return self.change(id, |storage| storage.make_directory(&path, parents));
            }
            Request::Remove { path, recursive } => {
                return self.change(id, |storage| storage.remove(&path, recursive));
            }
            Request::RemoveDirectory { path } => {
                return self.change(id, |storage| storage.remove_directory(&path));
            }
            Request::Rename { from, to, replace } => {
                return self.change(id, |storage| storage.rename(&from, &to, replace));
            }
            Request::SetTime {
                path,
                modified_ns,
                expected,
            } => {
                return self.change(id, |storage| {
                    storage.set_time(&path, modified_ns, expected.as_ref())
                });
            }
            // Taken by the upload that they belong to, or skipped behind one that was refused; answered before.
            Request::StoreEnd { .. }
            | Request::Abandon {}
            | Request::Present { .. }
            | Request::Login { .. } => {}
        }
        Ok(())
    }
}
