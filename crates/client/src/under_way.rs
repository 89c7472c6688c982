//! Requests under way over one session, the oldest first, and how much they are in all.

use std::collections::VecDeque;

use protocol::Request;

use crate::session::Session;

/// Requests, each with what it was sent for.
#[derive(Debug)]
pub(crate) struct UnderWay<T> {
    asked: VecDeque<Asked<T>>,
    bytes: usize,
    content: u64,
}

/// One of them.
#[derive(Debug)]
pub(crate) struct Asked<T> {
    pub(crate) request: Collected,
    pub(crate) what: T,
    /// Bytes of content that the answer brings.
    content: u64,
}

/// A request that was collected.
#[derive(Debug)]
pub(crate) struct Collected {
    pub(crate) number: u32,
    bytes: usize,
}

impl Collected {
    pub(crate) fn new(session: &mut Session, request: &Request) -> Self {
        let before = session.unsent();
        let number = session.request(request);
        let bytes = session.unsent() - before;
        Self { number, bytes }
    }
}

impl<T> UnderWay<T> {
    pub(crate) fn new() -> Self {
        Self {
            asked: VecDeque::new(),
            bytes: 0,
            content: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.asked.len()
    }

    /// Bytes of content that are to come.
    pub(crate) fn content(&self) -> u64 {
        self.content
    }

    /// Whether another one may be sent.
    pub(crate) fn has_room(&self, session: &Session) -> bool {
        session.has_room(self.len(), self.bytes)
    }

    /// Whether so many again may be sent: who waits for that sends many at a time.
    pub(crate) fn is_half_free(&self, session: &Session) -> bool {
        session.has_room(self.len() * 2, self.bytes * 2)
    }

    /// Notes what was just asked for, whose answer brings so many bytes of content.
    pub(crate) fn push(&mut self, request: Collected, what: T, content: u64) {
        let asked = Asked {
            request,
            what,
            content,
        };
        self.count(&asked);
        self.asked.push_back(asked);
    }

    /// Takes the one that is answered next.
    pub(crate) fn take_oldest(&mut self) -> Option<Asked<T>> {
        let asked = self.asked.pop_front()?;
        self.bytes -= asked.request.bytes;
        self.content -= asked.content;
        Some(asked)
    }

    /// It was not answered after all.
    pub(crate) fn put_back(&mut self, asked: Asked<T>) {
        self.count(&asked);
        self.asked.push_front(asked);
    }

    /// Nothing is under way any more; gives what it was for, the oldest first.
    pub(crate) fn drain(&mut self) -> impl DoubleEndedIterator<Item = T> {
        (self.bytes, self.content) = (0, 0);
        self.asked.drain(..).map(|asked| asked.what)
    }

    fn count(&mut self, asked: &Asked<T>) {
        self.bytes += asked.request.bytes;
        self.content += asked.content;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(under_way: &UnderWay<&str>) -> (usize, usize, u64) {
        (under_way.len(), under_way.bytes, under_way.content())
    }

    #[test]
    fn the_sums_are_those_of_what_is_under_way() {
        let mut under_way = UnderWay::new();
        for (number, what) in (1..).zip(["first", "second", "third"]) {
            let request = Collected { number, bytes: 10 };
            under_way.push(request, what, u64::from(number) * 100);
        }
        assert_eq!(sums(&under_way), (3, 30, 600));
        let oldest = under_way.take_oldest().unwrap();
        assert_eq!((oldest.request.number, oldest.what), (1, "first"));
        assert_eq!(sums(&under_way), (2, 20, 500));
        under_way.put_back(oldest);
        assert_eq!(sums(&under_way), (3, 30, 600));
        let all: Vec<_> = under_way.drain().collect();
        assert_eq!(all, ["first", "second", "third"]);
        assert_eq!(sums(&under_way), (0, 0, 0));
        assert!(under_way.take_oldest().is_none());
    }
}
