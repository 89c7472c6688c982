//! What stands before the first frame: greeting and prefaces.

use std::io::{Read, Write};

use super::Connection;
use crate::{ConnectionError, DecodeError};

impl<S: Read + Write> Connection<S> {
    /// Reads a line that stands outside any frame, its LF included: the greeting.
    ///
    /// # Errors
    /// [`DecodeError::Magic`] for a line longer than `limit` bytes; [`ConnectionError::Closed`], [`ConnectionError::Io`].
    pub fn read_line(&mut self, limit: usize) -> Result<Vec<u8>, ConnectionError> {
        let mut line = Vec::new();
        while line.last() != Some(&b'\n') {
            if line.len() >= limit {
                return Err(DecodeError::Magic.into());
            }
            let mut byte = [0];
            self.read_exact(&mut byte)?;
            line.extend_from_slice(&byte);
        }
        Ok(line)
    }

    /// Appends bytes that stand outside any frame to what the next [`Self::flush`] sends: greeting and preface.
    pub fn send_raw(&mut self, bytes: &[u8]) {
        self.output.extend_from_slice(bytes);
    }
}
