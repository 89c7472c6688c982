//! A slave that shows an invitation is given keys of its own.

use std::time::Instant;

use auth::JoinError;
use protocol::{ErrorCode, MasterReply, Secret, Secretive, SlaveId, Text};
use tracing::{error, info, warn};

use crate::fleet::NotJoined;
use crate::master::Master;
use crate::stream::Peer;

/// The answer to a slave that shows `token`. Whether what is said to `peer` stays between the two is the caller's to know.
pub(crate) fn join(
    master: &Master,
    peer: Peer,
    is_private: bool,
    (token, slave): (&Secretive, SlaveId),
) -> MasterReply {
    let from = peer.ip;
    if !is_private {
        let detail = "keys are not given out in the clear to another machine";
        return refusal(ErrorCode::LoginRefused, detail);
    }
    let serves = master.registry().serves(slave, Instant::now());
    match master.fleet.join(token.reveal(), (slave, serves)) {
        Ok(generation) => {
            warn!(%slave, %from, "has joined with an invitation");
            let (key, registration) = (
                master.key.slave_key(&slave, generation),
                master.key.registration_key(&slave, generation),
            );
            MasterReply::Joined {
                ticket_key: Secret(key.to_bytes()),
                registration_key: Secret(registration.to_bytes()),
            }
        }
        Err(NotJoined::Refused(reason)) => {
            info!(%slave, %from, "has not joined: {reason}");
            let code = match reason {
                JoinError::NotInvited => ErrorCode::LoginRefused,
                JoinError::Member(_) => ErrorCode::DuplicateSlave,
                JoinError::TooMany => ErrorCode::Busy,
            };
            refusal(code, &reason.to_string())
        }
        Err(NotJoined::Failed(cause)) => {
            error!("cannot take a slave in: {}", cli::one_line(&cause.into()));
            refusal(ErrorCode::Internal, "")
        }
    }
}

fn refusal(code: ErrorCode, detail: &str) -> MasterReply {
    MasterReply::Error {
        code,
        detail: Text::new(detail),
    }
}
