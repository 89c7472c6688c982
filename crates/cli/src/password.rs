//! Passwords: typed at the terminal without being shown, or a line of a file or pipe. Never a word of a command line,
//! which everybody on the machine can read.

use std::fs::File;
use std::io::{self, Read, Write};

use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr,
};

/// Longest password, bytes.
const LONGEST: usize = 1024;

/// What Ctrl-C sends.
const INTERRUPT: u8 = 3;

/// Asks for a password at the terminal of this program, and gives what was typed. Nothing of it is shown; the terminal is
/// as before afterwards, behind Ctrl-C too.
///
/// # Errors
/// There is no terminal; `Interrupted` after Ctrl-C, `UnexpectedEof` after Ctrl-D, `InvalidInput` for more than 1024 bytes.
pub fn ask_password(prompt: &str) -> io::Result<Vec<u8>> {
    let terminal = File::options().read(true).write(true).open("/dev/tty")?;
    let hidden = Hidden::new(&terminal)?;
    (&terminal).write_all(crate::text(prompt).to_string().as_bytes())?;
    let typed = read_line(&mut &terminal, INTERRUPT);
    // The newline that was typed is not shown either.
    (&terminal).write_all(b"\n")?;
    drop(hidden);
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
    read_line(input, b'\n').map(without_end)
}

/// Bytes up to and with a newline or `end`, or up to where there are no more.
fn read_line(input: &mut impl Read, end: u8) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    let mut byte = [0];
    while line.len() <= LONGEST + 2 {
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
    let sentence = format!("a password has at most {LONGEST} bytes");
    Err(io::Error::new(io::ErrorKind::InvalidInput, sentence))
}

/// Without the end of the line, as any system writes it.
fn without_end(mut line: Vec<u8>) -> Vec<u8> {
    for end in [b'\n', b'\r'] {
        line.pop_if(|last| *last == end);
    }
    line
}

/// A terminal that shows nothing of what is typed, until this is dropped.
struct Hidden<'a> {
    terminal: &'a File,
    before: Termios,
}

impl<'a> Hidden<'a> {
    fn new(terminal: &'a File) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut hidden = before.clone();
        // Ctrl-C is a byte that ends the line, not a signal that would end the program with the terminal still like this.
        hidden.local_modes -= LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ISIG;
        hidden.local_modes |= LocalModes::ICANON;
        hidden.special_codes[SpecialCodeIndex::VEOL] = INTERRUPT;
        tcsetattr(terminal, OptionalActions::Flush, &hidden)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Hidden<'_> {
    fn drop(&mut self) {
        tcsetattr(self.terminal, OptionalActions::Flush, &self.before).unwrap_or_default();
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
