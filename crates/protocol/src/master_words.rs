//! What clients and slaves ask of the master, and what it answers.

use crate::message::messages;
use crate::{
    Address, ErrorCode, Fingerprint, Nonce, Proof, Revocation, Rights, Secret, Secretive, SlaveId,
    SlaveOffer, SlaveState, StorageId, Text,
};

messages! {
    /// A request to the master.
    pub enum MasterRequest {
        /// Which slave serves me? Answered by [`MasterReply::Located`], or the error `no-slave`.
        Locate = 0x0201 {
            /// Slaves that this client found dead or busy just now: offered last.
            tried: Vec<SlaveId>,
            /// Whether this only renews tickets: then no turn is taken.
            renew: bool,
        }
        /// What do you know of your slaves? Answered by [`MasterReply::Slaves`].
        ListSlaves = 0x0202 {}
        /// Who I am. Answered by [`MasterReply::Welcome`].
        Login = 0x0203 {
            /// Account's name.
            user: Text,
            /// Its password.
            password: Secretive,
        }
        /// A slave wants to serve. Answered by [`MasterReply::Challenge`].
        Register = 0x0210 {
            /// Drawn by the slave for this registration.
            nonce: Nonce,
            /// Who it is.
            slave: SlaveId,
            /// The storage it serves.
            storage: StorageId,
            /// Where it says it can be reached. [`Address::SameHost`] stands for the host that this connection comes from.
            addresses: Vec<Address>,
            /// By which clients shall know it over TLS.
            fingerprint: Option<Fingerprint>,
        }
        /// The slave's answer to the challenge. Answered by [`MasterReply::Registered`].
        Prove = 0x0211 {
            /// HMAC under the slave's registration key of `mini-ftp slave`, both nonces (the slave's first), slave, storage,
            /// connection, fingerprint, addresses.
            proof: Proof,
        }
        /// The slave is alive: once a second. Answered by [`MasterReply::Noted`].
        Heartbeat = 0x0212 {
            /// Sessions it serves now.
            sessions: u32,
            /// Sessions it can serve at once.
            places: u32,
            /// Whether it is shutting down.
            draining: bool,
        }
        /// A slave that does not have the master key asks for keys with an invitation. Answered by [`MasterReply::Joined`].
        Join = 0x0213 {
            /// The secret of the invitation: 16 bytes.
            token: Secretive,
            /// Who it is.
            slave: SlaveId,
        }
    }
}

messages! {
    /// An answer of the master.
    pub enum MasterReply {
        /// The closing answer to a request that was not carried out.
        Error = 0x8000 {
            /// Why.
            code: ErrorCode,
            /// What a person should know beyond the code's own sentence; often empty.
            detail: Text,
        }
        /// The slaves that may serve this client, the one whose turn it is first.
        Located = 0x8201 {
            /// In the order in which to try them.
            slaves: Vec<SlaveOffer>,
            /// When the tickets end, seconds since the epoch by the master's clock.
            expires: u64,
            /// Seconds for which the tickets are good from now.
            life: u32,
        }
        /// What the master knows of its slaves.
        Slaves = 0x8202 {
            /// Every slave known, in a stable order.
            slaves: Vec<SlaveState>,
        }
        /// The login succeeded.
        Welcome = 0x8203 {
            /// What the account may do.
            rights: Rights,
        }
        /// Prove that you hold the registration key.
        Challenge = 0x8210 {
            /// Drawn by the master for this registration.
            nonce: Nonce,
            /// HMAC under the slave's registration key of `mini-ftp master` and the same parts as in
            /// [`MasterRequest::Prove`]: so that a slave, too, knows whom it talks to.
            proof: Proof,
        }
        /// The slave is registered until this connection ends.
        Registered = 0x8211 {
            /// The master's clock, seconds since the epoch.
            now: u64,
        }
        /// The heartbeat was heard.
        Noted = 0x8212 {
            /// The master's clock, seconds since the epoch.
            now: u64,
            /// Whose tickets are no longer good, as far as this connection has not said it before; at most
            /// [`MAX_REVOCATIONS`](crate::limits::MAX_REVOCATIONS).
            revoked: Vec<Revocation>,
        }
        /// The slave's own keys, for an invitation.
        Joined = 0x8213 {
            /// Ticket key of this slave alone.
            ticket_key: Secret,
            /// Registration key of this slave alone.
            registration_key: Secret,
        }
    }
}
