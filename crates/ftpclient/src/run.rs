//! A run of the program: from what was typed to the exit status.

use std::ffi::OsString;
use std::io::{self, BufRead};
use std::process::ExitCode;
use std::sync::Arc;

use client::{Credentials, Interrupt};
use protocol::RemotePath;

use crate::ask::Person;
use crate::exit_status::ExitStatus;
use crate::failure::{Failure, Several};
use crate::interrupt::{Scope, Watch};
use crate::invocation::Invocation;
use crate::login::Login;
use crate::output::{Format, Output};
use crate::screen::Screen;
use crate::session::{Connection, Session};
use crate::settings::{Settings, Work};
use crate::{PROGRAM, args, interactive, script};

/// Runs the program with these arguments, the first of which is its own name.
pub fn run(argv: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args = match args::parse(argv) {
        Ok(args) => args,
        Err(stop) => return stop.report(PROGRAM, ExitStatus::Usage.number()),
    };
    cli::start_logging(PROGRAM, args.shared.logging());
    // By itself the allocator gives the buffers of TLS back behind each write, and fetches them anew.
    sys::allocator::keep_little();
    let failure = match Settings::new(&args).and_then(work) {
        Ok(()) => return ExitStatus::Done.into(),
        Err(failure) => failure,
    };
    if failure.is_worth_a_line() {
        cli::say(PROGRAM, &failure.to_string());
    }
    failure.status().into()
}

fn work(settings: Settings) -> Result<(), Failure> {
    let interrupt = Interrupt::default();
    let scope = match settings.work {
        Work::Session => Scope::Command,
        Work::Commands(_) | Work::Script => Scope::Run,
    };
    let watch = Watch::start(&interrupt, scope)
        .map_err(Failure::of("cannot listen for signals".to_owned()))?;
    let screen = Arc::new(Screen::new(settings.bars, !settings.is_quiet));
    let output = Output::new(settings.format, !settings.is_quiet, Arc::clone(&screen));
    let mut options = settings.options;
    options.login = settings.login.map(|(user, file)| {
        let login: Arc<dyn Credentials> = Arc::new(Login::new(user, file, watch.clone()));
        login
    });
    let is_asked = settings.format == Format::Human && io::IsTerminal::is_terminal(&io::stdin());
    let mut session = Session {
        folder: RemotePath::root(),
        local: settings.folder,
        connection: Connection::new(settings.targets, options, screen, interrupt),
        output,
        person: is_asked.then(|| Person::new(watch.clone())),
        is_interactive: scope == Scope::Command,
        is_over: false,
    };
    let run = Run {
        session: &mut session,
        keep_going: settings.keep_going,
        several: Several::default(),
        is_unread: false,
    };
    match settings.work {
        Work::Commands(commands) => run.commands(&commands),
        Work::Script => run.script(&watch),
        Work::Session => interactive::run(&mut session, &watch),
    }
}

/// Commands that nobody watches.
struct Run<'s> {
    session: &'s mut Session,
    keep_going: bool,
    several: Several,
    /// Whether the reader of stdout has gone.
    is_unread: bool,
}

impl Run<'_> {
    fn commands(mut self, commands: &[Invocation]) -> Result<(), Failure> {
        // Whether the server is there is said first, also of commands that would do nothing with it.
        if commands.iter().any(|command| command.command.needs_slave) {
            let folder = &self.session.folder;
            let look = commands.first().and_then(|first| first.looks_at(folder));
            self.session.connection.open_for(look)?;
        }
        self.obey(commands)?;
        self.several.finish()
    }

    fn script(mut self, watch: &Watch) -> Result<(), Failure> {
        let mut input = io::stdin().lock();
        let mut is_idle = true;
        while !self.session.is_over {
            let Some(line) = read(&mut input, watch)? else {
                break;
            };
            match script::read(&line) {
                Ok(commands) => {
                    is_idle &= commands.is_empty();
                    if commands.iter().any(|command| command.command.needs_slave) {
                        self.session.client()?;
                    }
                    self.obey(&commands)?;
                }
                Err(failure) => self.failed(failure)?,
            }
        }
        if is_idle {
            // Who asks for nothing asks whether the server is there.
            self.session.client()?;
        }
        self.several.finish()
    }

    fn obey(&mut self, commands: &[Invocation]) -> Result<(), Failure> {
        for command in commands {
            if self.is_unread && command.command.name != "bye" {
                // What is left undone is not done, though nobody reads on.
                self.several.finish()?;
                return Err(Failure::Reported(ExitStatus::Failed));
            }
            let done = command.run(self.session);
            self.session.output.clear_bar();
            let flushed = self.session.output.flush();
            if let Err(failure) = done.and(flushed) {
                self.failed(failure)?;
            }
            if self.session.is_over {
                break;
            }
        }
        Ok(())
    }

    /// Ends the run, or goes on behind the failure if that was asked for. Behind a closed pipe only the end of the commands is
    /// waited for.
    fn failed(&mut self, failure: Failure) -> Result<(), Failure> {
        if failure.is_closed_pipe() {
            self.is_unread = true;
            return Ok(());
        }
        if !self.keep_going || failure.ends_the_run() {
            return Err(failure);
        }
        self.session.output.failure(&failure);
        // The next command may fare better, whatever kept this one.
        self.several.note(&failure).or(Ok(()))
    }
}

fn read(input: &mut impl BufRead, watch: &Watch) -> Result<Option<Vec<u8>>, Failure> {
    watch
        .while_waiting(|| script::next_line(input))
        .map_err(Failure::of("cannot read stdin".to_owned()))
}
