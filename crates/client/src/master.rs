//! What is asked of a master: who serves, and what it knows of its slaves.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use protocol::{
    Address, Connection, ErrorCode, FEATURE_LOGIN, MasterReply, MasterRequest, Request, Role,
    SlaveOffer,
};

use crate::context::Context;
use crate::dial::{Met, meet, resolve};
use crate::fault::{Attempt, Fault};
use crate::login::{Credentials, refused};
use crate::patient::Patient;
use crate::secrecy::{Confidential, Pass};
use crate::session::{Key, Session};
use crate::trust::Peer;
use crate::{ClientError, ClientErrorKind, Target};

/// How long a master may take for an answer, which it has in memory.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// How long it may take to check a login, for which others may wait too.
const LOGIN_LIMIT: Duration = Duration::from_secs(30);

/// A slave that a master offered.
#[derive(Clone, Debug)]
pub(crate) struct Offer {
    pub(crate) pass: Pass,
    /// Whether it had free places when the master answered.
    pub(crate) has_room: bool,
    addresses: Vec<Address>,
    /// Where the master was reached: the host that [`Address::SameHost`] means.
    host: IpAddr,
}

/// What a master answered to "who serves me?".
#[derive(Clone, Debug)]
pub(crate) struct Located {
    pub(crate) offers: Vec<Offer>,
    pub(crate) life: Duration,
}

/// Who was found at a target.
#[derive(Debug)]
pub(crate) enum Reached {
    Master(Box<Master>),
    /// A slave that stands alone: the session with it.
    Slave(Box<Session>),
}

/// What is asked first of somebody who may be a master or a slave: where nobody logs in it travels with the first words, a
/// round trip less until it is answered. The one's question says nothing to the other, who answers that it is unsupported.
#[derive(Clone, Copy, Debug)]
pub(crate) struct First<'a> {
    pub(crate) of_master: &'a MasterRequest,
    pub(crate) of_slave: Option<&'a Request>,
}

impl First<'_> {
    const NUMBER_TO_MASTER: u32 = 1;
    const NUMBER_TO_SLAVE: u32 = 2;

    fn ask(self, connection: &mut Connection<Patient>) {
        connection.send(Self::NUMBER_TO_MASTER, self.of_master);
        if let Some(request) = self.of_slave {
            connection.send(Self::NUMBER_TO_SLAVE, request);
        }
    }
}

/// A conversation with a master.
#[derive(Debug)]
pub(crate) struct Master {
    connection: Connection<Patient>,
    host: IpAddr,
    last_request: u32,
    /// What has travelled with the first words and has not been asked for since.
    ahead: Option<MasterRequest>,
}

/// Connects to `target`, trying each of its addresses once.
pub(crate) fn reach(target: &Target, first: First<'_>, context: &Context) -> Attempt<Reached> {
    let mut last = None;
    for address in resolve(&target.host, target.port, context)? {
        match reach_address(address, target, first, context) {
            Err(fault @ Fault::Failed(_)) => return Err(fault),
            Err(fault) => last = Some(fault),
            found => return found,
        }
    }
    Err(last.unwrap_or_else(|| Fault::Lost("no such host".to_owned())))
}

fn reach_address(
    address: SocketAddr,
    target: &Target,
    first: First<'_>,
    context: &Context,
) -> Attempt<Reached> {
    let ahead = Some(first).filter(|_| context.options.login.is_none());
    let met = meet(
        address,
        Peer::Named(target),
        context,
        |connection, may_ask| {
            let asked = ahead.filter(|_| may_ask);
            if let Some(first) = asked {
                first.ask(connection);
            }
            Ok(asked.is_some())
        },
    )?;
    let Met {
        connection,
        preface,
        is_asked,
    } = met;
    let ahead = ahead.filter(|_| is_asked);
    match preface.role {
        Role::Master => {
            let mut master = Master {
                connection,
                host: address.ip(),
                last_request: First::NUMBER_TO_SLAVE,
                ahead: ahead.map(|first| first.of_master.clone()),
            };
            if let Some(login) = &context.options.login {
                master.log_in(login.as_ref(), target)?;
            }
            Ok(Reached::Master(Box::new(master)))
        }
        Role::Slave if preface.login_required && preface.features & FEATURE_LOGIN == 0 => {
            let sentence =
                "login required: this slave serves the clients of its master, connect to that one";
            Err(ClientError::new(ClientErrorKind::Login, sentence).into())
        }
        Role::Slave => {
            let key = Key::Name(target.clone());
            let mut session = Session::new(connection, &preface, key, context);
            session.log_in(&preface, context)?;
            if let Some(first) = ahead {
                session.note_strange(First::NUMBER_TO_MASTER);
                if let Some(request) = first.of_slave {
                    session.note_ahead(First::NUMBER_TO_SLAVE, request);
                }
            }
            Ok(Reached::Slave(Box::new(session)))
        }
    }
}

impl Master {
    /// Who serves this client? The question is a [`MasterRequest::Locate`].
    pub(crate) fn locate(&mut self, question: &MasterRequest) -> Attempt<Located> {
        match self.ask(question)? {
            MasterReply::Located { slaves, life, .. } => Ok(Located {
                offers: slaves.into_iter().map(|offer| self.offer(offer)).collect(),
                life: Duration::from_secs(life.into()),
            }),
            _ => Err(Fault::nonsense("an answer to something else")),
        }
    }

    fn log_in(&mut self, login: &dyn Credentials, target: &Target) -> Attempt<()> {
        let number = self.next_number();
        Confidential::for_password(&mut self.connection)?
            .log_in_at_master(number, login, target)?;
        match self.answer_within(LOGIN_LIMIT, number).map_err(refused)? {
            MasterReply::Welcome { .. } => Ok(()),
            _ => Err(Fault::nonsense("an answer to something else")),
        }
    }

    /// Asks one thing and waits for the answer.
    pub(crate) fn ask(&mut self, request: &MasterRequest) -> Attempt<MasterReply> {
        let number = match self.ahead.take() {
            Some(ahead) if ahead == *request => First::NUMBER_TO_MASTER,
            _ => {
                let number = self.next_number();
                self.connection.send(number, request);
                number
            }
        };
        self.answer_within(ANSWER_LIMIT, number)
    }

    fn next_number(&mut self) -> u32 {
        self.last_request = self.last_request.wrapping_add(1).max(1);
        self.last_request
    }

    /// The answer to the request `number`, which was collected last; what is answered to others before is passed over.
    fn answer_within(&mut self, limit: Duration, number: u32) -> Attempt<MasterReply> {
        self.connection.stream().set_limit(limit);
        self.connection
            .flush()
            .map_err(|error| Fault::from_socket(&error))?;
        loop {
            let header = self.connection.receive_answer()?;
            match self.connection.decode(&header)? {
                _ if (1..number).contains(&header.request) => {}
                MasterReply::Error {
                    code: ErrorCode::NoSlave,
                    ..
                } => return Err(Fault::Refused(ErrorCode::NoSlave)),
                MasterReply::Error { code, .. } => return Err(code.into()),
                _ if header.request != number => {
                    return Err(Fault::nonsense("an answer out of order"));
                }
                reply => return Ok(reply),
            }
        }
    }

    fn offer(&self, offer: SlaveOffer) -> Offer {
        Offer {
            pass: Pass::new(&offer),
            has_room: offer.sessions < offer.places,
            addresses: offer.addresses,
            host: self.host,
        }
    }
}

impl Offer {
    /// Opens a session, trying each of the slave's addresses once; `ahead` as in [`Session::open`].
    pub(crate) fn open(&self, ahead: Option<&Request>, context: &Context) -> Attempt<Session> {
        let mut first = None;
        let key = Key::Ticket(self.pass.clone());
        for address in &self.addresses {
            let located = match self.locate(address, context) {
                Err(Fault::Lost(cause)) => {
                    let name = written(address, self.host);
                    first.get_or_insert(Fault::Lost(format!("{name}: {cause}")));
                    continue;
                }
                located => located?,
            };
            for address in located {
                match Session::open(address, &key, ahead, context) {
                    Ok(session) => return Ok(session),
                    Err(Fault::Lost(cause)) => {
                        first.get_or_insert(Fault::Lost(format!("{address}: {cause}")));
                    }
                    Err(fault) => return Err(fault),
                }
            }
        }
        Err(first.unwrap_or_else(|| Fault::Lost("it has no address".to_owned())))
    }

    fn locate(&self, address: &Address, context: &Context) -> Attempt<Vec<SocketAddr>> {
        Ok(match address {
            Address::SameHost { port } => same_host(self.host)
                .map(|ip| SocketAddr::new(ip, *port))
                .collect(),
            Address::Ip { ip, port } => vec![SocketAddr::new(*ip, *port)],
            Address::Name { host, port } => return resolve(host.as_str(), *port, context),
        })
    }
}

/// Where a slave on the master's machine may listen. This machine has several names for itself, and a slave need not
/// listen under the one by which the master was reached. Whoever of this machine listens there instead is shown the ticket,
/// unless TLS is asked for.
fn same_host(host: IpAddr) -> impl Iterator<Item = IpAddr> {
    let others = [
        IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::LOCALHOST),
    ];
    let others = others
        .into_iter()
        .filter(move |other| host.is_loopback() && *other != host);
    std::iter::once(host).chain(others)
}

/// A slave's address as people write it; that of a slave on the master's machine with the host at which the master was
/// reached.
pub(crate) fn written(address: &Address, host: IpAddr) -> String {
    match address {
        Address::SameHost { port } => SocketAddr::new(host, *port).to_string(),
        Address::Ip { ip, port } => SocketAddr::new(*ip, *port).to_string(),
        Address::Name { host, port } => format!("{}:{port}", host.as_str()),
    }
}

impl Master {
    pub(crate) fn host(&self) -> IpAddr {
        self.host
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slave_on_this_machine_is_looked_for_under_all_its_names() {
        let hosts = |host: &str| -> Vec<_> {
            let hosts = same_host(host.parse().unwrap());
            hosts.map(|ip| ip.to_string()).collect()
        };
        assert_eq!(hosts("127.0.0.1"), ["127.0.0.1", "::1"]);
        assert_eq!(hosts("::1"), ["::1", "127.0.0.1"]);
        assert_eq!(hosts("127.0.0.3"), ["127.0.0.3", "127.0.0.1", "::1"]);
        assert_eq!(hosts("192.0.2.1"), ["192.0.2.1"]);
    }
}
