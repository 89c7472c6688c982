//! What has travelled with the first words of a session.

use protocol::{Reply, Request};

use super::closes;
use crate::fault::{Attempt, Fault};

/// The questions among them. Each counts as an open request until its answer has come.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    /// What has not been asked for since, under its number.
    asked: Option<(u32, Request)>,
    /// Requests whose answers nobody waits for.
    passed_over: Vec<u32>,
}

impl Ahead {
    pub(super) fn ask(&mut self, number: u32, request: &Request) {
        self.asked = Some((number, request.clone()));
    }

    pub(super) fn pass_over(&mut self, number: u32) {
        self.passed_over.push(number);
    }

    /// The number of `request`, if that is what was asked. Anything else is passed over from now on.
    pub(super) fn claim(&mut self, request: &Request) -> Option<u32> {
        let (number, asked) = self.asked.take()?;
        if asked == *request {
            return Some(number);
        }
        self.pass_over(number);
        None
    }

    /// Whether an answer may still be asked for.
    pub(super) const fn is_unclaimed(&self) -> bool {
        self.asked.is_some()
    }

    /// How many open requests nobody has asked for.
    pub(super) fn count(&self) -> usize {
        self.passed_over.len() + usize::from(self.is_unclaimed())
    }

    pub(super) fn passes_over(&self, number: u32) -> bool {
        self.passed_over.contains(&number)
    }

    /// Takes a part of an answer that is passed over; what is said there of the session itself counts.
    pub(super) fn skip(&mut self, number: u32, reply: &Reply) -> Attempt<()> {
        if closes(reply) {
            self.passed_over.retain(|passed| *passed != number);
        }
        match reply {
            Reply::Error { code, .. } => match Fault::from(*code) {
                Fault::Failed(_) => Ok(()),
                fault => Err(fault),
            },
            _ => Ok(()),
        }
    }
}
