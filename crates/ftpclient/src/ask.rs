//! A question to the person at the terminal: may this name be overwritten?

use std::io;

use client::{ClientError, ClientErrorKind};
use rustyline::Config;
use rustyline::error::ReadlineError;

use crate::failure::Failure;
use crate::interrupt::Watch;
use crate::typed::Typed;

/// What the person wants done with a name that is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Overwrite,
    Keep,
    StoreBeside,
    OverwriteAll,
}

/// Somebody at a terminal.
pub(crate) struct Person {
    watch: Watch,
    /// One for all questions: it holds what was typed behind the last answer.
    typed: Option<Typed>,
}

impl Person {
    pub(crate) const fn new(watch: Watch) -> Self {
        Self { watch, typed: None }
    }

    /// Asks until the answer is one; an empty line and Ctrl-D mean no. Ctrl-C ends what was `tried`.
    pub(crate) fn may_overwrite(&mut self, name: &[u8], tried: &str) -> Result<Answer, Failure> {
        let question = format!(
            "'{}' exists. Overwrite it? [y/N/rename/all] ",
            cli::name(name)
        );
        loop {
            let line = match self.read(&question) {
                Ok(line) => line,
                Err(ReadlineError::Eof) => return Ok(Answer::Keep),
                Err(ReadlineError::Interrupted) => {
                    let interrupted = ClientError::new(ClientErrorKind::Interrupted, "interrupted");
                    return Err(Failure::of(tried.to_owned())(interrupted));
                }
                Err(other) => {
                    let error = io::Error::other(other);
                    return Err(Failure::of("cannot read an answer".to_owned())(error));
                }
            };
            if let Some(answer) = understood(&String::from_utf8_lossy(&line)) {
                return Ok(answer);
            }
        }
    }

    fn read(&mut self, question: &str) -> rustyline::Result<Vec<u8>> {
        let typed = match self.typed.take() {
            Some(typed) => typed,
            None => Typed::new(Config::builder())?,
        };
        let typed = self.typed.insert(typed);
        self.watch.while_waiting(|| typed.line(question))
    }
}

fn understood(line: &str) -> Option<Answer> {
    match line.trim().to_lowercase().as_str() {
        "y" | "yes" => Some(Answer::Overwrite),
        "" | "n" | "no" => Some(Answer::Keep),
        "r" | "rename" => Some(Answer::StoreBeside),
        "a" | "all" => Some(Answer::OverwriteAll),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers() {
        assert_eq!(understood(" Y "), Some(Answer::Overwrite));
        assert_eq!(understood(""), Some(Answer::Keep));
        assert_eq!(understood("rename"), Some(Answer::StoreBeside));
        assert_eq!(understood("all"), Some(Answer::OverwriteAll));
        assert_eq!(understood("perhaps"), None);
    }
}
