//! Who the user is, and to whom that may be said.

use std::fmt::Debug;
use std::net::SocketAddr;

use protocol::{ErrorCode, Secretive};

use crate::context::Context;
use crate::fault::{Attempt, Fault};
use crate::{ClientError, ClientErrorKind, Result, Target};

/// A name and what proves it. Asked for the password whenever somebody must log in, in the background and from any thread
/// too: what a person was asked once should be remembered.
pub trait Credentials: Debug + Send + Sync {
    /// The account's name.
    fn user(&self) -> &str;

    /// Its password at `target`, as the user named it.
    ///
    /// # Errors
    /// There is none to be had, best with [`ClientErrorKind::Login`]; that ends what needed it.
    fn password(&self, target: &Target) -> Result<Secretive>;
}

/// A name and a password that may be said to the server at `address`. `None` where nobody is to log in.
///
/// # Errors
/// The password would leave this machine in the clear; what the credentials say.
pub(crate) fn credentials(
    target: &Target,
    address: SocketAddr,
    context: &Context,
) -> Attempt<Option<(String, Secretive)>> {
    let Some(login) = &context.options.login else {
        return Ok(None);
    };
    // Before anybody is asked for it.
    if !address.ip().to_canonical().is_loopback() {
        let sentence = "a password is not sent in the clear to another machine";
        return Err(ClientError::new(ClientErrorKind::Insecure, sentence).into());
    }
    Ok(Some((login.user().to_owned(), login.password(target)?)))
}

/// What a refused login means: no other address, master or slave would take it.
pub(crate) fn refused(fault: Fault) -> Fault {
    match fault {
        Fault::Refused(code @ ErrorCode::LoginRefused) => Fault::Failed(code.into()),
        Fault::Failed(error) if error.is(ErrorCode::Unsupported) => no_accounts(),
        other => other,
    }
}

/// The user is somebody, and the server knows nobody.
pub(crate) fn no_accounts() -> Fault {
    let sentence = "the server has no accounts: nobody can log in there";
    ClientError::new(ClientErrorKind::LoginRefused, sentence).into()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{Interrupt, Options, Silent};

    #[derive(Debug)]
    struct Ada;

    impl Credentials for Ada {
        fn user(&self) -> &'static str {
            "ada"
        }

        fn password(&self, _: &Target) -> Result<Secretive> {
            Ok(Secretive::new(b"secret").unwrap())
        }
    }

    #[test]
    fn a_password_stays_on_this_machine() {
        let options = Options {
            login: Some(Arc::new(Ada)),
            ..Options::default()
        };
        let context = Context::new(options, Arc::new(Silent), Interrupt::default());
        let target = Target::parse_list("host", 1).unwrap().remove(0);
        let given = |address: &str| credentials(&target, address.parse().unwrap(), &context);
        for address in [
            "127.0.0.1:1",
            "127.9.9.9:1",
            "[::1]:1",
            "[::ffff:127.0.0.1]:1",
        ] {
            assert!(given(address).unwrap().is_some(), "{address}");
        }
        for address in [
            "0.0.0.0:1",
            "10.0.0.1:1",
            "[::]:1",
            "[2001:db8::1]:1",
            "[::ffff:10.0.0.1]:1",
        ] {
            let fault = given(address).unwrap_err();
            assert_eq!(fault.error_kind(), ClientErrorKind::Insecure, "{address}");
        }
    }
}
