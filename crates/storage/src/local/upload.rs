//! A local upload while it is being received: staged, then handed to `commit`.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Instant;

use protocol::ErrorCode;
use transfer::Hashed;

use super::commit;
use super::confined::Root;
use super::quota::Claim;
use super::staged::Staged;
use super::staging::Place;
use super::target::Target;
use crate::error::{Context, Result, StorageError};
use crate::{AtHand, Progress, Received, Stored, Upload, UploadRequest};

/// An upload into a local directory.
#[derive(Debug)]
pub(crate) struct LocalUpload {
    pub(crate) root: Arc<Root>,
    pub(crate) request: UploadRequest,
    pub(crate) staged: Staged,
    hashed: Hashed,
    /// When the staged file was opened.
    pub(crate) begun: Instant,
    /// What happens to the staged file when this is dropped.
    pub(crate) on_drop: OnDrop,
    /// Whether bytes are promised to it by a quota.
    is_reserved: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnDrop {
    Remove,
    Keep,
    /// It is the target by now.
    Nothing,
}

impl LocalUpload {
    pub(crate) fn begin(
        root: &Arc<Root>,
        request: &UploadRequest,
        progress: Progress<'_>,
    ) -> Result<Self> {
        let context = Context::new("store", &request.path);
        let target = Target::find(root, context, request)?;
        let place = target.place(root, context)?;
        if request.id.is_none() || !request.resume {
            target.check_space(context, request.size, 0)?;
        }
        let Some(id) = request.id else {
            return Self::begin_once(root, request, (&target, &place));
        };
        let as_asked = (&id, request.resume);
        let begin = || place.begin(&target.folder, as_asked, &mut *progress);
        let mut upload = Self::stage(root, request, begin)?;
        target.check_space(context, request.size, upload.offset())?;
        upload.reserve(&target, &place, progress)?;
        Ok(upload)
    }

    /// Has the bytes promised that the upload will add, where there is a quota. What cannot be had is no use to keep.
    fn reserve(&mut self, target: &Target, place: &Place, progress: Progress<'_>) -> Result<()> {
        let (Some(quota), Some(upload)) = (&self.root.quota, self.request.id) else {
            return Ok(());
        };
        let replaced = target.size_of(self.context())?;
        let claim = Claim {
            upload,
            // One that does not say how much it is to be hears it when it is published.
            bytes: self.request.size.unwrap_or(0).saturating_sub(replaced),
            beside: place.beside_target.then(|| target.path()),
        };
        let reserved = quota.reserve(&self.root, self.context(), &claim, progress);
        self.is_reserved = true;
        reserved.map_err(|error| match error.code() {
            ErrorCode::QuotaExceeded => self.fail(error),
            _ => error,
        })
    }

    /// Begins an upload whose content is at hand and that is never resumed. The folder it goes to is looked at once for all
    /// that follow one another there; whether the name may be given shows when it is.
    pub(crate) fn begin_whole(
        root: &Arc<Root>,
        request: &UploadRequest,
        at_hand: &mut AtHand,
    ) -> Result<Self> {
        let context = Context::new("store", &request.path);
        if let Some(target) = at_hand.get::<Target>()
            && target.holds(context)?
        {
            let place = target.place(root, context)?;
            return Self::begin_once(root, request, (target, &place));
        }
        let target = Target::find(root, context, request)?;
        target.check_space(context, request.size, 0)?;
        let place = target.place(root, context)?;
        let begun = Self::begin_once(root, request, (&target, &place));
        at_hand.keep(target);
        begun
    }

    fn begin_once(
        root: &Arc<Root>,
        request: &UploadRequest,
        (target, place): (&Target, &Place),
    ) -> Result<Self> {
        let begin = || {
            let staged = place.begin_once(&target.folder, request.mode)?;
            Ok((staged, Hashed::default()))
        };
        Self::stage(root, request, begin)
    }

    fn stage(
        root: &Arc<Root>,
        request: &UploadRequest,
        begin: impl FnOnce() -> std::io::Result<(Staged, Hashed)>,
    ) -> Result<Self> {
        let begun = Instant::now();
        let (staged, hashed) = begin().map_err(Context::new("store", &request.path).naming())?;
        Ok(Self {
            root: Arc::clone(root),
            request: request.clone(),
            staged,
            hashed,
            begun,
            on_drop: if request.id.is_some() {
                OnDrop::Keep
            } else {
                OnDrop::Remove
            },
            is_reserved: false,
        })
    }

    pub(crate) fn context(&self) -> Context<'_> {
        Context::new("store", &self.request.path)
    }

    /// Removes the staged file, and then what was promised to it, unless another writer goes on with both.
    fn remove(&self) {
        let is_ours = self.staged.is_ours();
        self.staged.remove();
        if let (true, true, Some(quota), Some(id)) = (
            self.is_reserved,
            is_ours,
            &self.root.quota,
            &self.request.id,
        ) {
            quota.release(id);
        }
    }

    /// Gives the upload up because of `error`, for good.
    pub(crate) fn fail(&mut self, error: StorageError) -> StorageError {
        self.on_drop = OnDrop::Remove;
        error
    }
}

impl Drop for LocalUpload {
    fn drop(&mut self) {
        let is_empty = || {
            self.staged
                .file
                .metadata()
                .is_ok_and(|facts| facts.len() == 0)
        };
        match self.on_drop {
            OnDrop::Nothing => {}
            OnDrop::Keep if !is_empty() => {}
            OnDrop::Keep | OnDrop::Remove => self.remove(),
        }
    }
}

impl Upload for LocalUpload {
    fn offset(&self) -> u64 {
        self.hashed.length
    }

    fn hashed(&self) -> &Hashed {
        &self.hashed
    }

    fn restart(&mut self) -> Result<()> {
        self.staged.file.set_len(0).map_err(self.context().io())?;
        self.hashed = Hashed::default();
        Ok(())
    }

    fn file(&self) -> Option<&File> {
        Some(&self.staged.file)
    }

    fn write_all_at(&mut self, content: &[u8], offset: u64) -> Result<()> {
        self.staged
            .file
            .write_all_at(content, offset)
            .map_err(self.context().io())
    }

    fn commit(self: Box<Self>, received: &Received) -> Result<Stored> {
        let root = Arc::clone(&self.root);
        let lost = self.context().refuse(ErrorCode::Internal);
        let mut results = commit::publish_all(&root, vec![Ok((self, *received))]);
        results.pop().unwrap_or(Err(lost))
    }

    fn keep(mut self: Box<Self>) {
        self.on_drop = OnDrop::Keep;
    }

    fn discard(mut self: Box<Self>) {
        self.on_drop = OnDrop::Remove;
    }
}
