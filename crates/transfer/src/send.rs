//! Content from a source to a peer, in data frames.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use protocol::frame::Header;
use protocol::limits::MAX_DATA_PAYLOAD;
use rustix::io::Errno;

use crate::wire::retrying;
use crate::{Source, TransferError, Wire};

/// What a stream is copied through, and what stands in for bytes that a source no longer has.
const COPY_BUFFER: usize = 128 * 1024;

/// Which bytes of a source go to the peer, and for which request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// First byte.
    pub offset: u64,
    /// Number of bytes.
    pub length: u64,
    /// Request id of the data frames.
    pub request: u32,
}

/// How a range that could be sent ended.
#[derive(Debug)]
pub enum Sent {
    /// Every byte was the source's.
    Whole,
    /// The source ended early: the last frame was filled up with zeros, and nothing after it was sent.
    Short,
    /// The source could not be read: the last frame was filled up with zeros, and nothing after it was sent.
    Unreadable(io::Error),
}

/// Sends a range in frames of at most [`MAX_DATA_PAYLOAD`] bytes past any buffer, so whatever was collected must have been
/// flushed. `before_frame` is told how long a frame could be, and says how long it may be (at least 1) once it may be sent; it
/// may wait (a rate limit) or refuse (an interrupt).
///
/// # Errors
/// [`TransferError::Peer`] when the wire fails or takes nothing within its timeout. A source that fails is no error here:
/// see [`Sent`]; the caller then says so in the frame after.
pub fn send_range<W: Wire>(
    wire: &mut W,
    source: &mut Source,
    range: Range,
    mut before_frame: impl FnMut(u32) -> io::Result<u32>,
) -> Result<Sent, TransferError> {
    let mut rest = range;
    while rest.length > 0 {
        let length = u32::try_from(rest.length)
            .unwrap_or(u32::MAX)
            .min(MAX_DATA_PAYLOAD);
        let allowed = before_frame(length).map_err(TransferError::peer)?;
        let length = u64::from(allowed.clamp(1, length));
        let frame = send_frame(wire, source, Range { length, ..rest })?;
        if !matches!(frame, Sent::Whole) {
            return Ok(frame);
        }
        rest.offset += length;
        rest.length -= length;
    }
    Ok(Sent::Whole)
}

/// Sends one data frame, of at most [`MAX_DATA_PAYLOAD`] bytes; otherwise as [`send_range`].
///
/// # Errors
/// As [`send_range`].
pub fn send_frame<W: Wire>(
    wire: &mut W,
    source: &mut Source,
    frame: Range,
) -> Result<Sent, TransferError> {
    let length = u32::try_from(frame.length)
        .unwrap_or(u32::MAX)
        .min(MAX_DATA_PAYLOAD);
    send_header(wire, &Header::data(frame.request, length))?;
    match source {
        Source::File { file, .. } => send_file(wire, file, frame.offset, u64::from(length)),
        Source::Stream(stream) => copy(wire, stream, u64::from(length)),
    }
}

/// Sends a frame's header so that it travels in one segment with the content behind it.
fn send_header<W: Wire>(wire: &mut W, mut header: &[u8]) -> Result<(), TransferError> {
    while !header.is_empty() {
        let sent = retrying(|| wire.write_more(header)).map_err(TransferError::peer)?;
        header = header.get(sent..).unwrap_or_default();
    }
    Ok(())
}

/// One frame's content by sendfile(2), which moves nothing where the file has become shorter than was promised.
fn send_file<W: Wire>(
    wire: &mut W,
    file: &File,
    offset: u64,
    length: u64,
) -> Result<Sent, TransferError> {
    let mut position = offset;
    let end = offset + length;
    while position < end {
        let wanted = usize::try_from(end - position).unwrap_or(usize::MAX);
        match retrying(|| wire.send_file(file, position, wanted)) {
            Ok(0) => {
                pad(wire, end - position)?;
                return Ok(Sent::Short);
            }
            Ok(sent) => position += u64::try_from(sent).unwrap_or(0),
            Err(error) if may_be_the_files(&error) => {
                // An ordinary read tells whether it is the file that fails, or only `sendfile` on this file system.
                let mut rest = Positioned { file, position };
                return copy(wire, &mut rest, end - position);
            }
            Err(error) => return Err(TransferError::peer(error)),
        }
    }
    Ok(Sent::Whole)
}

fn may_be_the_files(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Unsupported
        || matches!(
            Errno::from_io_error(error),
            Some(Errno::IO | Errno::INVAL | Errno::OVERFLOW | Errno::STALE)
        )
}

/// One frame's content through a buffer: for streams, and where there is no `sendfile`.
fn copy<W: Wire>(wire: &mut W, source: &mut dyn Read, length: u64) -> Result<Sent, TransferError> {
    let mut buffer = vec![0; COPY_BUFFER.min(usize::try_from(length).unwrap_or(COPY_BUFFER))];
    let mut left = length;
    while left > 0 {
        let wanted = buffer
            .len()
            .min(usize::try_from(left).unwrap_or(usize::MAX));
        let read = match source.read(buffer.get_mut(..wanted).unwrap_or_default()) {
            Ok(0) => {
                pad(wire, left)?;
                return Ok(Sent::Short);
            }
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                pad(wire, left)?;
                return Ok(Sent::Unreadable(error));
            }
        };
        wire.write_all(buffer.get(..read).unwrap_or_default())
            .map_err(TransferError::peer)?;
        left -= u64::try_from(read).unwrap_or(left);
    }
    Ok(Sent::Whole)
}

/// Keeps the promise of a frame's length, so that the error in the next frame can be read.
fn pad<W: Wire>(wire: &mut W, length: u64) -> Result<(), TransferError> {
    io::copy(&mut io::repeat(0).take(length), wire).map_err(TransferError::peer)?;
    Ok(())
}

struct Positioned<'a> {
    file: &'a File,
    position: u64,
}

impl Read for Positioned<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(bytes, self.position)?;
        self.position += u64::try_from(read).unwrap_or(0);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};

    use protocol::{Connection, Reply, frame::DATA};

    use super::*;

    fn pair() -> (TcpStream, Connection<TcpStream>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let sender = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (sender, Connection::new(listener.accept().unwrap().0))
    }

    fn received(mut connection: Connection<TcpStream>) -> (Vec<u8>, Vec<u32>) {
        let (mut content, mut frames) = (Vec::new(), Vec::new());
        while let Some(header) = connection.receive().unwrap() {
            if header.kind != DATA {
                connection.decode::<Reply>(&header).unwrap();
                continue;
            }
            assert_eq!(header.request, 9);
            frames.push(header.length);
            let mut bytes = vec![0; connection.data_left()];
            let mut filled = 0;
            while filled < bytes.len() {
                filled += connection.read_data(&mut bytes[filled..]).unwrap();
            }
            content.extend(bytes);
        }
        (content, frames)
    }

    fn sent(mut source: Source, offset: u64, length: u64) -> (Sent, Vec<u8>, Vec<u32>) {
        let (mut sender, receiver) = pair();
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| received(receiver));
            let result = send_range(
                &mut sender,
                &mut source,
                Range {
                    offset,
                    length,
                    request: 9,
                },
                Ok,
            )
            .unwrap();
            drop(sender);
            let (content, frames) = reader.join().unwrap();
            (result, content, frames)
        })
    }

    fn file_of(content: &[u8]) -> Source {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        Source::File {
            file,
            length: content.len() as u64,
        }
    }

    fn some_content(length: u32) -> Vec<u8> {
        (0..length)
            .map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0])
            .collect()
    }

    #[test]
    fn a_range_of_a_file_travels_in_bounded_frames() {
        let content = some_content(2_500_000);
        let (result, received, frames) = sent(file_of(&content), 100, 2_400_000);
        assert!(matches!(result, Sent::Whole));
        assert_eq!(
            frames,
            [
                MAX_DATA_PAYLOAD,
                MAX_DATA_PAYLOAD,
                2_400_000 - 2 * MAX_DATA_PAYLOAD
            ]
        );
        assert!(received == content[100..2_400_100]);
    }

    #[test]
    fn a_stream_travels_like_a_file() {
        let content = some_content(1_500_000);
        let (result, received, _) = sent(
            Source::Stream(Box::new(io::Cursor::new(content.clone()))),
            0,
            1_500_000,
        );
        assert!(matches!(result, Sent::Whole));
        assert!(received == content);
    }

    #[test]
    fn a_file_that_shrank_is_padded_to_the_frame_and_no_further() {
        let content = some_content(1_100_000);
        let (result, received, frames) = sent(file_of(&content), 0, 5_000_000);
        assert!(matches!(result, Sent::Short));
        assert_eq!(frames.len(), 2);
        assert!(received[..1_100_000] == content);
        assert!(received[1_100_000..].iter().all(|&byte| byte == 0));
    }

    #[test]
    fn a_stream_that_fails_is_padded_too() {
        struct Failing;
        impl Read for Failing {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("bad sector"))
            }
        }
        let (result, received, _) = sent(Source::Stream(Box::new(Failing)), 0, 1000);
        assert!(matches!(result, Sent::Unreadable(_)));
        assert_eq!(received, vec![0; 1000]);
    }

    #[test]
    fn a_peer_that_went_away_is_the_peers_fault() {
        let (mut sender, receiver) = pair();
        drop(receiver);
        let mut source = file_of(&some_content(3_000_000));
        let range = Range {
            offset: 0,
            length: 3_000_000,
            request: 9,
        };
        assert!(matches!(
            send_range(&mut sender, &mut source, range, Ok),
            Err(TransferError::Peer(_))
        ));
    }
}
