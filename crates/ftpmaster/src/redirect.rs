//! Sending a client on: the slave whose turn it is, the others behind it, and a ticket for each.

use std::collections::HashSet;
use std::time::Instant;

use auth::{Grant, IssueError, fresh_secret, issue};
use protocol::limits::TICKET_LIFE_S;
use protocol::{
    Address, ErrorCode, MasterReply, Secret, SlaveId, SlaveOffer, SlaveState, SlaveStatus, Text,
    Ticket,
};
use tracing::error;

use crate::limits::MAX_ANSWER;
use crate::master::{Master, unix_now};
use crate::registry::{Candidate, Query};
use crate::visitor::Standing;

/// The answer to a client that asks for slaves and has had that standing since the moment `issued`.
pub(crate) fn located(
    master: &Master,
    (standing, issued): (&Standing, u64),
    tried: &[SlaveId],
    renew: bool,
) -> MasterReply {
    let settings = master.settings();
    let query = Query {
        policy: settings.policy,
        tried,
        takes_turn: !renew,
    };
    let mut candidates = master.registry().locate(query, Instant::now());
    let fleet = master.fleet.now();
    candidates.retain(|candidate| match fleet.generation(&candidate.id) {
        // Its keys do not count any more.
        None => false,
        Some(generation) if candidate.keyed => generation == candidate.generation,
        // A slave that asks for no ticket would let this client do everything.
        Some(_) => settings.accounts.is_none(),
    });
    if candidates.is_empty() {
        return no_slave(master);
    }
    let expires = unix_now().saturating_add(TICKET_LIFE_S);
    let mut room = MAX_ANSWER;
    let mut slaves = Vec::new();
    for candidate in candidates {
        let offer = match offer(master, candidate, standing, (issued, expires)) {
            Ok(offer) => offer,
            Err(error) => return failed(&error),
        };
        match room.checked_sub(weight(&offer.addresses, offer.ticket.as_bytes().len())) {
            Some(rest) => room = rest,
            None => break,
        }
        slaves.push(offer);
    }
    MasterReply::Located {
        slaves,
        expires,
        life: u32::try_from(TICKET_LIFE_S).unwrap_or(u32::MAX),
    }
}

/// The answer to whoever asks what the master knows of its slaves.
pub(crate) fn slaves(master: &Master) -> MasterReply {
    let states = master.registry().states(Instant::now());
    MasterReply::Slaves {
        slaves: those_that_fit(states),
    }
}

/// Of all, in their order, as many as one answer holds: rather those that are there, then rather the latest.
fn those_that_fit(mut states: Vec<SlaveState>) -> Vec<SlaveState> {
    let mut by_worth: Vec<usize> = (0..states.len()).rev().collect();
    by_worth.sort_by_key(|index| {
        let is_down = |state: &SlaveState| state.status == SlaveStatus::Down;
        states.get(*index).is_none_or(is_down)
    });
    let mut room = MAX_ANSWER;
    let fits = |index: &usize| {
        let addresses = states.get(*index).map(|state| &*state.addresses);
        let rest = room.checked_sub(weight(addresses.unwrap_or_default(), 0));
        room = rest.unwrap_or(0);
        rest.is_some()
    };
    let kept: HashSet<usize> = by_worth.into_iter().filter(fits).collect();
    let mut index = 0..;
    states.retain(|_| index.next().is_some_and(|index| kept.contains(&index)));
    states
}

fn offer(
    master: &Master,
    candidate: Candidate,
    standing: &Standing,
    (issued, expires): (u64, u64),
) -> Result<SlaveOffer, IssueError> {
    let mut secret = Secret([0; 32]);
    let mut ticket = Vec::new();
    // A slave that stands alone has no key, and asks for no ticket.
    if candidate.keyed {
        secret = fresh_secret().map_err(IssueError::Random)?;
        let grant = Grant {
            user: standing.user.clone(),
            rights: standing.rights,
            home: standing.home.clone(),
            slave: candidate.id,
            issued,
            expires,
            quota: standing.quota,
        };
        let key = master.key.slave_key(&candidate.id, candidate.generation);
        ticket = issue(&key, &grant, &secret)?;
    }
    Ok(SlaveOffer {
        id: candidate.id,
        addresses: candidate.addresses,
        ticket: Ticket::new(&ticket).ok_or(IssueError::TooLong)?,
        secret,
        sessions: candidate.load.sessions,
        places: candidate.load.places,
        fingerprint: candidate.fingerprint,
    })
}

/// At least the bytes that a slave with these addresses takes in an answer.
fn weight(addresses: &[Address], ticket: usize) -> usize {
    let names = addresses.iter().map(|address| match address {
        Address::Name { host, .. } => host.as_str().len(),
        Address::SameHost { .. } | Address::Ip { .. } => 16,
    });
    100 + ticket + names.map(|name| name + 8).sum::<usize>()
}

fn no_slave(master: &Master) -> MasterReply {
    let detail = match master.registry().states(Instant::now()).len() {
        0 => "none has registered with this master".to_owned(),
        1 => "the master knows of one, which does not answer".to_owned(),
        known => format!("the master knows of {known}, none of which answers"),
    };
    MasterReply::Error {
        code: ErrorCode::NoSlave,
        detail: Text::new(&detail),
    }
}

/// The client learns that it was not its fault; the cause is for the log.
fn failed(cause: &IssueError) -> MasterReply {
    error!("cannot make a ticket: {cause}");
    MasterReply::Error {
        code: ErrorCode::Internal,
        detail: Text::default(),
    }
}

#[cfg(test)]
mod tests {
    use admission::Limits;
    use std::sync::Arc;

    use auth::tls::Reception;
    use auth::{ClientClaim, StateDirectory, check};
    use protocol::{Fingerprint, Message, Rights, StorageId};

    use super::*;
    use crate::master::Settings;
    use crate::registry::{Found, Load, Newcomer};
    use crate::rotation::Policy;

    fn master(rights: Rights) -> Master {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDirectory::open(Some(&folder.path().join("state"))).unwrap();
        let settings = Settings {
            policy: Policy::RoundRobin,
            everybody: Some(rights),
            accounts: None,
            reception: Reception::default(),
        };
        Master::new(&state, settings, Limits::default()).unwrap()
    }

    fn answer(master: &Master) -> MasterReply {
        let standing = Standing::of_everybody(Rights::READ_ONLY);
        located(master, (&standing, master.clock.now()), &[], false)
    }

    fn register(master: &Master, number: u8, addresses: Vec<Address>) {
        let newcomer = Newcomer {
            id: SlaveId([number; 16]),
            storage: StorageId([7; 16]),
            generation: 0,
            fingerprint: Some(Fingerprint([number; 32])),
            addresses,
            connection: number.into(),
        };
        master
            .registry()
            .register(newcomer, Instant::now())
            .unwrap();
    }

    fn offers(reply: MasterReply) -> Vec<SlaveOffer> {
        match reply {
            MasterReply::Located { slaves, .. } => slaves,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn of_more_slaves_than_an_answer_holds_those_are_told_that_are_there() {
        let state = |number: usize, status| SlaveState {
            id: SlaveId(number.to_be_bytes().repeat(2).try_into().unwrap()),
            addresses: vec![Address::SameHost { port: 1 }],
            status,
            sessions: 0,
            places: 1,
        };
        let mut states: Vec<_> = (0..1000)
            .map(|number| state(number, SlaveStatus::Down))
            .collect();
        states[3].status = SlaveStatus::Draining;
        states[999].status = SlaveStatus::Up;
        let told = those_that_fit(states.clone());
        assert!(told.len() > 100 && told.len() < 1000);
        assert_eq!(told[0], states[3]);
        // Of the others the latest, in their order.
        let latest = states.len() - (told.len() - 1);
        assert_eq!(told[1..], states[latest..]);
        let few = &states[..10];
        assert_eq!(those_that_fit(few.to_vec()), few);
    }

    #[test]
    fn each_slave_comes_with_a_ticket_that_opens_it_alone() {
        let master = master(Rights::READ_ONLY);
        for number in [1, 2] {
            register(&master, number, vec![Address::SameHost { port: 1 }]);
        }
        let offers = offers(answer(&master));
        assert_eq!(offers.len(), 2);
        assert_ne!(offers[0].secret, offers[1].secret);
        let known = offers.iter().map(|offer| offer.fingerprint);
        assert!(known.eq([1, 2].map(|number| Some(Fingerprint([number; 32])))));
        for offer in &offers {
            let claim = ClientClaim {
                ticket: offer.ticket.as_bytes(),
                secret: &offer.secret,
            };
            for other in &offers {
                let key = master.key.slave_key(&other.id, 0);
                let grant = check(&key, &other.id, claim, unix_now());
                assert_eq!(grant.is_ok(), offer.id == other.id);
                assert!(grant.is_err() || grant.unwrap().rights == Rights::READ_ONLY);
            }
        }
    }

    #[test]
    fn a_slave_that_stands_alone_comes_without_one() {
        let master = master(Rights::ALL);
        let place = "2122".parse().unwrap();
        master.registry().set_places(std::slice::from_ref(&place));
        let found = Found {
            id: SlaveId([1; 16]),
            storage: StorageId([7; 16]),
            keyed: false,
            generation: 0,
            fingerprint: None,
            addresses: vec![Address::SameHost { port: 2122 }],
            load: Load::default(),
        };
        master
            .registry()
            .found(&place, found, Instant::now())
            .unwrap();
        let offers = offers(answer(&master));
        assert_eq!(offers[0].ticket.as_bytes(), b"");
        assert_eq!(offers[0].secret, Secret([0; 32]));
        // It would let the owners of accounts do everything.
        master.set_settings(Settings {
            accounts: Some(Arc::default()),
            ..master.settings()
        });
        assert!(matches!(
            answer(&master),
            MasterReply::Error {
                code: ErrorCode::NoSlave,
                ..
            }
        ));
    }

    #[test]
    fn a_ticket_holds_what_the_account_may_do_and_where() {
        let master = master(Rights::ALL);
        register(&master, 1, vec![Address::SameHost { port: 1 }]);
        let standing = Standing {
            user: "ada".to_owned(),
            rights: Rights::READ.with(Rights::WRITE),
            home: "/pub".try_into().unwrap(),
            quota: Some(1024),
        };
        let offer = offers(located(&master, (&standing, 7), &[], false)).remove(0);
        let claim = ClientClaim {
            ticket: offer.ticket.as_bytes(),
            secret: &offer.secret,
        };
        let grant = check(
            &master.key.slave_key(&offer.id, 0),
            &offer.id,
            claim,
            unix_now(),
        )
        .unwrap();
        assert_eq!(grant.issued, 7);
        let granted = Standing {
            user: grant.user,
            rights: grant.rights,
            home: grant.home,
            quota: grant.quota,
        };
        assert_eq!(granted, standing);
    }

    #[test]
    fn without_a_slave_the_client_is_told_so() {
        let MasterReply::Error { code, detail } = answer(&master(Rights::ALL)) else {
            panic!("not an error");
        };
        assert_eq!(code, ErrorCode::NoSlave);
        assert_eq!(detail.as_str(), "none has registered with this master");
    }

    #[test]
    fn an_answer_fits_its_frame_however_long_the_names() {
        let master = master(Rights::ALL);
        let name = |number: u16| Address::Name {
            host: Text::new(&"x".repeat(1024)),
            port: number,
        };
        for number in 1..=70 {
            register(&master, number, (0..8).map(name).collect());
        }
        for reply in [answer(&master), slaves(&master)] {
            let mut payload = Vec::new();
            reply.encode(&mut payload);
            assert!(
                (MAX_ANSWER / 2..64 * 1024).contains(&payload.len()),
                "{}",
                payload.len()
            );
        }
    }
}
