//! Content from a peer's data frames into a file, hashed on the way; one engine for downloads and uploads.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;

use protocol::limits::MAX_DATA_PAYLOAD;
use protocol::{Connection, ConnectionError};

use crate::block_tree::Hashed;
use crate::hash_behind::{HashBehind, Recent};
use crate::pipe::Pipe;
use crate::wire::retrying;
use crate::{TransferError, Wire};

/// What is copied at once where content goes through our memory, bytes.
const BUFFER: usize = 256 * 1024;

/// Below this a pipe costs more than it saves, bytes.
const WORTH_A_PIPE: u64 = 512 * 1024;

/// Writes content behind what a file holds already, and hashes it. Always the same file.
///
/// What was taken is hashed only once it is confirmed: the last data frame before an error may be padding.
#[derive(Debug)]
pub struct Receiver {
    position: u64,
    expected: u64,
    way: Way,
    buffer: Vec<u8>,
    /// What came through our memory since the last confirmation, to be hashed there.
    recent: Option<Recent>,
    hashing: HashBehind,
}

/// How content gets from the socket into the file.
#[derive(Debug)]
enum Way {
    /// Not tried yet.
    Unknown,
    /// By splice(2): one copy in the kernel.
    Pipe(Pipe),
    /// Through the buffer: two copies, on every file system and stream.
    Buffer,
}

impl Receiver {
    /// Goes on behind the bytes that `hashed` covers. `expected` is the length of the whole in bytes, as far as it is known,
    /// and decides only how the work is laid out.
    #[must_use]
    pub fn new(hashed: Hashed, expected: u64) -> Self {
        let position = hashed.length;
        Self::with(position, expected, HashBehind::new(hashed, expected))
    }

    /// Goes on at `position` without hashing anything: then [`Self::finish`] has nothing to give.
    #[must_use]
    pub fn unverified(position: u64, expected: u64) -> Self {
        Self::with(position, expected, HashBehind::off())
    }

    fn with(position: u64, expected: u64, hashing: HashBehind) -> Self {
        let way = match expected.saturating_sub(position) {
            WORTH_A_PIPE.. => Way::Unknown,
            _ => Way::Buffer,
        };
        Self {
            position,
            expected,
            way,
            buffer: Vec::new(),
            recent: None,
            hashing,
        }
    }

    /// Bytes of the whole that are there so far.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Bytes that are still to come, as far as it is known.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.expected.saturating_sub(self.position)
    }

    /// Takes the next bytes of the current data frame, `most` of them or fewer, into `file`; how many, 0 where the frame ends.
    ///
    /// # Errors
    /// [`TransferError::Local`] when the file takes no more: some of the frame is then lost, the rest still unread.
    /// [`TransferError::Peer`] when the frame does not come whole.
    pub fn take<W: Wire>(
        &mut self,
        connection: &mut Connection<W>,
        file: &File,
        most: usize,
    ) -> Result<usize, TransferError> {
        let wanted = connection.data_left().min(most);
        if wanted == 0 {
            return Ok(0);
        }
        if let Way::Unknown = self.way {
            self.way = Pipe::new().map_or(Way::Buffer, Way::Pipe);
        }
        let taken = match &self.way {
            Way::Pipe(pipe) if connection.buffered_data() == 0 => {
                let through_pipe = splice(connection, pipe, (file, self.position), wanted);
                match through_pipe {
                    Err(TransferError::Peer(error)) if is_unsupported(&error) => {
                        self.way = Way::Buffer;
                        self.copy(connection, file, wanted)
                    }
                    Err(error @ TransferError::Local(_)) => {
                        // Content is stuck in the pipe.
                        self.way = Way::Buffer;
                        Err(error)
                    }
                    taken => taken,
                }
            }
            _ => self.copy(connection, file, wanted),
        }?;
        self.position += u64::try_from(taken).unwrap_or(0);
        Ok(taken)
    }

    fn copy<W: Wire>(
        &mut self,
        connection: &mut Connection<W>,
        file: &File,
        wanted: usize,
    ) -> Result<usize, TransferError> {
        // Behind what the connection holds already, the rest may go through the pipe.
        let at_once = match self.way {
            Way::Pipe(_) => connection.buffered_data(),
            _ => BUFFER,
        };
        let wanted = wanted.min(at_once);
        match self.recent_with_room_for(wanted) {
            Some(mut recent) => {
                let place = recent.room_for(wanted);
                fill_and_write(connection, place, (file, self.position))?;
                recent.add(wanted);
                self.recent = Some(recent);
            }
            None => {
                self.buffer.resize(wanted, 0);
                fill_and_write(connection, &mut self.buffer, (file, self.position))?;
            }
        }
        Ok(wanted)
    }

    /// What came through memory so far, if the next `wanted` bytes can stand behind it.
    fn recent_with_room_for(&mut self, wanted: usize) -> Option<Recent> {
        let most = usize::try_from(MAX_DATA_PAYLOAD).unwrap_or(0);
        self.recent.take().filter(|recent| {
            recent.end() == self.position && recent.length().saturating_add(wanted) <= most
        })
    }

    /// What was taken so far is content, as the frame behind it shows: it may be hashed.
    ///
    /// # Errors
    /// What reading the file back says.
    pub fn confirm(&mut self, file: &File) -> io::Result<()> {
        let recent = self.recent.take();
        self.hashing.advance_with(file, self.position, recent)?;
        if let Way::Buffer = self.way {
            let start = self.position;
            let buffer = self.hashing.borrow();
            self.recent = buffer.map(|room| Recent::new(start, room));
        }
        Ok(())
    }

    /// Forgets what was taken behind `position`, all of which is not confirmed.
    pub fn go_back(&mut self, position: u64) {
        self.position = self.position.min(position);
        self.recent = None;
    }

    /// Waits until everything that was taken is hashed; `None` from an unverified receiver.
    ///
    /// # Errors
    /// What reading the file back says.
    pub fn finish(self, file: &File) -> io::Result<Option<Hashed>> {
        self.hashing.finish(file, self.position)
    }
}

/// One turn through the pipe.
fn splice<W: Wire>(
    connection: &mut Connection<W>,
    pipe: &Pipe,
    (file, offset): (&File, u64),
    wanted: usize,
) -> Result<usize, TransferError> {
    let taken = connection.pull_data(wanted, |wire, most| {
        retrying(|| wire.splice_into(pipe.entrance(), most))
    })?;
    pipe.drain(file, offset, taken)
        .map_err(TransferError::Local)?;
    Ok(taken)
}

/// Nothing was taken: this wire has no way past our memory.
fn is_unsupported(error: &ConnectionError) -> bool {
    matches!(error, ConnectionError::Io(error) if error.kind() == io::ErrorKind::Unsupported)
}

fn fill_and_write<S: Read + Write>(
    connection: &mut Connection<S>,
    buffer: &mut [u8],
    (file, position): (&File, u64),
) -> Result<(), TransferError> {
    fill(connection, buffer)?;
    file.write_all_at(buffer, position)
        .map_err(TransferError::Local)
}

fn fill<S: Read + Write>(
    connection: &mut Connection<S>,
    buffer: &mut [u8],
) -> Result<(), TransferError> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        filled += connection.read_data(rest)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::BorrowedFd;

    use super::*;

    /// A stream that offers no way past our memory, as one that is encrypted.
    #[derive(Debug)]
    struct Opaque(Cursor<Vec<u8>>);

    impl Read for Opaque {
        fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
            self.0.read(bytes)
        }
    }

    impl Write for Opaque {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Wire for Opaque {
        fn splice_into(&mut self, _: BorrowedFd<'_>, _: usize) -> io::Result<usize> {
            Err(io::ErrorKind::Unsupported.into())
        }

        fn send_file(&mut self, _: &File, _: u64, _: usize) -> io::Result<usize> {
            Err(io::ErrorKind::Unsupported.into())
        }

        fn write_more(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.write(bytes)
        }
    }

    fn content_of(length: usize) -> Vec<u8> {
        (0..length)
            .map(|n| u8::try_from(n % 251).unwrap())
            .collect()
    }

    fn framed(content: &[u8], frame: usize) -> Vec<u8> {
        let mut sender = Connection::new(Cursor::new(Vec::new()));
        content
            .chunks(frame)
            .for_each(|part| sender.send_data(1, part));
        sender.flush().unwrap();
        std::mem::take(sender.stream()).into_inner()
    }

    /// Bytes that come over a socket, from a thread that writes them.
    fn over_socket(bytes: Vec<u8>) -> Connection<TcpStream> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut sender = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let writing = move || sender.write_all(&bytes).unwrap_or_default();
        std::thread::Builder::new().spawn(writing).unwrap();
        Connection::new(listener.accept().unwrap().0)
    }

    fn receive<W: Wire>(
        mut connection: Connection<W>,
        file: &File,
        mut receiver: Receiver,
    ) -> Option<Hashed> {
        while connection.receive().unwrap().is_some() {
            receiver.confirm(file).unwrap();
            while receiver.take(&mut connection, file, usize::MAX).unwrap() > 0 {}
        }
        receiver.finish(file).unwrap()
    }

    fn check(length: usize, split: usize) {
        let content = content_of(length);
        let rest = framed(&content[split..], 700_000);
        let check_one = |receive: &dyn Fn(&File, Receiver) -> Option<Hashed>| {
            let file = tempfile::tempfile().unwrap();
            file.write_all_at(&content[..split], 0).unwrap();
            let prefix = HashBehind::new(Hashed::default(), 0).finish(&file, split as u64);
            let receiver = Receiver::new(prefix.unwrap().unwrap(), length as u64);
            let hashed = receive(&file, receiver).unwrap();
            assert_eq!(hashed.digest().0, *blake3::hash(&content).as_bytes());
            let mut stored = vec![0; length];
            file.read_exact_at(&mut stored, 0).unwrap();
            assert!(stored == content);
        };
        check_one(&|file, receiver| receive(over_socket(rest.clone()), file, receiver));
        let opaque = || Connection::new(Opaque(Cursor::new(rest.clone())));
        check_one(&|file, receiver| receive(opaque(), file, receiver));
    }

    #[test]
    fn small_and_large_contents_arrive_whole_and_hashed() {
        check(0, 0);
        check(1000, 0);
        check(1000, 1000);
        check(3_000_000, 1_234_567);
        check(20_000_000, 0);
        check(20_000_000, 19_999_999);
    }

    #[test]
    fn without_verification_nothing_is_hashed() {
        let file = tempfile::tempfile().unwrap();
        let connection = over_socket(framed(&content_of(2_000_000), 1 << 20));
        let receiver = Receiver::unverified(5, 2_000_005);
        assert_eq!(receive(connection, &file, receiver), None);
        assert_eq!(file.metadata().unwrap().len(), 2_000_005);
    }

    #[test]
    fn what_is_not_confirmed_can_be_taken_back() {
        let file = tempfile::tempfile().unwrap();
        let content = content_of(6 << 20);
        let mut sent = content.clone();
        sent[5 << 20..].fill(0);
        let mut receiver = Receiver::new(Hashed::default(), 6 << 20);
        let mut connection = over_socket(framed(&sent, 1 << 20));
        while connection.receive().unwrap().is_some() {
            receiver.confirm(&file).unwrap();
            while receiver.take(&mut connection, &file, 300_000).unwrap() > 0 {}
        }
        receiver.go_back(5 << 20);
        assert_eq!((receiver.position(), receiver.left()), (5 << 20, 1 << 20));
        let rest = over_socket(framed(&content[5 << 20..], 1 << 20));
        let hashed = receive(rest, &file, receiver).unwrap();
        assert_eq!(hashed.digest().0, *blake3::hash(&content).as_bytes());
    }

    #[test]
    fn a_frame_that_is_cut_short_is_the_peers_fault() {
        for (length, expected) in [(1000, 1000), (1 << 20, 1 << 20)] {
            let mut bytes = framed(&content_of(length), length);
            bytes.truncate(length / 2);
            let mut connection = over_socket(bytes);
            let file = tempfile::tempfile().unwrap();
            let mut receiver = Receiver::unverified(0, expected);
            connection.receive().unwrap();
            let error = loop {
                if let Err(error) = receiver.take(&mut connection, &file, usize::MAX) {
                    break error;
                }
            };
            assert!(matches!(error, TransferError::Peer(_)));
        }
    }

    #[test]
    fn a_file_that_takes_nothing_is_our_fault() {
        for length in [1000, 1 << 20] {
            let mut connection = over_socket(framed(&content_of(length), length));
            connection.receive().unwrap();
            let unwritable = File::open("/dev/null").unwrap();
            let mut receiver = Receiver::unverified(0, length as u64);
            let result = receiver.take(&mut connection, &unwritable, usize::MAX);
            assert!(matches!(result, Err(TransferError::Local(_))));
        }
    }
}
