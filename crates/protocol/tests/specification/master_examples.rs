//! The typed message behind every example of what the master hears and says.

use std::net::IpAddr;

use protocol::*;

use crate::document::Document;
use crate::examples::*;

const NOW: u64 = 1_800_000_000;
const FINGERPRINT: Fingerprint = Fingerprint([0x99; 32]);

pub(crate) fn master_requests() -> Examples<MasterRequest> {
    let (sessions, places) = ROOM;
    let addresses = vec![Address::SameHost { port: 2122 }];
    let hidden = |text: &str| Secretive::new(text.as_bytes()).unwrap();
    vec![
        (
            "locate",
            1,
            MasterRequest::Locate {
                tried: vec![SLAVE],
                renew: false,
            },
        ),
        ("list-slaves", 2, MasterRequest::ListSlaves {}),
        (
            "login",
            1,
            MasterRequest::Login {
                user: Text::new("ada"),
                password: hidden("secret"),
            },
        ),
        (
            "register",
            1,
            MasterRequest::Register {
                nonce: OF_SLAVE,
                slave: SLAVE,
                storage: STORAGE,
                addresses,
                fingerprint: Some(FINGERPRINT),
            },
        ),
        (
            "prove",
            2,
            MasterRequest::Prove {
                proof: proof_in("prove", 0),
            },
        ),
        (
            "heartbeat",
            3,
            MasterRequest::Heartbeat {
                sessions,
                places,
                draining: false,
            },
        ),
        (
            "join",
            1,
            MasterRequest::Join {
                token: Secretive::new(&[0xbb; 16]).unwrap(),
                slave: SLAVE,
            },
        ),
    ]
}

pub(crate) fn master_replies() -> Examples<MasterReply> {
    let (sessions, places) = ROOM;
    let at = |ip: &str| Address::Ip {
        ip: ip.parse::<IpAddr>().unwrap(),
        port: 2122,
    };
    let named = Address::Name {
        host: Text::new("files"),
        port: 2122,
    };
    let offer = SlaveOffer {
        id: SLAVE,
        addresses: vec![Address::SameHost { port: 2122 }, at("192.0.2.7")],
        ticket: ticket(),
        secret: SECRET,
        sessions,
        places,
        fingerprint: Some(FINGERPRINT),
    };
    let state = SlaveState {
        id: SLAVE,
        addresses: vec![at("::1"), named],
        status: SlaveStatus::Up,
        sessions,
        places,
    };
    let mut examples = vec![
        (
            "located",
            1,
            MasterReply::Located {
                slaves: vec![offer],
                expires: NOW + 600,
                life: 600,
            },
        ),
        (
            "slaves",
            2,
            MasterReply::Slaves {
                slaves: vec![state],
            },
        ),
        (
            "login-welcome",
            1,
            MasterReply::Welcome {
                rights: Rights::READ_ONLY,
            },
        ),
    ];
    examples.extend(registering());
    examples
}

fn registering() -> Examples<MasterReply> {
    let key = |name| Secret(*Document::read().example(name).last_chunk().unwrap());
    let joined = MasterReply::Joined {
        ticket_key: key("ticket-key"),
        registration_key: key("registration-key"),
    };
    vec![
        (
            "challenge",
            1,
            MasterReply::Challenge {
                nonce: OF_MASTER,
                proof: proof_in("challenge", 0),
            },
        ),
        ("registered", 2, MasterReply::Registered { now: NOW }),
        (
            "noted",
            3,
            MasterReply::Noted {
                now: NOW + 1,
                revoked: vec![Revocation {
                    user: Some(Text::new("ada")),
                    until: NOW * 1000 + 500,
                }],
            },
        ),
        ("joined", 1, joined),
    ]
}
