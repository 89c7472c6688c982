//! Errors as a person reads them: one line on stderr, never a backtrace.

use std::io::{self, Write};

use crate::display::text;

/// Writes `program: what was tried: why it failed` to stderr.
pub fn report(program: &str, error: &anyhow::Error) {
    say(program, &one_line(error));
}

/// Writes `program: sentence` to stderr, as one line whatever the sentence holds. A stderr that takes nothing is left
/// alone: there is nowhere to complain.
pub fn say(program: &str, sentence: &str) {
    let line = format!("{program}: {}\n", text(sentence));
    io::stderr().write_all(line.as_bytes()).unwrap_or_default();
}

/// The error and its causes, outermost first, on one line and without the numbers that only programmers read.
#[must_use]
pub fn one_line(error: &anyhow::Error) -> String {
    let causes = error
        .chain()
        .map(|cause| without_number(&cause.to_string()).to_owned());
    text(&causes.collect::<Vec<_>>().join(": ")).to_string()
}

/// Takes the ` (os error 2)` off that the standard library puts behind the system's sentence.
fn without_number(sentence: &str) -> &str {
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    match sentence
        .strip_suffix(')')
        .and_then(|rest| rest.rsplit_once(" (os error "))
    {
        Some((words, number)) if is_number(number) => words,
        _ => sentence,
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn causes_stand_behind_each_other_on_one_line() {
        let error = Err::<(), _>(io::Error::from_raw_os_error(2))
            .context("cannot open 'a\nb\u{1b}'")
            .context("cannot start")
            .unwrap_err();
        assert_eq!(
            one_line(&error),
            r"cannot start: cannot open 'a\nb\x1b': No such file or directory"
        );
    }
}
