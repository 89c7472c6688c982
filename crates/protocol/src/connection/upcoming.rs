//! What has arrived behind the frame that is being answered.

use std::iter;

use crate::Message;
use crate::frame::{DATA, Header};

use super::Connection;

impl<S> Connection<S> {
    /// The messages that will be received next, as far as they have arrived whole: up to the first frame that is none of
    /// these, or is not as it should be. Nothing is taken: each is received, and checked, in its turn.
    pub fn upcoming<M: Message>(&self) -> impl Iterator<Item = M> {
        let start = self.start + self.data_left;
        let mut rest = self.input.get(start..self.end).unwrap_or_default();
        iter::from_fn(move || {
            let (head, behind) = rest.split_first_chunk()?;
            let header = Header::decode(head).ok()?;
            let length = usize::try_from(header.length).ok()?;
            let (payload, behind) = behind.split_at_checked(length)?;
            header.verify(head, payload).ok()?;
            rest = behind;
            (header.kind != DATA).then(|| M::decode(header.kind, payload).ok())?
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::{RemotePath, Request};

    fn stat(path: &str) -> Request {
        Request::Stat {
            path: RemotePath::try_from(path).unwrap(),
            follow: false,
        }
    }

    /// A connection over which `bytes` have come, of which the first frame has been received.
    fn arrived(bytes: Vec<u8>) -> Connection<Cursor<Vec<u8>>> {
        let mut connection = Connection::new(Cursor::new(bytes));
        connection.receive().unwrap().unwrap();
        connection
    }

    fn frames(paths: &[&str]) -> Vec<u8> {
        let mut sender = Connection::new(Cursor::new(Vec::new()));
        for path in paths {
            sender.send(1, &stat(path));
        }
        sender.flush().unwrap();
        sender.into_stream().into_inner()
    }

    fn upcoming(bytes: Vec<u8>) -> Vec<Request> {
        arrived(bytes).upcoming().collect()
    }

    #[test]
    fn whole_messages_are_seen_and_stay() {
        let mut connection = arrived(frames(&["/a", "/b", "/c"]));
        for _ in 0..2 {
            let seen: Vec<Request> = connection.upcoming().collect();
            assert_eq!(seen, [stat("/b"), stat("/c")]);
        }
        let header = connection.receive().unwrap().unwrap();
        assert_eq!(connection.decode::<Request>(&header), Ok(stat("/b")));
        assert_eq!(connection.upcoming::<Request>().count(), 1);
    }

    #[test]
    fn what_has_come_in_part_is_not_seen() {
        let whole = frames(&["/a", "/b", "/c"]);
        for cut in 1..whole.len() / 3 {
            let bytes = whole.iter().copied().take(whole.len() - cut).collect();
            assert_eq!(upcoming(bytes), [stat("/b")]);
        }
    }

    #[test]
    fn nothing_is_seen_behind_a_frame_that_is_no_such_message() {
        let mut content = frames(&["/a", "/b"]);
        content.extend_from_slice(&Header::data(2, 1));
        content.push(b'x');
        content.extend(frames(&["/c"]));
        assert_eq!(upcoming(content), [stat("/b")]);
        let mut damaged = frames(&["/a", "/b", "/c", "/d"]);
        let third = damaged.len() / 4 * 2;
        damaged[third + Header::LENGTH] ^= 1;
        assert_eq!(upcoming(damaged), [stat("/b")]);
    }

    #[test]
    fn content_that_is_not_read_yet_is_passed_over() {
        let mut bytes = Header::data(1, 5).to_vec();
        bytes.extend_from_slice(b"bytes");
        bytes.extend(frames(&["/b"]));
        assert_eq!(upcoming(bytes), [stat("/b")]);
    }
}
