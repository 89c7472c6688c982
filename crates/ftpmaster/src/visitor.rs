//! Who a client is: nobody in particular, or the owner of an account.

use std::net::IpAddr;

use admission::{Limit, Offence, REFUSED_LOGINS, UNKNOWN_REQUESTS, Visit};
use auth::{Attempt, LoginError, PasswordHash, UserName};
use protocol::{ErrorCode, MasterReply, RemotePath, Rights, Secretive, Text};
use tracing::{error, info};

use crate::master::{Master, Settings};

/// What is known of the client of one connection.
#[derive(Debug, Default)]
pub(crate) struct Visitor {
    /// As which account it has logged in, and with which password: another one ends what the old one opened.
    login: Option<(UserName, PasswordHash)>,
    refusals: u32,
    unknown_requests: u32,
    /// Whether it may not come in, whoever it is.
    is_turned_away: bool,
}

/// Where a login comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    pub(crate) ip: IpAddr,
    /// Whether nobody else can hear the password.
    pub(crate) is_private: bool,
}

/// What a client may do, and where: what its tickets will say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Empty for everybody.
    pub(crate) user: String,
    pub(crate) rights: Rights,
    pub(crate) home: RemotePath,
    pub(crate) quota: Option<u64>,
}

impl Standing {
    /// That of clients who need no account.
    pub(crate) fn of_everybody(rights: Rights) -> Self {
        Self {
            user: String::new(),
            rights,
            home: RemotePath::root(),
            quota: None,
        }
    }
}

impl Visitor {
    /// What the client may do by what counts now; `None`: it must log in first.
    pub(crate) fn standing(&self, settings: &Settings) -> Option<Standing> {
        let Some((name, password)) = &self.login else {
            return settings.everybody.map(Standing::of_everybody);
        };
        let (name, account) = settings.accounts.as_ref()?.get(name.as_str())?;
        (account.password == *password).then(|| Standing {
            user: name.to_string(),
            rights: account.rights,
            home: account.home.path().clone(),
            quota: account.quota,
        })
    }

    /// Whether the connection ends: it may not come in, or too many logins were refused.
    pub(crate) const fn is_refused(&self) -> bool {
        self.is_turned_away || self.refusals >= REFUSED_LOGINS
    }

    /// It asked for what nobody knows. Who does that again and again without saying who they are speaks something else.
    pub(crate) fn asks_nonsense(&mut self, master: &Master) {
        self.unknown_requests += 1;
        let is_known = self.standing(&master.settings()).is_some();
        if self.unknown_requests >= UNKNOWN_REQUESTS && !is_known {
            master.gate.hit(Limit::UnknownRequests);
            self.is_turned_away = true;
        }
    }

    fn count_refusal(&mut self, master: &Master) {
        self.refusals += 1;
        if self.refusals == REFUSED_LOGINS {
            master.gate.hit(Limit::RefusedLogins);
        }
    }

    /// The answer to a login, which takes its time.
    pub(crate) fn log_in(
        &mut self,
        master: &Master,
        origin: Origin,
        visit: &mut Visit,
        (user, password): (&Text, &Secretive),
    ) -> MasterReply {
        let Some(accounts) = master.settings().accounts else {
            return refusal(ErrorCode::Unsupported, "this master has no accounts");
        };
        self.login = None;
        if !origin.is_private {
            self.count_refusal(master);
            let detail = "passwords are not taken in the clear from another machine";
            return refusal(ErrorCode::LoginRefused, detail);
        }
        let attempt = Attempt {
            user: user.as_str(),
            password: password.reveal(),
            source: visit.source(),
        };
        if visit.is_shut_out() {
            self.is_turned_away = true;
            return turn_away(master, Limit::Penalty);
        }
        match master.gatekeeper.check(&accounts, attempt) {
            Ok((name, account)) => {
                if let Err(limit) = visit.begin(name.as_str()) {
                    self.is_turned_away = true;
                    return refusal(ErrorCode::Busy, limit.sentence());
                }
                info!("{name} logs in from {}", origin.ip);
                self.login = Some((name.clone(), account.password.clone()));
                MasterReply::Welcome {
                    rights: account.rights,
                }
            }
            Err(error) => {
                self.count_refusal(master);
                // The name stays out of the log: people type passwords there.
                info!("a login from {} fails: {error}", origin.ip);
                match error {
                    LoginError::Refused => {
                        visit.offend(Offence::AuthFailed);
                        refusal(ErrorCode::LoginRefused, "")
                    }
                    LoginError::Busy => turn_away(master, Limit::LoginQueue),
                    LoginError::Failed(cause) => {
                        error!("cannot check a login: {cause}");
                        refusal(ErrorCode::Internal, "")
                    }
                }
            }
        }
    }
}

/// Says which limit is reached, and counts it.
fn turn_away(master: &Master, limit: Limit) -> MasterReply {
    master.gate.hit(limit);
    refusal(ErrorCode::Busy, limit.sentence())
}

fn refusal(code: ErrorCode, detail: &str) -> MasterReply {
    MasterReply::Error {
        code,
        detail: Text::new(detail),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use admission::Limits;
    use auth::tls::Reception;
    use auth::{Account, Accounts, StateDirectory};

    use super::*;
    use crate::rotation::Policy;

    const HERE: Origin = Origin {
        ip: IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
        is_private: true,
    };

    fn accounts(password: &str) -> Arc<Accounts> {
        let mut accounts = Accounts::default();
        let account = Account {
            password: PasswordHash::of(password.as_bytes()).unwrap(),
            rights: Rights::READ,
            home: "/pub".parse().unwrap(),
            quota: None,
        };
        accounts.add("ada".parse().unwrap(), account);
        Arc::new(accounts)
    }

    fn master(accounts: Option<Arc<Accounts>>) -> Master {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDirectory::open(Some(&folder.path().join("state"))).unwrap();
        let settings = Settings {
            policy: Policy::RoundRobin,
            everybody: None,
            accounts,
            reception: Reception::default(),
        };
        Master::new(&state, settings, Limits::default()).unwrap()
    }

    fn answer(
        visitor: &mut Visitor,
        master: &Master,
        origin: Origin,
        password: &str,
    ) -> MasterReply {
        let password = Secretive::new(password.as_bytes()).unwrap();
        let mut visit = master.gate.enter(origin.ip).unwrap();
        visitor.log_in(master, origin, &mut visit, (&Text::new("ada"), &password))
    }

    fn code(reply: &MasterReply) -> Option<ErrorCode> {
        match reply {
            MasterReply::Error { code, .. } => Some(*code),
            _ => None,
        }
    }

    #[test]
    fn a_login_counts_for_as_long_as_account_and_password_are_the_same() {
        let master = master(Some(accounts("right")));
        let mut visitor = Visitor::default();
        assert_eq!(visitor.standing(&master.settings()), None);
        assert_eq!(code(&answer(&mut visitor, &master, HERE, "right")), None);
        let standing = visitor.standing(&master.settings()).unwrap();
        assert_eq!(
            (standing.user.as_str(), standing.rights),
            ("ada", Rights::READ)
        );
        assert_eq!(standing.home.as_bytes(), b"/pub");
        // The same password, set anew, is another one: somebody may have guessed it.
        for accounts in [Some(accounts("right")), Some(Arc::default()), None] {
            master.set_settings(Settings {
                accounts,
                ..master.settings()
            });
            assert_eq!(visitor.standing(&master.settings()), None);
        }
    }

    #[test]
    fn a_refused_login_ends_the_one_before() {
        let master = master(Some(accounts("right")));
        let mut visitor = Visitor::default();
        answer(&mut visitor, &master, HERE, "right");
        let refused = answer(&mut visitor, &master, HERE, "wrong");
        assert_eq!(code(&refused), Some(ErrorCode::LoginRefused));
        assert_eq!(visitor.standing(&master.settings()), None);
    }

    /// One that comes from this machine and yet has an address of its own.
    fn neighbour(number: u8) -> Origin {
        Origin {
            ip: [192, 0, 2, number].into(),
            is_private: true,
        }
    }

    #[test]
    fn a_source_of_failed_logins_is_not_listened_to_even_with_the_right_password() {
        let master = master(Some(accounts("right")));
        let answer = |origin, password| {
            let mut visitor = Visitor::default();
            let reply = answer(&mut visitor, &master, origin, password);
            (code(&reply), visitor.is_refused())
        };
        // All of them were let in before the first fails.
        let visits: Vec<_> = (0..2)
            .map(|_| master.gate.enter(neighbour(1).ip).unwrap())
            .collect();
        for _ in 0..3 {
            let refused = answer(neighbour(1), "wrong");
            assert_eq!(refused, (Some(ErrorCode::LoginRefused), false));
        }
        assert!(master.gate.enter(neighbour(1).ip).is_err());
        for mut visit in visits {
            let mut visitor = Visitor::default();
            let login = (&Text::new("ada"), &Secretive::new(b"right").unwrap());
            let reply = visitor.log_in(&master, neighbour(1), &mut visit, login);
            assert_eq!(code(&reply), Some(ErrorCode::Busy));
            assert!(visitor.is_refused());
        }
        assert_eq!(answer(neighbour(2), "right"), (None, false));
    }

    #[test]
    fn a_user_has_so_many_logins_at_once() {
        let master = master(Some(accounts("right")));
        master.gate.set_limits(Limits {
            per_user: 1,
            ..Limits::default()
        });
        let login = (&Text::new("ada"), &Secretive::new(b"right").unwrap());
        let log_in = |number| {
            let mut visitor = Visitor::default();
            let mut visit = master.gate.enter(neighbour(number).ip).unwrap();
            let reply = visitor.log_in(&master, neighbour(number), &mut visit, login);
            (code(&reply), visitor.is_refused(), visit)
        };
        let (welcome, _, visit) = log_in(1);
        assert_eq!(welcome, None);
        let (refused, is_refused, _) = log_in(2);
        assert_eq!((refused, is_refused), (Some(ErrorCode::Busy), true));
        drop(visit);
        assert_eq!(log_in(2).0, None);
    }

    #[test]
    fn passwords_that_others_could_hear_are_not_taken() {
        let master = master(Some(accounts("right")));
        let mut visitor = Visitor::default();
        let elsewhere = Origin {
            ip: "192.0.2.1".parse().unwrap(),
            is_private: false,
        };
        for number in 1..=REFUSED_LOGINS {
            let refused = answer(&mut visitor, &master, elsewhere, "right");
            assert_eq!(code(&refused), Some(ErrorCode::LoginRefused));
            assert_eq!(visitor.is_refused(), number == REFUSED_LOGINS);
        }
        assert_eq!(visitor.standing(&master.settings()), None);
    }
}
