//! What slaves, clients and masters do with everything that the other side may send.

use std::fmt::Debug;

use protocol::frame::{DATA, Header, KEEP_ALIVE};
use protocol::limits::{MAX_CONTROL_PAYLOAD, MAX_GREETING};
use protocol::{
    ClientPreface, Connection, ConnectionError, MasterReply, MasterRequest, Message, Reply,
    Request, ServerPreface,
};

use crate::Target;
use crate::stream::{Form, Stream};

/// A connection's buffer, and a payload, for which a header alone reserves room: it is bounded, and soon there.
const FIXED: usize = 256 * 1024;

/// What a slave does with everything a client may send.
pub static REQUEST: Target = Target {
    name: "request",
    fixed: FIXED,
    for_each_byte: crate::USUAL,
    prepare: crate::nothing,
    work: |input| read_both_ways(input, read_client_preface, check::<Request>),
};

/// What a client does with everything a server may send.
pub static REPLY: Target = Target {
    name: "reply",
    fixed: FIXED,
    for_each_byte: crate::USUAL,
    prepare: crate::nothing,
    work: |input| read_both_ways(input, read_server_preface, check::<Reply>),
};

/// What masters, and those who ask them, do with everything the other may send.
pub static MASTER: Target = Target {
    name: "master",
    fixed: FIXED,
    for_each_byte: crate::USUAL,
    prepare: crate::nothing,
    work: |input| {
        let decode = |connection: &Connection<Stream<'_>>, header: &Header| {
            check::<MasterRequest>(connection, header);
            check::<MasterReply>(connection, header);
        };
        read_both_ways(input, |_| Ok(()), decode);
    },
};

type Ended = Result<(), ConnectionError>;

/// Reads the stream that an input stands for, and once more in pieces where it names a size: it must come out the same.
fn read_both_ways(
    input: &[u8],
    begin: impl Fn(&mut Connection<Stream<'_>>) -> Ended,
    decode: impl Fn(&Connection<Stream<'_>>, &Header),
) {
    let Some((form, rest)) = Form::of(input) else {
        return;
    };
    let bytes = form.bytes(rest);
    let read = |piece| {
        let mut connection = form.connection(&bytes, piece);
        let mut seen = Seen::default();
        let begun = match form.is_raw() {
            true => begin(&mut connection),
            false => Ok(()),
        };
        let ended = begun.and_then(|()| read_all(&mut connection, &mut seen, &decode));
        seen.ended = ended.err().map(|error| error.to_string());
        seen
    };
    let whole = read(None);
    if let Some(piece) = form.piece() {
        assert_eq!(read(Some(piece)), whole, "in pieces of {piece} bytes");
    }
}

/// What came out of a stream.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    frames: usize,
    content: usize,
    ended: Option<String>,
}

fn read_client_preface(connection: &mut Connection<Stream<'_>>) -> Ended {
    let mut bytes = [0; ClientPreface::LENGTH];
    connection.read_exact(&mut bytes)?;
    let preface = ClientPreface::decode(&bytes)?;
    assert_eq!(preface.encode(), bytes);
    if let Some(version) = preface.common_version() {
        assert!((preface.oldest..=preface.newest).contains(&version));
    }
    Ok(())
}

fn read_server_preface(connection: &mut Connection<Stream<'_>>) -> Ended {
    let line = connection.read_line(MAX_GREETING)?;
    assert!(line.len() <= MAX_GREETING && line.ends_with(b"\n"));
    let mut bytes = [0; ServerPreface::LENGTH];
    connection.read_exact(&mut bytes)?;
    assert_eq!(ServerPreface::decode(&bytes)?.encode(), bytes);
    Ok(())
}

/// Reads frames to the end as each end of a connection does; `decode` gets every control frame.
fn read_all(
    connection: &mut Connection<Stream<'_>>,
    seen: &mut Seen,
    decode: impl Fn(&Connection<Stream<'_>>, &Header),
) -> Ended {
    while let Some(header) = connection.receive()? {
        seen.frames += 1;
        match header.kind {
            DATA => seen.content += read_content(connection, &header)?,
            KEEP_ALIVE => {}
            _ => decode(connection, &header),
        }
    }
    Ok(())
}

/// Some content is read in pieces, some is moved elsewhere, some is left for the next call to skip.
fn read_content(
    connection: &mut Connection<Stream<'_>>,
    header: &Header,
) -> Result<usize, ConnectionError> {
    let mut buffer = [0; 500];
    let mut length = 0;
    let mut way = header.length % 3;
    while connection.data_left() > 0 && way < 2 {
        assert!(connection.buffered_data() <= connection.data_left());
        let passed = match way {
            0 => connection.read_data(&mut buffer)?,
            _ => connection.pull_data(700, |stream, most| Ok(stream.pull(most)))?,
        };
        // What was buffered cannot be moved elsewhere.
        way = if passed == 0 { 0 } else { way };
        length += passed;
    }
    Ok(length)
}

/// Decodes the frame at hand; whatever is a message must survive being encoded again.
fn check<M: Message + PartialEq + Debug>(connection: &Connection<Stream<'_>>, header: &Header) {
    let Ok(message) = connection.decode::<M>(header) else {
        return;
    };
    assert_eq!(message.kind(), header.kind);
    let mut payload = Vec::new();
    message.encode(&mut payload);
    // Optional fields of later versions are dropped, nothing is added.
    assert!(payload.len() <= usize::try_from(header.length).unwrap_or(0));
    assert!(u32::try_from(payload.len()).is_ok_and(|length| length <= MAX_CONTROL_PAYLOAD));
    assert_eq!(M::decode(header.kind, &payload).as_ref(), Ok(&message));
}
