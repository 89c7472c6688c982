//! Who a client is: nobody in particular, or the owner of an account.

use std::net::IpAddr;

use auth::{Attempt, LoginError, PasswordHash, UserName};
use protocol::{ErrorCode, MasterReply, RemotePath, Rights, Secretive, Text};
use tracing::{error, info};

use crate::limits::MAX_REFUSALS;
use crate::master::{Master, Settings};

/// What is known of the client of one connection.
#[derive(Debug, Default)]
pub(crate) struct Visitor {
    /// As which account it has logged in, and with which password: another one ends what the old one opened.
    login: Option<(UserName, PasswordHash)>,
    refusals: u32,
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
}

impl Standing {
    /// That of clients who need no account.
    pub(crate) fn of_everybody(rights: Rights) -> Self {
        Self {
            user: String::new(),
            rights,
            home: RemotePath::root(),
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
        })
    }

    /// Whether so many logins were refused that the connection ends.
    pub(crate) const fn is_refused(&self) -> bool {
        self.refusals >= MAX_REFUSALS
    }

    /// The answer to a login, which takes its time.
    pub(crate) fn log_in(
        &mut self,
        master: &Master,
        origin: Origin,
        (user, password): (&Text, &Secretive),
    ) -> MasterReply {
        let Some(accounts) = master.settings().accounts else {
            return refusal(ErrorCode::Unsupported, "this master has no accounts");
        };
        self.login = None;
        if !origin.is_private {
            self.refusals += 1;
            let detail = "passwords are not taken in the clear from another machine";
            return refusal(ErrorCode::LoginRefused, detail);
        }
        let attempt = Attempt {
            user: user.as_str(),
            password: password.reveal(),
            source: origin.ip,
        };
        match master.gatekeeper.check(&accounts, attempt) {
            Ok((name, account)) => {
                info!("{name} logs in from {}", origin.ip);
                self.login = Some((name.clone(), account.password.clone()));
                MasterReply::Welcome {
                    rights: account.rights,
                }
            }
            Err(error) => {
                self.refusals += 1;
                // The name stays out of the log: people type passwords there.
                info!("a login from {} fails: {error}", origin.ip);
                match error {
                    LoginError::Refused => refusal(ErrorCode::LoginRefused, ""),
                    LoginError::Busy => refusal(ErrorCode::Busy, "too many logins at once"),
                    LoginError::TooMany => refusal(ErrorCode::Busy, "too many failed logins"),
                    LoginError::Failed(cause) => {
                        error!("cannot check a login: {cause}");
                        refusal(ErrorCode::Internal, "")
                    }
                }
            }
        }
    }
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
        Master::new(&state, settings).unwrap()
    }

    fn answer(
        visitor: &mut Visitor,
        master: &Master,
        origin: Origin,
        password: &str,
    ) -> MasterReply {
        let password = Secretive::new(password.as_bytes()).unwrap();
        visitor.log_in(master, origin, (&Text::new("ada"), &password))
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

    #[test]
    fn passwords_that_others_could_hear_are_not_taken() {
        let master = master(Some(accounts("right")));
        let mut visitor = Visitor::default();
        let elsewhere = Origin {
            ip: "192.0.2.1".parse().unwrap(),
            is_private: false,
        };
        for number in 1..=MAX_REFUSALS {
            let refused = answer(&mut visitor, &master, elsewhere, "right");
            assert_eq!(code(&refused), Some(ErrorCode::LoginRefused));
            assert_eq!(visitor.is_refused(), number == MAX_REFUSALS);
        }
        assert_eq!(visitor.standing(&master.settings()), None);
    }
}
