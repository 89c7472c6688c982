//! Content that was received and is not in the file yet.

/// What one data frame brought, or a part of it.
#[derive(Debug)]
pub(crate) struct Unwritten {
    /// Where in the file it goes.
    start: u64,
    /// Filled with zeros once, and then used again and again.
    room: Vec<u8>,
    length: usize,
}

impl Unwritten {
    /// Nothing yet of what goes to `start`, to be held in `room`.
    pub(crate) fn new(start: u64, room: Vec<u8>) -> Self {
        Self {
            start,
            room,
            length: 0,
        }
    }

    pub(crate) fn start(&self) -> u64 {
        self.start
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.length == 0
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.room.get(..self.length).unwrap_or_default()
    }

    /// A place for the next `wanted` bytes, which count once they are [added](Self::add).
    pub(crate) fn room_for(&mut self, wanted: usize) -> &mut [u8] {
        let end = self.length.saturating_add(wanted);
        if self.room.len() < end {
            self.room.resize(end, 0);
        }
        self.room.get_mut(self.length..end).unwrap_or_default()
    }

    pub(crate) fn add(&mut self, filled: usize) {
        self.length = self.length.saturating_add(filled).min(self.room.len());
    }

    /// Forgets what would go behind `position`.
    pub(crate) fn cut(&mut self, position: u64) {
        let kept = position.saturating_sub(self.start);
        self.length = self.length.min(usize::try_from(kept).unwrap_or(usize::MAX));
        self.start = self.start.min(position);
    }

    /// Where in the file it ends.
    pub(crate) fn end(&self) -> u64 {
        let length = u64::try_from(self.length).unwrap_or(u64::MAX);
        self.start.saturating_add(length)
    }

    pub(crate) fn into_room(self) -> Vec<u8> {
        self.room
    }
}
