//! `help`, which is the table of commands, and `bye`.

use crate::PROGRAM;
use crate::command::{self, COMMANDS, Command};
use crate::failure::Failure;
use crate::invocation::Invocation;
use crate::session::Session;

/// `help`
pub(crate) fn help(session: &mut Session, invocation: &Invocation) -> Result<(), Failure> {
    let lines = match invocation.word(0) {
        Some(word) => one(command::find(word.literal())?),
        None => all(),
    };
    if session.output.is_json() {
        // Nothing but JSON on stdout.
        for line in lines {
            cli::say(PROGRAM, &line);
        }
        return Ok(());
    }
    lines.iter().try_for_each(|line| session.output.line(line))
}

/// `bye`
pub(crate) fn leave(session: &mut Session, _: &Invocation) -> Result<(), Failure> {
    session.is_over = true;
    Ok(())
}

fn all() -> Vec<String> {
    let width = COMMANDS
        .iter()
        .map(|command| command.synopsis.len())
        .max()
        .unwrap_or(0);
    COMMANDS
        .iter()
        .map(|command| format!("{:<width$}  {}", command.synopsis, command.about))
        .collect()
}

fn one(command: &Command) -> Vec<String> {
    let mut lines = vec![format!("{}  {}", command.synopsis, command.about)];
    lines.extend(command.details.lines().map(|line| format!("  {line}")));
    if !command.aliases.is_empty() {
        lines.push(format!("  also: {}", command.aliases.join(", ")));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_is_the_table() {
        let lines = all();
        assert_eq!(lines.len(), COMMANDS.len());
        assert!(lines.iter().any(|line| line.starts_with("pwd  ")));
        assert_eq!(
            one(command::find(b"dir").unwrap())
                .last()
                .map(String::as_str),
            Some("  also: dir")
        );
    }
}
