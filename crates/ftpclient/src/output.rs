//! Results on stdout, for people or for scripts, and failures on stderr.

use std::fmt;
use std::io::{self, BufWriter, ErrorKind, IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;

use client::Transferred;
use protocol::RemotePath;
use serde::Serialize;

use crate::direction::Direction;
use crate::failure::Failure;
use crate::human;
use crate::json::{EntryRecord, TransferRecord};
use crate::listed::Rows;
use crate::screen::Screen;

/// Who reads stdout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// A person, or a script that reads names.
    Human,
    /// A script that reads one JSON object a line.
    Json,
}

/// Where everything is shown. Stdout is buffered; whoever runs commands flushes after each.
pub(crate) struct Output {
    stdout: Box<dyn Write + Send>,
    is_terminal: bool,
    is_closed: bool,
    format: Format,
    statistics: bool,
    screen: Arc<Screen>,
}

impl Output {
    /// On this process's stdout; `statistics`: whether a line follows each transfer.
    pub(crate) fn new(format: Format, statistics: bool, screen: Arc<Screen>) -> Self {
        let stdout = io::stdout();
        Self {
            is_terminal: stdout.is_terminal(),
            stdout: Box::new(BufWriter::with_capacity(64 << 10, stdout)),
            is_closed: false,
            format,
            statistics,
            screen,
        }
    }

    pub(crate) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// A line of results, for a person.
    pub(crate) fn line(&mut self, line: &impl fmt::Display) -> Result<(), Failure> {
        self.result(|stdout| writeln!(stdout, "{line}"))
    }

    /// A name behind its columns: as it is for a script, escaped on a terminal.
    pub(crate) fn name(&mut self, columns: &str, name: &[u8]) -> Result<(), Failure> {
        let mut line = columns.as_bytes().to_vec();
        self.end_with_name(&mut line, name);
        self.result(|stdout| stdout.write_all(&line))
    }

    /// A digest and the name of what has it, as b3sum(1) writes them for a script: a name that would break the line, or that holds
    /// a backslash, is escaped, and one more backslash before the line says so.
    pub(crate) fn sum(&mut self, digest: &impl fmt::Display, name: &[u8]) -> Result<(), Failure> {
        let columns = format!("{digest}  ");
        let is_plain = !name.iter().any(|byte| b"\\\n\r".contains(byte));
        if self.is_terminal || is_plain {
            return self.name(&columns, name);
        }
        let mut escaped = Vec::with_capacity(2 * name.len());
        for byte in name {
            match byte {
                b'\\' => escaped.extend(br"\\"),
                b'\n' => escaped.extend(br"\n"),
                b'\r' => escaped.extend(br"\r"),
                other => escaped.push(*other),
            }
        }
        self.name(&format!(r"\{columns}"), &escaped)
    }

    fn end_with_name(&self, line: &mut Vec<u8>, name: &[u8]) {
        if self.is_terminal {
            line.extend_from_slice(cli::name(name).to_string().as_bytes());
        } else {
            line.extend_from_slice(name);
        }
        line.push(b'\n');
    }

    /// A result, for a script.
    pub(crate) fn record(&mut self, record: &impl Serialize) -> Result<(), Failure> {
        let is_terminal = self.is_terminal;
        self.result(|stdout| write_record((stdout, is_terminal), record))
    }

    /// A listing in its order; `long` adds type, size and time.
    pub(crate) fn rows(&mut self, rows: &Rows, long: bool) -> Result<(), Failure> {
        let width = rows.size_width();
        let mut line = Vec::new();
        rows.iter().try_for_each(|listed| {
            if self.is_json() {
                return self.record(&EntryRecord::listed(&listed));
            }
            line.clear();
            if long {
                listed.facts.columns(width, &mut line);
            }
            self.end_with_name(&mut line, listed.name);
            self.result(|stdout| stdout.write_all(&line))
        })
    }

    /// A content as it is, while `write` runs; then whether stdout took it.
    pub(crate) fn content<T>(
        &mut self,
        write: impl FnOnce(&mut dyn Write) -> T,
    ) -> (T, Result<(), Failure>) {
        let mut watched = Watched {
            stdout: &mut *self.stdout,
            error: None,
        };
        let value = if self.is_terminal {
            self.screen.without_bars(|| write(&mut watched))
        } else {
            write(&mut watched)
        };
        let error = watched.error;
        let taken = self.result(|_| error.map_or(Ok(()), Err));
        (value, taken)
    }

    /// A transfer that ended well. The transfer is the result, not the line: a closed pipe ends nothing.
    pub(crate) fn transferred(
        &mut self,
        direction: Direction,
        name: &[u8],
        transferred: &Transferred,
    ) -> Result<(), Failure> {
        match self.format {
            Format::Json => {
                let record = TransferRecord::done(direction, transferred);
                self.remark_record(&record)
            }
            Format::Human if self.statistics => {
                let line = human::statistics(direction, name, transferred);
                self.remark(|stdout| writeln!(stdout, "{line}"))
            }
            Format::Human => Ok(()),
        }
    }

    /// A transfer that failed; told on stderr too.
    pub(crate) fn failed_transfer(
        &mut self,
        direction: Direction,
        names: (Option<&RemotePath>, Option<&Path>),
        failure: &Failure,
    ) -> Result<(), Failure> {
        self.failure(failure);
        if !self.is_json() {
            return Ok(());
        }
        let record = TransferRecord::failed(direction, names.0, names.1, failure);
        self.remark_record(&record)
    }

    /// One change of many, or what they came to: as an object or as a line.
    pub(crate) fn change(&mut self, record: &impl Serialize, line: &str) -> Result<(), Failure> {
        match self.format {
            Format::Json => self.remark_record(record),
            Format::Human => self.total(line),
        }
    }

    /// A line behind transfers, for a person.
    pub(crate) fn total(&mut self, line: &str) -> Result<(), Failure> {
        if self.is_json() || !self.statistics {
            return Ok(());
        }
        self.remark(|stdout| writeln!(stdout, "{line}"))
    }

    /// Tells a failure on stderr, unless nobody has to know.
    pub(crate) fn failure(&mut self, failure: &Failure) {
        if failure.is_worth_a_line() {
            // Stdout and stderr are often the same terminal or file: what happened first stands first. Whether stdout
            // takes it shows at the next flush.
            let flushed = self.stdout.flush();
            self.is_closed |= flushed.is_err_and(|error| is_closed_pipe(&error));
            self.screen.say(failure);
        }
    }

    /// Hands over what is buffered. A closed pipe is found out by the next result.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        self.remark(|stdout| stdout.flush())
    }

    /// Takes the bar away.
    pub(crate) fn clear_bar(&self) {
        self.screen.clear();
    }

    /// Writes what the command is for: nobody reads on, so nothing goes on.
    fn result(
        &mut self,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), Failure> {
        if self.is_closed {
            return Err(io::Error::from(ErrorKind::BrokenPipe).into());
        }
        let written = write(&mut *self.stdout);
        self.is_closed |= written.as_ref().is_err_and(is_closed_pipe);
        Ok(written?)
    }

    fn remark_record(&mut self, record: &impl Serialize) -> Result<(), Failure> {
        let is_terminal = self.is_terminal;
        self.remark(|stdout| write_record((stdout, is_terminal), record))
    }

    /// Writes what only accompanies a command's work.
    fn remark(
        &mut self,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), Failure> {
        if self.is_closed {
            return Ok(());
        }
        let stdout = &mut *self.stdout;
        let written = if self.is_terminal {
            self.screen
                .suspend(|| write(stdout).and_then(|()| stdout.flush()))
        } else {
            write(stdout)
        };
        match written {
            Err(error) if is_closed_pipe(&error) => {
                self.is_closed = true;
                Ok(())
            }
            other => Ok(other?),
        }
    }
}

/// Remembers what stdout said, because the client library only says that a write failed.
struct Watched<'a> {
    stdout: &'a mut dyn Write,
    error: Option<io::Error>,
}

impl Watched<'_> {
    fn note<T>(&mut self, result: io::Result<T>) -> io::Result<T> {
        result.map_err(|error| {
            let kind = error.kind();
            self.error = Some(error);
            kind.into()
        })
    }
}

impl Write for Watched<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.stdout.write(bytes);
        self.note(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.stdout.flush();
        self.note(flushed)
    }
}

/// An object on its line. On a terminal, what would play with the screen is written as `\uXXXX`, which means the same.
fn write_record(
    (stdout, is_terminal): (&mut dyn Write, bool),
    record: &impl Serialize,
) -> io::Result<()> {
    if is_terminal {
        stdout.write_all(cli::json_line(record)?.as_bytes())?;
    } else {
        serde_json::to_writer(&mut *stdout, record)?;
    }
    stdout.write_all(b"\n")
}

fn is_closed_pipe(error: &io::Error) -> bool {
    error.kind() == ErrorKind::BrokenPipe
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use protocol::EntryKind;

    use super::*;
    use crate::listed::Facts;

    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(ErrorKind::BrokenPipe.into())
        }
    }

    fn output(stdout: impl Write + Send + 'static, is_terminal: bool) -> Output {
        Output {
            stdout: Box::new(stdout),
            is_terminal,
            is_closed: false,
            format: Format::Human,
            statistics: true,
            screen: Arc::new(Screen::new(false, false)),
        }
    }

    fn listing(is_terminal: bool, long: bool) -> Vec<u8> {
        let paper = Paper::default();
        let facts = |size| Facts {
            kind: EntryKind::File,
            size,
            modified_ns: 0,
        };
        let mut rows = Rows::default();
        rows.add(&[b"caf\xe9\n"], facts(5));
        rows.add(&[b"b"], facts(1000));
        output(paper.clone(), is_terminal)
            .rows(&rows, long)
            .unwrap();
        paper.0.lock().unwrap().clone()
    }

    #[test]
    fn names_are_raw_for_scripts_and_escaped_on_terminals() {
        assert_eq!(listing(false, false), b"caf\xe9\n\nb\n");
        assert_eq!(listing(true, false), b"caf\\xe9\\n\nb\n");
        assert_eq!(
            listing(true, true),
            b"file     5 1970-01-01T00:00:00Z caf\\xe9\\n\nfile  1000 1970-01-01T00:00:00Z b\n"
        );
    }

    #[test]
    fn a_sum_is_one_line_for_scripts_whatever_the_name() {
        let line = |name: &[u8], is_terminal| {
            let paper = Paper::default();
            output(paper.clone(), is_terminal).sum(&"5e", name).unwrap();
            String::from_utf8(paper.0.lock().unwrap().clone()).unwrap()
        };
        assert_eq!(line(b"a b", false), "5e  a b\n");
        assert_eq!(line(b"a\nb", false), "\\5e  a\\nb\n");
        assert_eq!(line(b"a\\nb", false), "\\5e  a\\\\nb\n");
        assert_eq!(line(b"a\r", false), "\\5e  a\\r\n");
        assert_eq!(line(b"a\nb", true), "5e  a\\nb\n");
    }

    #[test]
    fn a_closed_pipe_ends_results_and_not_transfers() {
        let mut output = output(Closed, false);
        output.total("total").unwrap();
        output.flush().unwrap();
        let failure = output.line(&"a").unwrap_err();
        assert!(failure.is_closed_pipe());
    }
}
