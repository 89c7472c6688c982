//! Who the user is, and what it means where nobody believes it.

use std::fmt::Debug;

use protocol::{ErrorCode, Secretive};

use crate::fault::Fault;
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
