//! Properties of every message: what is encoded is decoded equal; what is cut, flipped or made up is a typed error.

use std::io::Cursor;

use proptest::collection::vec;
use proptest::prelude::*;

use crate::frame::{DATA, Header, KEEP_ALIVE};
use crate::limits::{MAX_CONTROL_PAYLOAD, MAX_DATA_PAYLOAD};
use crate::*;

macro_rules! arbitrary {
    ($($type:ty => $strategy:expr;)*) => {$(
        impl Arbitrary for $type {
            type Parameters = ();
            type Strategy = BoxedStrategy<Self>;

            fn arbitrary_with((): ()) -> Self::Strategy {
                $strategy.boxed()
            }
        }
    )*};
}

fn component() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 1..20).prop_filter("one component", |name| check_component(name).is_ok())
}

fn entry_name() -> impl Strategy<Value = Vec<u8>> {
    vec(component(), 0..4).prop_map(|components| components.join(&b'/'))
}

arbitrary! {
    Digest => any::<[u8; 32]>().prop_map(Self);
    SlaveId => any::<[u8; 16]>().prop_map(Self);
    StorageId => any::<[u8; 16]>().prop_map(Self);
    UploadId => any::<[u8; 32]>().prop_map(Self);
    Secret => any::<[u8; 32]>().prop_map(Self);
    Nonce => any::<[u8; 32]>().prop_map(Self);
    Proof => any::<[u8; 32]>().prop_map(Self);
    Fingerprint => any::<[u8; 32]>().prop_map(Self);
    Version => vec(any::<u8>(), 1..=64).prop_filter_map("bounded", |token| Self::new(&token));
    RemotePath => vec(component(), 0..5)
        .prop_filter_map("short enough", |names| names.iter().try_fold(Self::root(), |path, name| path.join(name)).ok());
    Text => any::<String>().prop_map(|text| Self::new(&text));
    Secretive => vec(any::<u8>(), 0..100).prop_filter_map("bounded", |bytes| Self::new(&bytes));
    Ticket => vec(any::<u8>(), 0..=200).prop_filter_map("bounded", |bytes| Self::new(&bytes));
    Content => vec(any::<u8>(), 0..2000).prop_filter_map("bounded", Self::new);
    ErrorCode => proptest::sample::select(Self::ALL);
    Rights => (0_u8..8).prop_filter_map("known bits", Self::from_bits);
    EntryKind => (1_u8..=4).prop_filter_map("known", Self::from_number);
    SlaveStatus => (1_u8..=3).prop_filter_map("known", Self::from_number);
    Condition => prop_oneof![Just(Self::Any), Just(Self::Absent), any::<Version>().prop_map(Self::Matches)];
    Address => prop_oneof![
        any::<u16>().prop_map(|port| Self::SameHost { port }),
        any::<(std::net::IpAddr, u16)>().prop_map(|(ip, port)| Self::Ip { ip, port }),
        ("[a-zé]{0,12}", any::<u16>()).prop_map(|(host, port)| Self::Name { host: Text::new(&host), port }),
    ];
    SlaveOffer => (any::<SlaveId>(), vec(any::<Address>(), 0..3), any::<(Ticket, Secret, u32, u32, Option<Fingerprint>)>()).prop_map(
        |(id, addresses, (ticket, secret, sessions, places, fingerprint))| Self { id, addresses, ticket, secret, sessions, places, fingerprint });
    Revocation => any::<(Option<Text>, u64)>().prop_map(|(user, until)| Self { user, until });
    SlaveState => (any::<SlaveId>(), vec(any::<Address>(), 0..3), any::<(SlaveStatus, u32, u32)>()).prop_map(
        |(id, addresses, (status, sessions, places))| Self { id, addresses, status, sessions, places });
    Unreadable => (entry_name(), any::<ErrorCode>()).prop_map(|(name, code)| Self { name, code });
    Entry => (entry_name(), any::<(EntryKind, u64, i64, u16, Option<Version>, Option<Digest>)>()).prop_map(
        |(name, (kind, size, modified_ns, mode, version, digest))| Self { name, kind, size, modified_ns, mode, version, digest });
    ClientPreface => any::<(u16, u16, u32)>().prop_map(|(oldest, newest, features)| Self { oldest, newest, features });
    ServerPreface => any::<(u16, u16, u16, bool, bool, u32, u32, u32, u32)>().prop_map(
        |(version, oldest, newest, master, login_required, features, worker, window_requests, window_answer_bytes)| Self {
            version, oldest, newest, role: if master { Role::Master } else { Role::Slave }, login_required, features, worker,
            window_requests, window_answer_bytes,
        });
}

/// A stream that reads from one side and writes to the other, a few bytes at a time.
#[derive(Debug, Default)]
struct Pipe {
    input: Cursor<Vec<u8>>,
    output: Vec<u8>,
}

impl std::io::Read for Pipe {
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        let some = bytes.len().min(7);
        self.input.read(&mut bytes[..some])
    }
}

impl std::io::Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.output.write(&bytes[..bytes.len().min(5)])
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn framed(message: &impl Message) -> Vec<u8> {
    framed_as(7, message)
}

fn framed_as(request: u32, message: &impl Message) -> Vec<u8> {
    let mut connection = Connection::new(Pipe::default());
    connection.send(request, message);
    connection.flush().unwrap();
    std::mem::take(&mut connection.stream().output)
}

fn read_one<M: Message>(bytes: Vec<u8>) -> Result<Option<M>, ConnectionError> {
    let mut connection = Connection::new(Pipe {
        input: Cursor::new(bytes),
        output: Vec::new(),
    });
    let Some(header) = connection.receive()? else {
        return Ok(None);
    };
    Ok(Some(connection.decode(&header)?))
}

fn is_whole_or_refused<M: Message + PartialEq + std::fmt::Debug>(
    message: &M,
    flip: proptest::sample::Index,
    cut: proptest::sample::Index,
) -> Result<(), TestCaseError> {
    let bytes = framed(message);
    prop_assert!(bytes.len() <= Header::LENGTH + 64 * 1024);
    let whole = read_one::<M>(bytes.clone()).unwrap();
    prop_assert_eq!(whole.as_ref(), Some(message));

    let cut = cut.index(bytes.len());
    match read_one::<M>(bytes[..cut].to_vec()) {
        Ok(None) => prop_assert_eq!(cut, 0),
        Ok(Some(_)) => prop_assert!(false, "a cut message was believed"),
        Err(error) => prop_assert!(matches!(error, ConnectionError::Closed), "{}", error),
    }

    let mut flipped = bytes;
    let bit = flip.index(flipped.len() * 8);
    flipped[bit / 8] ^= 1 << (bit % 8);
    match read_one::<M>(flipped) {
        Err(ConnectionError::Decode(_) | ConnectionError::Closed) => {}
        other => prop_assert!(false, "a flipped bit gave {:?}", other),
    }
    Ok(())
}

proptest! {
    #[test]
    fn requests_survive_only_whole(message: Request, flip: proptest::sample::Index, cut: proptest::sample::Index) {
        is_whole_or_refused(&message, flip, cut)?;
    }

    #[test]
    fn replies_survive_only_whole(message: Reply, flip: proptest::sample::Index, cut: proptest::sample::Index) {
        is_whole_or_refused(&message, flip, cut)?;
    }

    #[test]
    fn master_requests_survive_only_whole(message: MasterRequest, flip: proptest::sample::Index, cut: proptest::sample::Index) {
        is_whole_or_refused(&message, flip, cut)?;
    }

    #[test]
    fn master_replies_survive_only_whole(message: MasterReply, flip: proptest::sample::Index, cut: proptest::sample::Index) {
        is_whole_or_refused(&message, flip, cut)?;
    }

    #[test]
    fn made_up_payloads_never_panic(kind: u16, payload in vec(any::<u8>(), 0..300)) {
        if let Ok(message) = Request::decode(kind, &payload) {
            prop_assert_eq!(Request::decode(kind, &payload).unwrap(), message);
        }
        Reply::decode(kind, &payload).ok();
        MasterRequest::decode(kind, &payload).ok();
        MasterReply::decode(kind, &payload).ok();
    }

    #[test]
    fn known_kinds_with_made_up_fields_never_panic(
        kind in proptest::sample::select(vec![0x0110_u16, 0x0111, 0x0112, 0x0120, 0x0121, 0x8111, 0x8112, 0x8114, 0x8201, 0x0210]),
        payload in vec(any::<u8>(), 0..300),
    ) {
        Request::decode(kind, &payload).ok();
        Reply::decode(kind, &payload).ok();
        MasterRequest::decode(kind, &payload).ok();
        MasterReply::decode(kind, &payload).ok();
    }

    #[test]
    fn what_is_listed_is_as_long_as_it_says(entry: Entry, folder: Unreadable) {
        let length = |entries, unreadable| {
            let mut payload = Vec::new();
            Reply::Entries { entries, unreadable, more: false }.encode(&mut payload);
            payload.len()
        };
        let empty = length(Vec::new(), Vec::new());
        prop_assert_eq!(length(vec![entry.clone()], Vec::new()) - empty, entry.encoded_length());
        prop_assert_eq!(length(Vec::new(), vec![folder.clone()]) - empty, folder.encoded_length());
    }

    #[test]
    fn optional_fields_of_later_versions_are_skipped(message: Request, tag in 1_u16.., value in vec(any::<u8>(), 0..50)) {
        let mut payload = Vec::new();
        message.encode(&mut payload);
        payload.extend_from_slice(&tag.to_be_bytes());
        payload.extend_from_slice(&u16::try_from(value.len()).unwrap().to_be_bytes());
        payload.extend_from_slice(&value);
        prop_assert_eq!(Request::decode(message.kind(), &payload), Ok(message.clone()));
        payload.push(0);
        prop_assert!(Request::decode(message.kind(), &payload).is_err());
    }

    #[test]
    fn client_prefaces_survive_only_whole(preface: ClientPreface, bit in 0..ClientPreface::LENGTH * 8) {
        let mut bytes = preface.encode();
        prop_assert_eq!(bytes.len(), ClientPreface::LENGTH);
        prop_assert_eq!(ClientPreface::decode(&bytes), Ok(preface));
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(ClientPreface::decode(&bytes).is_err());
    }

    #[test]
    fn server_prefaces_survive_only_whole(preface: ServerPreface, bit in 0..ServerPreface::LENGTH * 8) {
        let mut bytes = preface.encode();
        prop_assert_eq!(bytes.len(), ServerPreface::LENGTH);
        prop_assert_eq!(ServerPreface::decode(&bytes), Ok(preface));
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(ServerPreface::decode(&bytes).is_err());
    }

    #[test]
    fn content_passes_between_messages(
        (content, message) in (vec(any::<u8>(), 0..20_000), any::<Reply>()),
        piece in 1_usize..3000,
        far: bool,
    ) {
        let mut sender = Connection::new(Pipe::default());
        sender.send_keep_alive(1);
        sender.send_data(1, &content);
        sender.send(1, &message);
        sender.flush().unwrap();
        let bytes = std::mem::take(&mut sender.stream().output);

        let mut receiver = Connection::new(Pipe { input: Cursor::new(bytes), output: Vec::new() });
        if far {
            receiver.read_far_ahead();
        }
        let header = receiver.receive_answer().unwrap();
        prop_assert_eq!((header.kind, header.request), (DATA, 1));
        let mut received = Vec::new();
        let mut buffer = vec![0; piece];
        loop {
            match receiver.read_data(&mut buffer).unwrap() {
                0 => break,
                read => received.extend_from_slice(&buffer[..read]),
            }
        }
        prop_assert_eq!(received, content);
        let header = receiver.receive_answer().unwrap();
        prop_assert_eq!(receiver.decode::<Reply>(&header), Ok(message));
        prop_assert!(receiver.receive().unwrap().is_none());
    }
}

#[test]
fn lengths_are_refused_before_anything_is_allocated() {
    for (kind, limit) in [
        (0x0110, MAX_CONTROL_PAYLOAD),
        (DATA, MAX_DATA_PAYLOAD),
        (KEEP_ALIVE, 0),
    ] {
        let bytes = Header {
            length: limit + 1,
            request: 0,
            kind,
        }
        .encode(&[]);
        assert_eq!(
            Header::decode(&bytes),
            Err(DecodeError::FrameTooLong {
                length: limit + 1,
                limit
            })
        );
    }
}

#[test]
fn an_unread_data_frame_is_skipped() {
    let mut sender = Connection::new(Pipe::default());
    sender.send_data(1, &[9; 10_000]);
    sender.send(1, &Reply::Done {});
    sender.flush().unwrap();
    let bytes = std::mem::take(&mut sender.stream().output);
    let mut receiver = Connection::new(Pipe {
        input: Cursor::new(bytes),
        output: Vec::new(),
    });
    assert_eq!(receiver.receive_answer().unwrap().kind, DATA);
    let header = receiver.receive_answer().unwrap();
    assert_eq!(receiver.decode::<Reply>(&header), Ok(Reply::Done {}));
}

#[test]
fn small_contents_are_read_many_at_once() {
    let mut sender = Connection::new(Pipe::default());
    (0..8).for_each(|request| sender.send_data(request, &[7; 4000]));
    sender.flush().unwrap();
    let bytes = std::mem::take(&mut sender.stream().output);
    let all = bytes.len();
    let read_at_first = |far: bool| {
        let mut receiver = Connection::new(Cursor::new(bytes.clone()));
        if far {
            receiver.read_far_ahead();
        }
        receiver.receive().unwrap();
        receiver.buffered() + Header::LENGTH
    };
    assert_eq!((read_at_first(false), read_at_first(true)), (8192, all));
}

#[test]
fn content_that_cannot_be_read_takes_its_announcement_back() {
    let mut sender = Connection::new(Pipe::default());
    let before = Reply::Done {};
    sender.send(1, &before);
    let kept = sender.unsent();
    sender.send(2, &before);
    let failed = sender.send_data_from((2, 5), kept, |content| {
        content.fill(1);
        Err("bad sector")
    });
    assert_eq!((failed, sender.unsent()), (Err("bad sector"), kept));
    let fill = |content: &mut [u8]| {
        content.copy_from_slice(b"hello");
        Ok::<_, ()>(())
    };
    sender.send_data_from((3, 5), kept, fill).unwrap();
    sender
        .send_data_from((4, 0), kept, |_| Ok::<_, ()>(()))
        .unwrap();
    sender.flush().unwrap();
    let [header, content] = [&Header::data(3, 5)[..], b"hello"];
    let expected = [&framed_as(1, &before), header, content].concat();
    assert_eq!(sender.stream().output, expected);
}

#[test]
fn versions_are_negotiated() {
    let speaks = |oldest, newest| {
        ClientPreface {
            oldest,
            newest,
            features: 0,
        }
        .common_version()
    };
    assert_eq!(speaks(1, 1), Some(1));
    assert_eq!(speaks(1, 900), Some(VERSION));
    assert_eq!(speaks(2, 900), None);
    assert_eq!(speaks(0, 0), None);
}

#[test]
fn the_longest_texts_fit_their_frames() {
    let path = RemotePath::parse(&[b"/".as_slice(), &[b'a'; 255]].concat().repeat(15)).unwrap();
    let longest = Request::StoreWhole {
        path,
        modified_ns: i64::MIN,
        mode: 0o777,
        condition: Condition::Matches(Version::new(&[1; 64]).unwrap()),
        digest: Digest([0; 32]),
        deferred: true,
        content: Content::new(vec![0; limits::MAX_INLINE_CONTENT]).unwrap(),
    };
    assert_eq!(read_one(framed(&longest)).unwrap(), Some(longest));
}
