//! Lines that a person types, asked for on the terminal itself: stdout may be a file.

use std::env;
use std::io;

use rustix::termios::{QueueSelector, tcflush};
use rustyline::config::{Behavior, Builder};
use rustyline::error::ReadlineError;
use rustyline::{DefaultEditor, Result};

use crate::PROGRAM;

/// Values of `TERM` with which rustyline edits nothing, and writes its prompt to stdout.
const PLAIN: [&str; 3] = ["dumb", "cons25", "emacs"];

/// Where lines are typed.
pub(crate) struct Typed {
    /// None where the terminal is too plain for it.
    editor: Option<DefaultEditor>,
}

impl Typed {
    pub(crate) fn new(config: Builder) -> Result<Self> {
        let terminal = env::var("TERM").unwrap_or_default();
        if PLAIN
            .iter()
            .any(|plain| plain.eq_ignore_ascii_case(&terminal))
        {
            return Ok(Self { editor: None });
        }
        let config = config.behavior(Behavior::PreferTerm).build();
        let editor = DefaultEditor::with_config(config)?;
        Ok(Self {
            editor: Some(editor),
        })
    }

    /// Who edits lines and knows those before, where they are edited.
    pub(crate) const fn editor(&mut self) -> Option<&mut DefaultEditor> {
        self.editor.as_mut()
    }

    /// The next line; `Interrupted` after Ctrl-C, `Eof` after Ctrl-D.
    pub(crate) fn line(&mut self, prompt: &str) -> Result<Vec<u8>> {
        while let Some(editor) = &mut self.editor {
            match editor.readline(prompt) {
                Err(ReadlineError::Io(error)) if error.kind() == io::ErrorKind::InvalidData => {
                    // What is left of the line is no command.
                    tcflush(io::stdin(), QueueSelector::IFlush).unwrap_or_default();
                    cli::say(
                        PROGRAM,
                        "what was typed is no UTF-8: nothing is done with it",
                    );
                }
                read => return read.map(String::into_bytes),
            }
        }
        cli::ask_line(prompt).map_err(|error| match error.kind() {
            io::ErrorKind::Interrupted => ReadlineError::Interrupted,
            io::ErrorKind::UnexpectedEof => ReadlineError::Eof,
            _ => error.into(),
        })
    }
}
