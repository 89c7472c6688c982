use std::io::Cursor;
use std::net::{TcpListener, TcpStream};
use std::os::fd::BorrowedFd;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::Errno;

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
    check_one(&|file, receiver| receive(opaque(rest.clone()), file, receiver));
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

fn opaque(bytes: Vec<u8>) -> Connection<Opaque> {
    Connection::new(Opaque(Cursor::new(bytes)))
}

/// Takes all that comes, at most so much at once; what came last is not confirmed.
fn take_all<W: Wire>(mut connection: Connection<W>, file: &File, receiver: &mut Receiver) {
    while connection.receive().unwrap().is_some() {
        receiver.confirm(file).unwrap();
        while receiver.take(&mut connection, file, 300_000).unwrap() > 0 {}
    }
}

fn check_taken_back<W: Wire>(connect: impl Fn(Vec<u8>) -> Connection<W>) {
    let file = tempfile::tempfile().unwrap();
    let content = content_of(6 << 20);
    let mut sent = content.clone();
    sent[5 << 20..].fill(0);
    let mut receiver = Receiver::new(Hashed::default(), 6 << 20);
    take_all(connect(framed(&sent, 1 << 20)), &file, &mut receiver);
    receiver.go_back(5 << 20);
    assert_eq!((receiver.position(), receiver.left()), (5 << 20, 1 << 20));
    let rest = connect(framed(&content[5 << 20..], 1 << 20));
    let hashed = receive(rest, &file, receiver).unwrap();
    assert_eq!(hashed.digest().0, *blake3::hash(&content).as_bytes());
}

#[test]
fn what_is_not_confirmed_can_be_taken_back() {
    check_taken_back(over_socket);
    check_taken_back(opaque);
}

#[test]
fn what_was_taken_is_in_the_file_when_it_is_left() {
    let content = content_of((6 << 20) + 5);
    let check = |taken: usize, left: usize| {
        let file = tempfile::tempfile().unwrap();
        let mut receiver = Receiver::new(Hashed::default(), content.len() as u64);
        let frames = framed(&content[..taken], 1 << 20);
        take_all(opaque(frames), &file, &mut receiver);
        receiver.go_back(left as u64);
        assert_eq!(receiver.position(), left as u64);
        receiver.leave(&file).unwrap();
        let mut stored = vec![0; left];
        file.read_exact_at(&mut stored, 0).unwrap();
        assert!(stored == content[..left]);
    };
    check(content.len(), content.len());
    check(content.len() - 70_000, content.len() - 70_000);
    check(5 << 20, 4 << 20);
    check(5, 5);
    check(0, 0);
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
    let unwritable = File::open("/dev/null").unwrap();
    for length in [1000, 1 << 20] {
        let mut connection = over_socket(framed(&content_of(length), length));
        connection.receive().unwrap();
        let mut receiver = Receiver::unverified(0, length as u64);
        let result = receiver.take(&mut connection, &unwritable, usize::MAX);
        assert!(matches!(result, Err(TransferError::Local(_))));
    }
}

/// The first frame is written by whoever receives it, those behind it by the hashing thread.
#[test]
fn a_file_that_takes_no_more_is_our_fault_sooner_or_later() {
    let file = memfd_create(c"full", MemfdFlags::ALLOW_SEALING).unwrap();
    let file = File::from(file);
    let mut receiver = Receiver::new(Hashed::default(), 20 << 20);
    let mut connection = opaque(framed(&content_of(20 << 20), 1 << 20));
    let refused = loop {
        if connection.receive().unwrap().is_none() {
            break receiver.finish(&file).err();
        }
        if let Err(error) = receiver.confirm(&file) {
            break Some(error);
        }
        while receiver.take(&mut connection, &file, usize::MAX).unwrap() > 0 {}
        fcntl_add_seals(&file, SealFlags::WRITE).unwrap();
    };
    let code = refused.and_then(|error| Errno::from_io_error(&error));
    assert_eq!(code, Some(Errno::PERM));
}
