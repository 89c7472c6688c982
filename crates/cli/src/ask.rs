//! What is asked at the terminal: a line, or a password, of which nothing is shown. A password may be a line of a file or pipe
//! too; it is never a word of a command line, which everybody on the machine can read.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;

use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr,
};

/// Longest password, bytes.
const LONGEST: usize = 1024;

/// Longest line that a terminal takes, bytes.
const LONGEST_LINE: usize = 4096;

/// What Ctrl-C sends.
const INTERRUPT: u8 = 3;

/// Asks for a line at the terminal of this program, as it is, and gives what was typed. A terminal that cannot be opened by its name
/// is asked where it is stdin, and the question goes to stderr: never to stdout, which may be a file.
///
/// # Errors
/// There is no terminal; `Interrupted` after Ctrl-C, `UnexpectedEof` after Ctrl-D.
pub fn ask_line(prompt: &str) -> io::Result<Vec<u8>> {
    let limit = ("a line", LONGEST_LINE);
    match open_terminal() {
        Ok(terminal) => ask((&terminal, &terminal), prompt, Shown::All, limit),
        Err(_) => {
            let terminal = File::from(io::stdin().as_fd().try_clone_to_owned()?);
            ask((&terminal, io::stderr()), prompt, Shown::All, limit)
        }
    }
}

/// Asks for a password at the terminal of this program, and gives what was typed. Nothing of it is shown; the terminal is
/// as before afterwards, behind Ctrl-C too.
///
/// # Errors
/// There is no terminal; `Interrupted` after Ctrl-C, `UnexpectedEof` after Ctrl-D, `InvalidInput` for more than 1024 bytes.
pub fn ask_password(prompt: &str) -> io::Result<Vec<u8>> {
    let terminal = open_terminal()?;
    let prompt = crate::text(prompt).to_string();
    let limit = ("a password", LONGEST);
    ask((&terminal, &terminal), &prompt, Shown::Nothing, limit)
}

fn open_terminal() -> io::Result<File> {
    File::options().read(true).write(true).open("/dev/tty")
}

/// What is shown of what is typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    All,
    Nothing,
}

fn ask(
    (terminal, mut screen): (&File, impl Write),
    prompt: &str,
    shown: Shown,
    limit: (&str, usize),
) -> io::Result<Vec<u8>> {
    let mode = Mode::new(terminal, shown)?;
    screen.write_all(prompt.as_bytes())?;
    let typed = read_line(&mut &*terminal, INTERRUPT, limit);
    let is_shown = shown == Shown::All && matches!(&typed, Ok(line) if line.ends_with(b"\n"));
    if !is_shown {
        screen.write_all(b"\n")?;
    }
    drop(mode);
    let line = typed?;
    match line.last() {
        Some(&INTERRUPT) => Err(io::Error::new(io::ErrorKind::Interrupted, "interrupted")),
        Some(_) => Ok(without_end(line)),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// The password that is the first line of `input`; no byte behind it is read.
///
/// # Errors
/// It cannot be read, or has more than 1024 bytes.
pub fn read_password(input: &mut impl Read) -> io::Result<Vec<u8>> {
    read_line(input, b'\n', ("a password", LONGEST)).map(without_end)
}

/// Bytes up to and with a newline or `end`, or up to where there are no more.
fn read_line(
    input: &mut impl Read,
    end: u8,
    (what, longest): (&str, usize),
) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    let mut byte = [0];
    while line.len() <= longest + 2 {
        match input.read(&mut byte) {
            Ok(0) => return Ok(line),
            Ok(_) => line.extend(byte),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        }
        if byte == [b'\n'] || byte == [end] {
            return Ok(line);
        }
    }
    let sentence = format!("{what} has at most {longest} bytes");
    Err(io::Error::new(io::ErrorKind::InvalidInput, sentence))
}

/// Without the end of the line, as any system writes it.
fn without_end(mut line: Vec<u8>) -> Vec<u8> {
    for end in [b'\n', b'\r'] {
        line.pop_if(|last| *last == end);
    }
    line
}

/// A terminal at which Ctrl-C ends a line, until this is dropped.
struct Mode<'a> {
    terminal: &'a File,
    before: Termios,
    /// What was typed ahead of a password goes nowhere; lines may be.
    change: OptionalActions,
}

impl<'a> Mode<'a> {
    fn new(terminal: &'a File, shown: Shown) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut mode = before.clone();
        let change = match shown {
            Shown::All => OptionalActions::Now,
            Shown::Nothing => {
                mode.local_modes -= LocalModes::ECHO | LocalModes::ECHONL;
                OptionalActions::Flush
            }
        };
        // Ctrl-C is a byte that ends the line, not a signal that would end the program with the terminal still like this.
        mode.local_modes -= LocalModes::ISIG;
        mode.local_modes |= LocalModes::ICANON;
        mode.special_codes[SpecialCodeIndex::VEOL] = INTERRUPT;
        tcsetattr(terminal, change, &mode)?;
        Ok(Self {
            terminal,
            before,
            change,
        })
    }
}

impl Drop for Mode<'_> {
    fn drop(&mut self) {
        tcsetattr(self.terminal, self.change, &self.before).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_one_line_however_it_ends() {
        for (text, password) in [
            ("secret\n", "secret"),
            ("secret", "secret"),
            ("secret\r\n", "secret"),
            (" s e \n", " s e "),
            ("one\ntwo\n", "one"),
            ("\n", ""),
            ("", ""),
        ] {
            let read = read_password(&mut text.as_bytes()).unwrap();
            assert_eq!(read, password.as_bytes(), "{text:?}");
        }
        let mut input = "one\ntwo".as_bytes();
        read_password(&mut input).unwrap();
        assert_eq!(input, b"two");
    }

    #[test]
    fn an_endless_one_is_refused() {
        let error = read_password(&mut io::repeat(b'x')).unwrap_err();
        assert_eq!(error.to_string(), "a password has at most 1024 bytes");
    }
}
