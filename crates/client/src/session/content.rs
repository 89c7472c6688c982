//! Content that passes through a session, either way.

use std::fs::File;
use std::io;

use transfer::{Range, Receiver, Sent, Source};

use super::Session;
use crate::context::Context;
use crate::fault::{Attempt, Fault};

impl Session {
    /// Reads content of the data frame at hand; 0 at its end.
    pub(crate) fn read_data(&mut self, bytes: &mut [u8]) -> Attempt<usize> {
        Ok(self.connection.read_data(bytes)?)
    }

    /// Reads content of the data frame at hand until `bytes` are full or it ends; how many there were.
    pub(crate) fn fill_data(&mut self, bytes: &mut [u8]) -> Attempt<usize> {
        let mut filled = 0;
        while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.read_data(rest)? {
                0 => break,
                read => filled += read,
            }
        }
        Ok(filled)
    }

    /// Reads the rest of the data frame at hand, behind what `content` holds, no faster than the limit allows.
    pub(crate) fn read_frame(&mut self, context: &Context, content: &mut Vec<u8>) -> Attempt<()> {
        while self.data_left() > 0 {
            let filled = content.len();
            content.resize(filled + context.piece(self.data_left()), 0);
            let read = self.read_data(content.get_mut(filled..).unwrap_or_default())?;
            content.truncate(filled + read);
            context.spend(read)?;
        }
        Ok(())
    }

    /// From now on many small contents are asked for at once.
    pub(crate) fn expect_many(&mut self) {
        self.connection.read_far_ahead();
    }

    /// Takes content of the data frame at hand into a file, `most` bytes or fewer; 0 at the frame's end.
    pub(crate) fn take_content(
        &mut self,
        receiver: &mut Receiver,
        file: &File,
        most: usize,
    ) -> Attempt<usize> {
        Ok(receiver.take(&mut self.connection, file, most)?)
    }

    /// Sends a data frame straight from a file.
    pub(crate) fn send_frame(&mut self, source: &mut Source, frame: Range) -> Attempt<Sent> {
        self.flush()?;
        let wire = self.connection.stream();
        Ok(transfer::send_frame(wire, source, frame)?)
    }

    /// Bytes of the data frame at hand that are still to be read.
    pub(crate) fn data_left(&self) -> usize {
        self.connection.data_left()
    }

    /// Refuses the data frame at hand where it has more than the `left` bytes that were announced and have not come.
    pub(crate) fn check_data_left(&self, left: u64) -> Attempt<()> {
        match u64::try_from(self.data_left()) {
            Ok(coming) if coming <= left => Ok(()),
            _ => Err(Fault::nonsense("more content than was announced")),
        }
    }

    /// Sends a data frame of the request `number`.
    pub(crate) fn send_data(&mut self, number: u32, content: &[u8]) -> Attempt<()> {
        let length = u32::try_from(content.len())
            .map_err(|_| Fault::nonsense("a data frame larger than any may be"))?;
        self.connection.send_data_header(number, length);
        self.flush()?;
        io::Write::write_all(self.connection.stream(), content)
            .map_err(|error| Fault::from_socket(&error))
    }
}
