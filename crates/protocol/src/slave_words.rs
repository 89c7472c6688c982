//! What a client asks of a slave, and what the slave answers.

use crate::message::messages;
use crate::{
    Condition, Content, Digest, Entry, ErrorCode, Nonce, Proof, RemotePath, Rights, Secret,
    Secretive, SlaveId, StorageId, Text, Ticket, Unreadable, UploadId, Version,
};

messages! {
    /// A request to a slave. Each names its full path and stands alone, so that any slave can carry on where another died;
    /// each gets exactly one closing answer, in the order of the requests.
    pub enum Request {
        /// Is the worker that serves another connection alive? Answered by [`Reply::Alive`], with or without a ticket.
        Probe = 0x0101 {
            /// [`ServerPreface::worker`](crate::ServerPreface::worker) of that other connection.
            worker: u32,
        }
        /// Who is this slave? Asked by a master that knows it by address alone. Answered by [`Reply::Identity`].
        Identify = 0x0102 {
            /// Drawn by the master for this question.
            nonce: Nonce,
        }
        /// Opens the session. Answered by [`Reply::Welcome`]; the client need not wait for it.
        Present = 0x0103 {
            /// From the master's answer.
            ticket: Ticket,
            /// From the same answer.
            secret: Secret,
        }
        /// Who I am, at a slave that has accounts of its own. Opens the session. Answered by [`Reply::Welcome`].
        Login = 0x0104 {
            /// Account's name.
            user: Text,
            /// Its password.
            password: Secretive,
        }
        /// Facts about one name. Answered by [`Reply::Facts`].
        Stat = 0x0110 {
            /// What to look at.
            path: RemotePath,
            /// Whether a symbolic link stands for what it leads to.
            follow: bool,
        }
        /// The names in a folder, unsorted. Answered by [`Reply::Entries`], once or more.
        List = 0x0111 {
            /// The folder.
            path: RemotePath,
            /// Whether to descend; names are then paths below the folder, and a folder comes before what is in it.
            recursive: bool,
            /// Whether size, time, mode, version and digest are wanted, or names and kinds alone.
            facts: bool,
        }
        /// The content of a file, or a range of it. Answered by [`Reply::Content`], data frames, [`Reply::ContentEnd`].
        Retrieve = 0x0112 {
            /// The file.
            path: RemotePath,
            /// First byte wanted.
            offset: u64,
            /// Bytes wanted; fewer come where the file ends before.
            length: u64,
            /// Refuse with `changed` unless the file is this version.
            expected: Option<Version>,
            /// Whether the closing frame must carry the digest of the whole file.
            digest: bool,
        }
        /// The digests of a file's blocks. Answered by [`Reply::Blocks`], once or more.
        Blocks = 0x0113 {
            /// The file.
            path: RemotePath,
            /// Refuse with `changed` unless the file is this version.
            expected: Version,
            /// Number of the first block wanted, from 0.
            first: u64,
            /// Blocks wanted; fewer come where the file ends before.
            count: u32,
        }
        /// The digest of a file. Answered by [`Reply::Sum`].
        Checksum = 0x0114 {
            /// The file.
            path: RemotePath,
            /// Whether to read the file even where its digest is known: asked by a receiver that found it wrong.
            fresh: bool,
        }
        /// The storage's size. Answered by [`Reply::Space`].
        DiskFree = 0x0115 {}
        /// What a name leads to, and a small file's content with it. Answered by [`Reply::Content`], data frames and
        /// [`Reply::ContentEnd`] with the digest where that is a regular file of at most `most` bytes, all of which the slave
        /// is willing to send so; else by [`Reply::Facts`].
        RetrieveWhole = 0x0116 {
            /// What to look at; a symbolic link stands for what it leads to.
            path: RemotePath,
            /// The largest content that is wanted now, bytes.
            most: u32,
        }
        /// An upload: data frames with the same request id follow, then [`Request::StoreEnd`] or [`Request::Abandon`].
        /// Answered by [`Reply::Ready`] where `resume` is set, then by [`Reply::Stored`].
        Store = 0x0120 {
            /// Where the file will be.
            path: RemotePath,
            /// Which upload this is, the same when it is resumed.
            upload: UploadId,
            /// Bytes of the whole content.
            size: u64,
            /// Modification time the file will have, nanoseconds since the epoch.
            modified_ns: i64,
            /// Permission bits the file will have, 0777, under the slave's umask.
            mode: u16,
            /// What must be true of the name when the upload is published.
            condition: Condition,
            /// Whether to go on behind what an earlier try left; the client then waits for [`Reply::Ready`].
            resume: bool,
            /// Whether this upload may be published later, together with others: [`Reply::Received`] comes first.
            deferred: bool,
        }
        /// A whole small file in one frame. Answered like [`Request::Store`] without `resume`.
        StoreWhole = 0x0121 {
            /// Where the file will be.
            path: RemotePath,
            /// Modification time the file will have, nanoseconds since the epoch.
            modified_ns: i64,
            /// Permission bits the file will have, 0777, under the slave's umask.
            mode: u16,
            /// What must be true of the name when the upload is published.
            condition: Condition,
            /// Digest of the content.
            digest: Digest,
            /// Whether this upload may be published later, together with others.
            deferred: bool,
            /// All of the file's bytes.
            content: Content,
        }
        /// Closes a [`Request::Store`] of the same request id.
        StoreEnd = 0x0122 {
            /// Digest of the whole content.
            digest: Digest,
        }
        /// Gives a [`Request::Store`] of the same request id up for now; the slave keeps what it has for a resume, less
        /// the data frame before this one. Answered by [`Reply::Done`].
        Abandon = 0x0123 {}
        /// Publish every deferred upload of this session now. Answered by [`Reply::Done`], after their [`Reply::Stored`].
        Flush = 0x0124 {}
        /// Is this content stored under that name? Asked by a client whose answer was lost with its slave. Answered by
        /// [`Reply::Stored`] once content and name are durable, whoever stored them.
        Confirm = 0x0125 {
            /// The file.
            path: RemotePath,
            /// Digest of the content that was sent.
            digest: Digest,
        }
        /// Make durable whatever the storage shows, whoever stored it: asked by a client that found things in place. Answered
        /// by [`Reply::Done`].
        Sync = 0x0126 {}
        /// Makes a folder. Answered by [`Reply::Done`].
        MakeDirectory = 0x0130 {
            /// The folder.
            path: RemotePath,
            /// Whether to make missing folders above it, and not to mind when it is there already.
            parents: bool,
        }
        /// Removes a name. Answered by [`Reply::Done`].
        Remove = 0x0131 {
            /// A file, a link (never what it leads to), or with `recursive` a folder and all in it.
            path: RemotePath,
            /// Whether a folder may be removed with all in it.
            recursive: bool,
        }
        /// Removes an empty folder. Answered by [`Reply::Done`].
        RemoveDirectory = 0x0132 {
            /// The folder.
            path: RemotePath,
        }
        /// Gives a name to what has another. Answered by [`Reply::Done`].
        Rename = 0x0133 {
            /// The name now.
            from: RemotePath,
            /// The name then.
            to: RemotePath,
            /// Whether a file of the new name may be replaced.
            replace: bool,
        }
        /// Sets a file's modification time. Answered by [`Reply::Done`].
        SetTime = 0x0134 {
            /// The file.
            path: RemotePath,
            /// Its modification time from now on, nanoseconds since the epoch.
            modified_ns: i64,
            /// Refuse with `changed` unless the file is this version.
            expected: Option<Version>,
        }
    }
}

messages! {
    /// An answer of a slave.
    pub enum Reply {
        /// The closing answer to a request that was not carried out.
        Error = 0x8000 {
            /// Why.
            code: ErrorCode,
            /// What a person should know beyond the code's own sentence; often empty.
            detail: Text,
        }
        /// The closing answer to a request that has nothing more to say.
        Done = 0x8001 {}
        /// The slave is alive.
        Alive = 0x8101 {
            /// Milliseconds since the worker asked about last showed life; `u32::MAX` where it is gone.
            silent_ms: u32,
            /// Sessions the slave serves now.
            sessions: u32,
            /// Sessions it can serve at once.
            places: u32,
            /// Whether it is shutting down.
            draining: bool,
        }
        /// Who the slave is.
        Identity = 0x8102 {
            /// Its identity.
            slave: SlaveId,
            /// The storage it serves.
            storage: StorageId,
            /// Drawn by the slave for this answer.
            nonce: Nonce,
            /// HMAC under the slave's ticket key of `mini-ftp identity`, both nonces (the master's first), slave and storage;
            /// `None` where the slave knows no key because it stands alone.
            proof: Option<Proof>,
            /// Sessions it serves now.
            sessions: u32,
            /// Sessions it can serve at once.
            places: u32,
            /// Whether it is shutting down.
            draining: bool,
        }
        /// The ticket opened a session.
        Welcome = 0x8103 {
            /// Whom the ticket names; empty for everybody.
            user: Text,
            /// What the bearer may do.
            rights: Rights,
        }
        /// Facts about one name; the entry's name is empty.
        Facts = 0x8110 {
            /// The facts.
            entry: Entry,
        }
        /// Part of a listing.
        Entries = 0x8111 {
            /// Names.
            entries: Vec<Entry>,
            /// Folders below the listed one that could not be read.
            unreadable: Vec<Unreadable>,
            /// Whether another part follows.
            more: bool,
        }
        /// Content follows: `length` bytes in data frames.
        Content = 0x8112 {
            /// The version that is being sent.
            version: Version,
            /// Bytes of the whole file.
            size: u64,
            /// Modification time, nanoseconds since the epoch.
            modified_ns: i64,
            /// Permission bits, 0777.
            mode: u16,
            /// First byte that follows.
            offset: u64,
            /// Bytes that follow.
            length: u64,
        }
        /// The content has been sent, and the file is still the version that the first frame named.
        ContentEnd = 0x8113 {
            /// Digest of the whole file, where it was asked for.
            digest: Option<Digest>,
        }
        /// Part of a list of block digests.
        Blocks = 0x8114 {
            /// Number of the first block in this part.
            first: u64,
            /// One digest for each block.
            digests: Vec<Digest>,
            /// Whether another part follows.
            more: bool,
        }
        /// A file's digest.
        Sum = 0x8115 {
            /// Digest of the content.
            digest: Digest,
            /// Bytes of content.
            size: u64,
            /// The version that was read.
            version: Version,
        }
        /// The storage's size.
        Space = 0x8116 {
            /// Bytes in all.
            total: u64,
            /// Bytes that this account may still fill.
            available: u64,
        }
        /// The upload may go on.
        Ready = 0x8120 {
            /// Where the next byte goes: what an earlier try left.
            offset: u64,
            /// Digest of the bytes before it, as the slave has them now.
            prefix: Digest,
        }
        /// A deferred upload is there and verified, but not yet visible; [`Reply::Stored`] follows later.
        Received = 0x8121 {}
        /// The upload is visible under its name and durable.
        Stored = 0x8122 {
            /// Digest of the content.
            digest: Digest,
            /// The file's version.
            version: Version,
        }
    }
}
