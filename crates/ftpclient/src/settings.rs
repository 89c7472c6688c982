//! What the typed words mean: whom to ask, how, and what for.

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use client::{Options, Target};
use protocol::ErrorCode;

use crate::args::Args;
use crate::failure::{Failure, cannot};
use crate::invocation::Invocation;
use crate::output::Format;
use crate::script;
use crate::trust::{encryption, trust};
use crate::words::Word;

/// Taken for the local folder where the current directory has one.
const CLIENT_ROOT: &str = "_CLIENTROOT";

/// Everything a run needs to know.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) targets: Vec<Target>,
    pub(crate) options: Options,
    /// Who logs in, and the file with the password.
    pub(crate) login: Option<(String, Option<PathBuf>)>,
    /// Where relative local names are; the empty path is the current directory.
    pub(crate) folder: PathBuf,
    pub(crate) format: Format,
    pub(crate) is_quiet: bool,
    pub(crate) bars: bool,
    pub(crate) keep_going: bool,
    pub(crate) work: Work,
}

/// Where the commands come from.
#[derive(Debug)]
pub(crate) enum Work {
    /// The command line.
    Commands(Vec<Invocation>),
    /// Stdin, a line each.
    Script,
    /// A person.
    Session,
}

impl Settings {
    /// Makes sense of what was typed, or says what makes none.
    pub(crate) fn new(args: &Args) -> Result<Self, Failure> {
        let targets = Target::parse_list(&args.host, args.port)
            .map_err(|error| Failure::Usage(error.to_string()))?;
        let is_quiet = args.shared.verbosity == cli::Verbosity::Quiet;
        Ok(Self {
            targets,
            options: Options {
                timeout: args.timeout,
                retries: args.retries,
                wait: args.wait,
                limit_rate: args.limit_rate,
                verify: !args.no_verify,
                streams: args.streams,
                login: None, // needs the terminal
                tls: encryption(args.tls),
                trust: trust(args.ca.as_deref())?,
            },
            login: login(args)?,
            work: work(args)?,
            folder: folder(args.dir.as_deref())?,
            format: if args.json {
                Format::Json
            } else {
                Format::Human
            },
            is_quiet,
            bars: !args.no_progress && !is_quiet && io::stderr().is_terminal(),
            keep_going: args.keep_going,
        })
    }
}

/// Nobody, where no name is given. A file that is set once for all runs waits for one.
fn login(args: &Args) -> Result<Option<(String, Option<PathBuf>)>, Failure> {
    if args.user.is_none() && args.is_password_file_typed {
        let sentence = "--password-file holds the password of a user: say whose with --user NAME";
        return Err(Failure::Usage(sentence.to_owned()));
    }
    let user = args.user.clone();
    Ok(user.map(|user| (user, args.password_file.clone())))
}

fn work(args: &Args) -> Result<Work, Failure> {
    if args.list {
        return listing(args).map(Work::Commands);
    }
    if !args.get.is_empty() {
        let get = |file: &OsString| {
            Invocation::read(vec![
                Word::quoted(b"get"),
                Word::quoted(b"--"),
                Word::typed(file),
            ])
        };
        return args
            .get
            .iter()
            .map(get)
            .collect::<Result<_, _>>()
            .map(Work::Commands);
    }
    if !args.commands.is_empty() {
        let read = |text: &OsString| script::read(text.as_bytes());
        let commands: Vec<_> = args.commands.iter().map(read).collect::<Result<_, _>>()?;
        return Ok(Work::Commands(commands.concat()));
    }
    if !args.command.is_empty() {
        let words = args.command.iter().map(|word| Word::typed(word)).collect();
        return Ok(Work::Commands(vec![Invocation::read(words)?]));
    }
    Ok(if io::stdin().is_terminal() {
        Work::Session
    } else {
        Work::Script
    })
}

/// `-l [DIR]`
fn listing(args: &Args) -> Result<Vec<Invocation>, Failure> {
    let mut words = vec![Word::quoted(b"ls")];
    match args.command.as_slice() {
        [] => {}
        [folder] if !args.is_list_first => {
            words.push(Word::quoted(b"--"));
            words.push(Word::typed(folder));
        }
        [_, extra, ..] | [extra] => {
            return Err(Failure::Usage(format!(
                "-l: '{}' is one word too many; write: ftpclient {} -l [DIR]",
                cli::name(extra.as_bytes()),
                cli::text(&args.host),
            )));
        }
    }
    Ok(vec![Invocation::read(words)?])
}

fn folder(chosen: Option<&Path>) -> Result<PathBuf, Failure> {
    let Some(folder) = chosen else {
        let usual = Path::new(CLIENT_ROOT);
        return Ok(if usual.is_dir() {
            usual.to_owned()
        } else {
            PathBuf::new()
        });
    };
    let tried = cannot("use --dir", folder.as_os_str().as_bytes());
    match folder.metadata() {
        Ok(facts) if facts.is_dir() => Ok(folder.to_owned()),
        Ok(_) => Err(Failure::of(tried)(ErrorCode::NotDirectory)),
        Err(error) => Err(Failure::of(tried)(error)),
    }
}
