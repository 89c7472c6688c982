//! The session of a person at a terminal: prompt, line editing, history.

use std::env;
use std::fs::DirBuilder;
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use rustyline::error::ReadlineError;
use rustyline::{Config, DefaultEditor};

use crate::exit_status::ExitStatus;
use crate::failure::Failure;
use crate::interrupt::Watch;
use crate::script;
use crate::session::Session;
use crate::typed::Typed;

/// Lines that the history keeps.
const MAX_HISTORY: usize = 1000;

/// Runs the session until `bye`, Ctrl-D or SIGTERM. A command that fails ends nothing.
pub(crate) fn run(session: &mut Session, watch: &Watch) -> Result<(), Failure> {
    if session.connection.screen.may_speak() {
        greet(session)?;
    }
    let mut typed = with_history().map_err(unreadable)?;
    let history = typed.editor().and_then(|editor| {
        let path = history_file()?;
        // A first session has none yet.
        editor.load_history(&path).unwrap_or_default();
        Some(path)
    });
    while !session.is_over && !watch.is_terminated() {
        let prompt = format!("{}> ", cli::name(session.folder.as_bytes()));
        match watch.while_waiting(|| typed.line(&prompt)) {
            Ok(line) => {
                obey(session, &line)?;
                if let (Some(editor), Some(path)) = (typed.editor(), &history) {
                    keep(editor, path);
                }
            }
            Err(ReadlineError::Interrupted) => {}
            Err(ReadlineError::Eof) => session.is_over = true,
            Err(error) => return Err(unreadable(error)),
        }
    }
    if watch.is_terminated() {
        return Err(Failure::Reported(ExitStatus::Interrupted));
    }
    Ok(())
}

/// Runs the commands of a line. Only a stdout that is gone ends the session.
fn obey(session: &mut Session, line: &[u8]) -> Result<(), Failure> {
    session.connection.interrupt.clear();
    let commands = script::read(line);
    let done = commands.and_then(|commands| {
        commands.iter().try_for_each(|command| {
            let done = command.run(session);
            let flushed = session.output.flush();
            done.and(flushed)
        })
    });
    match done {
        Err(failure @ Failure::Output(_)) => Err(failure),
        Err(failure) => {
            session.output.clear_bar();
            session.output.failure(&failure);
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

fn greet(session: &mut Session) -> Result<(), Failure> {
    let host = session.connection.name();
    let connected = session.client().map(|client| client.slave());
    let greeting = match connected {
        Ok(Some(slave)) => format!("Connected to {slave} through {host}. "),
        Ok(None) => format!("Connected to {host}. "),
        // A master that has no slave now can be asked about those it knows.
        Err(failure)
            if failure.status() == ExitStatus::NoConnection
                && session.connection.slaves().is_ok() =>
        {
            session.output.failure(&failure);
            String::new()
        }
        Err(failure) => return Err(failure),
    };
    // On stderr, because stdout may be a file; where stderr is gone there is nobody to greet.
    writeln!(
        io::stderr(),
        "{}'help' lists the commands, Ctrl-D leaves.",
        cli::text(&greeting)
    )
    .unwrap_or_default();
    Ok(())
}

fn with_history() -> rustyline::Result<Typed> {
    let config = Config::builder()
        .auto_add_history(true)
        .history_ignore_space(true)
        .max_history_size(MAX_HISTORY)?;
    Typed::new(config)
}

fn unreadable(error: ReadlineError) -> Failure {
    Failure::of("cannot read from the terminal".to_owned())(io::Error::other(error))
}

/// Writes the history after each line: a session may end in any way.
fn keep(editor: &mut DefaultEditor, path: &PathBuf) {
    if let Err(error) = editor.append_history(path) {
        tracing::debug!(%error, "history not kept");
    }
}

/// In the state directory, which is made where it is missing.
fn history_file() -> Option<PathBuf> {
    let state = match env::var_os("XDG_STATE_HOME").map(PathBuf::from) {
        // The XDG base directory specification has relative paths ignored.
        Some(state) if state.is_absolute() => state,
        _ => env::home_dir()?.join(".local/state"),
    };
    let folder = state.join("mini-ftp");
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .ok()?;
    Some(folder.join("history"))
}
