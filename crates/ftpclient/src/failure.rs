//! Why a command was not carried out: the sentence for a person, the word for a script, the status for the shell.

use std::fmt;
use std::io;

use protocol::ErrorCode;

use crate::exit_status::ExitStatus;
use client::{ClientError, ClientErrorKind};

/// Displayed as what follows `ftpclient: `.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command makes no sense; the sentence shows how to mend it.
    Usage(String),
    /// What was tried (`cannot get '/a.bin'`), and what stood in the way.
    Failed { tried: String, source: ClientError },
    /// Stdout takes no more. A closed pipe (`ls | head`) ends the command without a word, and no other is run behind it.
    Output(ClientError),
    /// All has been said; this is what is left for the shell.
    Reported(ExitStatus),
}

/// `cannot get '/a.bin'`.
pub(crate) fn cannot(verb: &str, name: &(impl AsRef<[u8]> + ?Sized)) -> String {
    format!("cannot {verb} '{}'", cli::name(name))
}

impl Failure {
    /// Makes a failure of what was tried from what the client library, the system or the protocol says.
    pub(crate) fn of<E: Into<ClientError>>(tried: String) -> impl FnOnce(E) -> Self {
        move |source| Self::Failed {
            tried,
            source: source.into(),
        }
    }

    /// A condition that the protocol has a word for, in a sentence of our own.
    pub(crate) fn refused(tried: String, code: ErrorCode, why: &str) -> Self {
        Self::Failed {
            tried,
            source: ClientError::new(ClientErrorKind::Remote(code), why),
        }
    }

    /// What the shell hears.
    pub(crate) fn status(&self) -> ExitStatus {
        match self {
            Self::Usage(_) => ExitStatus::Usage,
            Self::Failed { source, .. } => source.kind().into(),
            Self::Output(_) if self.is_closed_pipe() => ExitStatus::Done,
            Self::Output(_) => ExitStatus::Failed,
            Self::Reported(status) => *status,
        }
    }

    /// What a script hears: the protocol's name of the error.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Failed { source, .. } | Self::Output(source) => source.word(),
            Self::Usage(_) | Self::Reported(_) => "usage",
        }
    }

    /// Whether a person has to be told.
    pub(crate) fn is_worth_a_line(&self) -> bool {
        !matches!(self, Self::Reported(_)) && !self.is_closed_pipe()
    }

    /// Whether a command of several arguments ends here, not only this argument.
    pub(crate) fn ends_the_command(&self) -> bool {
        matches!(self, Self::Output(_)) || self.status().ends_the_command()
    }

    /// Whether the commands behind this one are not to be run, whatever was asked for.
    pub(crate) fn ends_the_run(&self) -> bool {
        matches!(self, Self::Output(_)) || self.status() == ExitStatus::Interrupted
    }

    /// Whether the reader of stdout has gone.
    pub(crate) fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == ClientErrorKind::Local(io::ErrorKind::BrokenPipe))
    }

    /// Whether that is what went wrong: on the server, or here.
    pub(crate) fn is(&self, code: ErrorCode) -> bool {
        matches!(self, Self::Failed { .. }) && self.code() == code.word()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(sentence) => formatter.write_str(sentence),
            Self::Failed { tried, source } => {
                let sentence = source.to_string();
                let why = match sentence.as_str() {
                    why if why == ErrorCode::NotFound.sentence() => "no such file",
                    why => why,
                };
                write!(formatter, "{tried}: {why}")
            }
            Self::Output(source) => write!(formatter, "cannot write to stdout: {source}"),
            Self::Reported(_) => Ok(()),
        }
    }
}

/// For what is written to stdout; all else says what was tried.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error.into())
    }
}

/// What a command of several arguments has come to: it goes on behind a failure and ends with the first one's status.
#[derive(Debug, Default)]
pub(crate) struct Several {
    first: Option<ExitStatus>,
}

impl Several {
    /// Takes note of a failure that has been told. Fails where the command must end: there is nobody to ask any more.
    pub(crate) fn note(&mut self, failure: &Failure) -> Result<(), Failure> {
        if let (Failure::Output(error), true) = (failure, failure.is_closed_pipe()) {
            return self.finish_after(Err(Failure::Output(error.clone())));
        }
        self.first.get_or_insert(failure.status());
        if failure.ends_the_command() {
            Err(Failure::Reported(failure.status()))
        } else {
            Ok(())
        }
    }

    /// How the command ended.
    pub(crate) fn finish(&self) -> Result<(), Failure> {
        self.first
            .map_or(Ok(()), |status| Err(Failure::Reported(status)))
    }

    /// How the command ended behind what was `written` of its results. That nobody reads on makes nothing of what failed before.
    pub(crate) fn finish_after(&self, written: Result<(), Failure>) -> Result<(), Failure> {
        match written {
            Err(failure) if self.first.is_none() || !failure.is_closed_pipe() => Err(failure),
            _ => self.finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_say_what_was_tried_on_what_and_why() {
        let failure = Failure::of(cannot("get", b"/a\n\xff.bin"))(ErrorCode::NotFound);
        assert_eq!(
            failure.to_string(),
            r"cannot get '/a\n\xff.bin': no such file"
        );
        assert_eq!(failure.code(), "not-found");
        assert_eq!(failure.status(), ExitStatus::Failed);
        let odd = Failure::of(cannot("make", b"x"))(io::Error::from_raw_os_error(40));
        assert!(!odd.to_string().contains("os error"), "{odd}");
    }

    #[test]
    fn a_closed_pipe_is_no_failure_worth_a_word() {
        let closed = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(!closed.is_worth_a_line());
        assert_eq!(closed.status(), ExitStatus::Done);
        let full = Failure::from(io::Error::from_raw_os_error(28));
        assert!(
            full.to_string()
                .starts_with("cannot write to stdout: no space left")
        );
        assert_eq!(full.status(), ExitStatus::Failed);
    }

    #[test]
    fn what_failed_before_a_closed_pipe_gives_the_status() {
        let closed = || Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        let mut several = Several::default();
        assert!(several.note(&closed()).unwrap_err().is_closed_pipe());
        assert!(several.finish_after(Ok(())).is_ok());
        let missing = Failure::of(String::new())(ErrorCode::NotFound);
        assert!(several.note(&missing).is_ok());
        for ended in [
            several.note(&closed()),
            several.finish_after(Err(closed())),
            several.finish_after(Ok(())),
        ] {
            let failure = ended.unwrap_err();
            assert!(matches!(failure, Failure::Reported(ExitStatus::Failed)));
        }
    }

    #[test]
    fn the_first_failure_gives_the_status() {
        let failed = |kind| Failure::of(String::new())(ClientError::new(kind, ""));
        let mut several = Several::default();
        let missing = failed(ClientErrorKind::Remote(ErrorCode::NotFound));
        assert!(several.note(&missing).is_ok());
        assert!(several.note(&failed(ClientErrorKind::NotVerified)).is_ok());
        assert!(matches!(
            several.note(&failed(ClientErrorKind::Interrupted)),
            Err(Failure::Reported(ExitStatus::Interrupted))
        ));
        assert!(matches!(
            several.finish(),
            Err(Failure::Reported(ExitStatus::Failed))
        ));
        assert!(Several::default().finish().is_ok());
    }
}
