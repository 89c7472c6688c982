//! The part of a fake slave's conversation that moves content, with everything that can go wrong there.

use std::ops::Range;

use protocol::frame::DATA;
use protocol::{
    Condition, ConnectionError, EntryKind, ErrorCode, RemotePath, Reply, Request, UploadId,
};

use crate::faults::Overflow;
use crate::slave::End;
use crate::storage::digest;
use crate::talk::{Talk, error};

impl Talk<'_> {
    pub(crate) fn retrieve_whole(
        &mut self,
        number: u32,
        path: &RemotePath,
        most: u32,
    ) -> Result<(), End> {
        let entry = self.inner.storage.lock().entry(path);
        let reply = match entry {
            Some(entry) if entry.kind == EntryKind::File && entry.size <= u64::from(most) => {
                let all = Request::Retrieve {
                    path: path.clone(),
                    offset: 0,
                    length: u64::MAX,
                    expected: None,
                    digest: true,
                };
                return self.retrieve(number, &all);
            }
            Some(entry) => Reply::Facts { entry },
            None => error(ErrorCode::NotFound),
        };
        self.connection.send(number, &reply);
        Ok(())
    }

    pub(crate) fn retrieve(&mut self, number: u32, request: &Request) -> Result<(), End> {
        let Request::Retrieve {
            path,
            offset,
            length,
            expected,
            digest: wanted,
        } = request
        else {
            panic!("{request:?}");
        };
        let found = self.inner.storage.lock().files.get(path).cloned();
        let refusal = match &found {
            None => Some(ErrorCode::NotFound),
            Some(file)
                if expected
                    .as_ref()
                    .is_some_and(|version| *version != file.version) =>
            {
                Some(ErrorCode::Changed)
            }
            Some(_) => None,
        };
        let (Some(file), None) = (found, refusal) else {
            self.connection.send(number, &error(refusal.unwrap()));
            return Ok(());
        };
        let size = file.content.len() as u64;
        let end = size.min(offset.saturating_add(*length));
        self.connection.send(
            number,
            &Reply::Content {
                version: file.version.clone(),
                size,
                modified_ns: file.modified_ns,
                mode: file.mode,
                offset: *offset,
                length: end - offset,
            },
        );
        let rest = self.faults().rest;
        let mut position = *offset;
        while position < end {
            let next = end.min(position + 100_000);
            std::thread::sleep(rest);
            let mut piece = file.content[position as usize..next as usize].to_vec();
            self.cut(position..next, &piece, number)?;
            if self.spoil(path, position, &mut piece, number)? {
                return Ok(());
            }
            self.connection.send_data(number, &piece);
            self.connection.flush()?;
            position = next;
        }
        self.overflow(number)?;
        let digest = wanted.then(|| digest(&file.content));
        self.connection.send(number, &Reply::ContentEnd { digest });
        Ok(())
    }

    /// Sends more than was announced, where the faults demand it.
    fn overflow(&mut self, number: u32) -> Result<(), End> {
        let overflow = self.faults().overflow;
        let Overflow::Once(pieces) = overflow else {
            return Ok(());
        };
        for piece in 0..pieces {
            self.faults().overflow = Overflow::Sent(piece);
            self.connection.send_data(number, &[7; 100_000]);
            self.connection.flush()?;
        }
        self.faults().overflow = Overflow::Sent(pieces);
        Err(End::Hang)
    }

    /// Ends the connection in the middle of that piece, where the faults demand it.
    fn cut(&mut self, range: Range<u64>, piece: &[u8], number: u32) -> Result<(), End> {
        let cut = self.faults().cut_at;
        let Some(at) = cut.filter(|at| range.contains(at)) else {
            return Ok(());
        };
        let before = &piece[..(at - range.start) as usize];
        self.connection.send_data(number, before);
        self.connection.flush()?;
        Err(End::Broken)
    }

    /// Does what the faults demand before a piece is sent; `true` where the answer has ended with an error.
    fn spoil(
        &mut self,
        path: &RemotePath,
        position: u64,
        piece: &mut [u8],
        number: u32,
    ) -> Result<bool, End> {
        let mut faults = self.inner.faults.lock().unwrap();
        let end = position + piece.len() as u64;
        if faults
            .die_after_sent
            .take_if(|after| *after <= position)
            .is_some()
        {
            return Err(End::Die);
        }
        if faults
            .hang_after_sent
            .is_some_and(|after| after <= position)
        {
            faults.hang_after_sent = Some(0);
            return Err(End::Hang);
        }
        if let Some((_, content)) = faults
            .change_after_sent
            .take_if(|(after, _)| *after <= position)
        {
            self.inner.storage.lock().put(path, content, 5, 0o600);
            piece.fill(0);
            self.connection.send_data(number, piece);
            self.connection.send(number, &error(ErrorCode::Changed));
            return Ok(true);
        }
        let always = faults.flip_always;
        if let Some(at) = faults.flip.filter(|at| (position..end).contains(at)) {
            piece[(at - position) as usize] ^= 0x10;
            faults.flip = Some(at).filter(|_| always);
        }
        Ok(false)
    }

    pub(crate) fn store(&mut self, number: u32, request: &Request) -> Result<(), End> {
        let Request::Store {
            path,
            upload,
            condition,
            resume,
            modified_ns,
            mode,
            deferred,
            ..
        } = request
        else {
            panic!("{request:?}");
        };
        let mut content = self
            .inner
            .storage
            .lock()
            .staged
            .remove(upload)
            .unwrap_or_default();
        if *resume {
            let ready = Reply::Ready {
                offset: content.len() as u64,
                prefix: digest(&content),
            };
            self.connection.send(number, &ready);
        } else {
            content.clear();
        }
        if let Some(code) = self.refusal(path, condition) {
            self.connection.send(number, &error(code));
            return Ok(());
        }
        self.connection.flush()?;
        if self.receive(number, *upload, &mut content)? {
            let facts = (path, content, *modified_ns, *mode);
            return self.commit(number, facts, *deferred);
        }
        Ok(())
    }

    /// Takes content up to its end; `false` where the upload has ended before, and that was answered.
    fn receive(
        &mut self,
        number: u32,
        upload: UploadId,
        content: &mut Vec<u8>,
    ) -> Result<bool, End> {
        loop {
            let header = self.connection.receive_answer()?;
            if header.kind == DATA {
                let start = content.len();
                content.resize(start + self.connection.data_left(), 0);
                let mut filled = start;
                while self.connection.data_left() > 0 {
                    filled += self.connection.read_data(&mut content[filled..])?;
                }
                let length = content.len() as u64;
                let mut faults = self.inner.faults.lock().unwrap();
                if faults
                    .die_after_received
                    .take_if(|after| *after <= length)
                    .is_some()
                {
                    let mut storage = self.inner.storage.lock();
                    storage.staged.insert(upload, std::mem::take(content));
                    return Err(End::Die);
                }
                if let Some((_, code)) = faults.refuse_store.take_if(|(after, _)| *after <= length)
                {
                    self.connection.send(number, &error(code));
                    return Ok(false);
                }
                continue;
            }
            match self
                .connection
                .decode(&header)
                .map_err(ConnectionError::from)?
            {
                Request::StoreEnd { digest: announced } => {
                    let is_whole = announced == digest(content);
                    if !is_whole {
                        self.connection.send(number, &error(ErrorCode::Corrupt));
                    }
                    return Ok(is_whole);
                }
                Request::Abandon {} => {
                    self.connection.send(number, &Reply::Done {});
                    return Ok(false);
                }
                other => panic!("{other:?} within an upload"),
            }
        }
    }

    pub(crate) fn store_whole(&mut self, number: u32, request: Request) -> Result<(), End> {
        let Request::StoreWhole {
            path,
            condition,
            modified_ns,
            mode,
            deferred,
            content,
            digest: announced,
        } = request
        else {
            panic!("{request:?}");
        };
        if let Some(code) = self.refusal(&path, &condition) {
            self.connection.send(number, &error(code));
            return Ok(());
        }
        assert_eq!(announced, digest(content.as_bytes()));
        let content = content.as_bytes().to_vec();
        self.commit(number, (&path, content, modified_ns, mode), deferred)
    }

    fn refusal(&self, path: &RemotePath, condition: &Condition) -> Option<ErrorCode> {
        let is_taken = self.inner.storage.lock().files.contains_key(path);
        (is_taken && *condition == Condition::Absent).then_some(ErrorCode::Exists)
    }

    fn commit(
        &mut self,
        number: u32,
        (path, content, modified_ns, mode): (&RemotePath, Vec<u8>, i64, u16),
        deferred: bool,
    ) -> Result<(), End> {
        {
            let mut faults = self.faults();
            if faults.corrupt > 0 {
                faults.corrupt -= 1;
                drop(faults);
                self.connection.send(number, &error(ErrorCode::Corrupt));
                return Ok(());
            }
        }
        let digest = digest(&content);
        let version = self
            .inner
            .storage
            .lock()
            .put(path, content, modified_ns, mode);
        let mut faults = self.faults();
        let is_last = |left: &mut u32| {
            *left -= 1;
            *left == 0
        };
        let was_last = faults.die_after_stored.take_if(is_last).is_some();
        if std::mem::take(&mut faults.die_before_answer) || was_last {
            return Err(End::Die);
        }
        drop(faults);
        let stored = Reply::Stored { digest, version };
        if deferred {
            self.connection.send(number, &Reply::Received {});
            self.deferred.push((number, stored));
        } else {
            self.connection.send(number, &stored);
        }
        Ok(())
    }
}
