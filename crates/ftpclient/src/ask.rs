//! A question to the person at the terminal: may this name be overwritten?

use std::io;

use client::{ClientError, ClientErrorKind};
use rustyline::config::Behavior;
use rustyline::error::ReadlineError;
use rustyline::{Config, DefaultEditor};

use crate::failure::Failure;
use crate::interrupt::Watch;

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
    editor: Option<DefaultEditor>,
}

impl Person {
    pub(crate) const fn new(watch: Watch) -> Self {
        Self {
            watch,
            editor: None,
        }
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
            if let Some(answer) = understood(&line) {
                return Ok(answer);
            }
        }
    }

    /// On the terminal itself, because stdout may be a file.
    fn read(&mut self, question: &str) -> rustyline::Result<String> {
        let editor = match self.editor.take() {
            Some(editor) => editor,
            None => {
                let config = Config::builder().behavior(Behavior::PreferTerm).build();
                DefaultEditor::with_config(config)?
            }
        };
        let editor = self.editor.insert(editor);
        self.watch.while_waiting(|| editor.readline(question))
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
