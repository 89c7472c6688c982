//! Commands that ask one thing of each of several names: of many at once, and each answer is told for itself, in the order of
//! the names.

use std::ops::ControlFlow;
use std::vec::IntoIter;

use client::{Client, ClientError};
use protocol::{ErrorCode, RemotePath};

use crate::failure::{Failure, Several, cannot};
use crate::names::Named;
use crate::output::Output;
use crate::session::Session;

/// Takes an answer, and says whether to go on.
pub(crate) type Answered<'a, T> = dyn FnMut(Result<T, ClientError>) -> ControlFlow<()> + 'a;

/// Asks for every name, in spite of those that fail, and says what is answered. `verb` is what is done with them, `excused` what
/// is no failure here.
pub(crate) fn each<T>(
    session: &mut Session,
    names: Vec<Result<Named<RemotePath>, Failure>>,
    (verb, excused): (&str, Option<ErrorCode>),
    ask: impl FnOnce(&mut Client, &[RemotePath], &mut Answered<'_, T>) -> Result<(), ClientError>,
    mut say: impl FnMut(&mut Output, &Named<RemotePath>, T) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let there = names.iter().filter_map(|name| name.as_ref().ok());
    let paths: Vec<_> = there.map(|name| name.path.clone()).collect();
    let Session {
        connection, output, ..
    } = session;
    let mut telling = Telling {
        names: names.into_iter(),
        excused,
        several: Several::default(),
    };
    if !paths.is_empty() {
        let failure = |name: &Named<RemotePath>| Failure::of(cannot(verb, name.path.as_bytes()));
        let mut told = Ok(());
        let asked = ask(connection.open()?, &paths, &mut |answer| {
            told = telling.next(output, |output, name| {
                say(output, name, answer.map_err(failure(name))?)
            });
            match told {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            }
        });
        told?;
        // What ends it for all is said of the first that was not answered.
        if let Err(error) = asked {
            telling.next(output, |_, name| Err(failure(name)(error)))?;
            return telling.several.finish();
        }
    }
    telling.next(output, |_, _| Ok(()))?;
    telling.several.finish()
}

/// Names of which something is yet to be told.
struct Telling {
    names: IntoIter<Result<Named<RemotePath>, Failure>>,
    excused: Option<ErrorCode>,
    several: Several,
}

impl Telling {
    /// Says what there is to say of the next name; before it, why words stand for none.
    fn next(
        &mut self,
        output: &mut Output,
        say: impl FnOnce(&mut Output, &Named<RemotePath>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        while let Some(name) = self.names.next() {
            match name {
                Ok(name) => {
                    return say(output, &name).or_else(|failure| self.failed(output, &failure));
                }
                Err(failure) => self.failed(output, &failure)?,
            }
        }
        Ok(())
    }

    fn failed(&mut self, output: &mut Output, failure: &Failure) -> Result<(), Failure> {
        if self.excused.is_some_and(|code| failure.is(code)) {
            return Ok(());
        }
        output.failure(failure);
        self.several.note(failure)
    }
}
