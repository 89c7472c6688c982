//! How a session begins: the slave is met, and shown a ticket or told who the user is.

use std::net::SocketAddr;

use protocol::{ErrorCode, FEATURE_LOGIN, Reply, Request, Role, ServerPreface};

use super::{Key, Session, unexpected};
use crate::ClientError;
use crate::context::Context;
use crate::dial::{Met, meet};
use crate::fault::{Attempt, Fault};
use crate::login::{no_accounts, refused};
use crate::secrecy::Confidential;
use crate::trust::Peer;

impl Session {
    /// Connects to a slave and shows it the ticket, or logs in. Behind a ticket, and where nobody logs in, `ahead` travels
    /// with the first words: a round trip less until it is answered.
    pub(crate) fn open(
        address: SocketAddr,
        key: &Key,
        ahead: Option<&Request>,
        context: &Context,
    ) -> Attempt<Self> {
        let (peer, shown) = match key {
            Key::Ticket(pass) => (
                Peer::Offered(pass.fingerprint),
                Some(pass).filter(|pass| !pass.is_empty()),
            ),
            Key::Name(target) => (Peer::Named(target), None),
        };
        let ahead = ahead.filter(|_| key.is_ticket() || context.options.login.is_none());
        let ahead_number = 1 + u32::from(shown.is_some());
        let met = meet(address, peer, context, |connection, may_ask| {
            if let Some(pass) = shown {
                Confidential::for_ticket(connection, context)?.present(1, pass);
            }
            let asked = ahead.filter(|_| may_ask);
            if let Some(request) = asked {
                connection.send(ahead_number, request);
            }
            Ok(asked.is_some())
        })?;
        let Met {
            connection,
            preface,
            is_asked,
        } = met;
        if preface.role != Role::Slave {
            return Err(Fault::nonsense("a slave was expected here"));
        }
        let mut session = Self::new(connection, &preface, key.clone(), context);
        if shown.is_some() {
            session.last_request = 1;
            session.open = 1;
            match session.begun(1)? {
                Reply::Welcome { .. } => {}
                other => return Err(unexpected(&other)),
            }
        }
        session.log_in(&preface, context)?;
        if let Some(request) = ahead.filter(|_| is_asked) {
            session.note_ahead(ahead_number, request);
        }
        Ok(session)
    }

    /// Says who the user is, where there is one, to a slave that stands alone.
    pub(crate) fn log_in(&mut self, preface: &ServerPreface, context: &Context) -> Attempt<()> {
        let Key::Name(target) = self.key.clone() else {
            return Ok(());
        };
        let Some(login) = &context.options.login else {
            return match preface.login_required {
                true => Err(ErrorCode::LoginRequired.into()),
                false => Ok(()),
            };
        };
        if preface.features & FEATURE_LOGIN == 0 {
            return Err(no_accounts());
        }
        let number = self.next_number();
        Confidential::for_password(&mut self.connection)?.log_in_at_slave(
            number,
            login.as_ref(),
            &target,
        )?;
        self.flush()?;
        match self.begun(number).map_err(refused)? {
            Reply::Welcome { .. } => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// The answer to the request that begins the session. What is said there of names is about the account's home.
    fn begun(&mut self, number: u32) -> Attempt<Reply> {
        self.answer(number).map_err(|fault| match fault {
            Fault::Failed(error) if error.is_about_names() => {
                let sentence = format!("the account's home cannot be used: {error}");
                ClientError::new(error.kind(), sentence).into()
            }
            other => other,
        })
    }
}
