//! From text to commands, and from a pipe to text.

use std::io::{self, BufRead, Read};

use crate::failure::Failure;
use crate::invocation::Invocation;
use crate::words::{self, Word};

/// Longest line that is read as commands, bytes: more is no script.
const MAX_LINE: u64 = 1 << 20;

/// The commands in a text, all of them or none: a slip in the second leaves the first undone.
pub(crate) fn read(text: &[u8]) -> Result<Vec<Invocation>, Failure> {
    if let Some(line) = text.trim_ascii().strip_prefix(b"!") {
        // The shell has its own quotes.
        let mut words = vec![Word::quoted(b"!")];
        if !line.is_empty() {
            words.push(Word::quoted(line));
        }
        return Ok(vec![Invocation::read(words)?]);
    }
    words::split(text)
        .map_err(|error| Failure::Usage(format!("{error} in '{}'", cli::name(text.trim_ascii()))))?
        .into_iter()
        .map(Invocation::read)
        .collect()
}

/// The next line of a script, without its end, which is CR LF where the script comes from Windows; `None` at the end of the
/// script.
pub(crate) fn next_line(input: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let length = input.take(MAX_LINE).read_until(b'\n', &mut line)?;
    if length == 0 {
        return Ok(None);
    }
    if line.pop_if(|last| *last == b'\n').is_some() {
        line.pop_if(|last| *last == b'\r');
    } else if u64::try_from(length).is_ok_and(|length| length == MAX_LINE) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "a line is too long",
        ));
    }
    Ok(Some(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<&'static str> {
        let commands = read(text.as_bytes()).unwrap();
        commands
            .iter()
            .map(|command| command.command.name)
            .collect()
    }

    #[test]
    fn comments_and_empty_lines_are_no_commands() {
        for text in ["", "  ", "# get a", ";", "  # x; get y"] {
            assert!(names(text).is_empty(), "{text}");
        }
        assert_eq!(names("cd pub; get a.bin # both"), ["cd", "get"]);
    }

    #[test]
    fn what_cannot_be_read_does_nothing() {
        let unclosed = read(b"ls; get 'a").unwrap_err();
        assert_eq!(unclosed.status(), crate::exit_status::ExitStatus::Usage);
        assert_eq!(
            unclosed.to_string(),
            "a quote is not closed in 'ls; get \\'a'".replace('\\', "")
        );
        assert!(read(b"ls; frob").is_err());
    }

    #[test]
    fn the_shell_gets_its_line_as_it_is() {
        let commands = read(b" !echo 'a; b").unwrap();
        assert_eq!(commands[0].command.name, "!");
        assert_eq!(commands[0].words[0].literal(), b"echo 'a; b");
    }

    #[test]
    fn lines_of_any_bytes_are_read_up_to_a_bound() {
        let mut input = b"a\xff\n\r\nb".as_slice();
        assert_eq!(
            next_line(&mut input).unwrap().as_deref(),
            Some(b"a\xff".as_slice())
        );
        assert_eq!(
            next_line(&mut input).unwrap().as_deref(),
            Some(b"".as_slice())
        );
        assert_eq!(
            next_line(&mut input).unwrap().as_deref(),
            Some(b"b".as_slice())
        );
        assert_eq!(next_line(&mut input).unwrap(), None);
        assert!(next_line(&mut io::BufReader::new(io::repeat(b'a'))).is_err());
    }
}
