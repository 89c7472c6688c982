//! Invitations, evictions and revocations, as slaves and clients see them.

use std::sync::{Arc, Mutex};

use admission::Limits;
use auth::tls::{Acceptor, Connector, Identity, Reception, Tls, Trust};
use auth::{Account, Accounts, FleetError, Invitation, PasswordHash, RegistrationKey};
use protocol::{
    ErrorCode, MasterReply, MasterRequest, Revocation, Rights, Role, Secretive, SlaveStatus, Text,
};

use super::probed::{Proving, probed_slave};
use super::{Link, STORAGE, World, heartbeat, id, register_over, until};
use crate::master::{Settings, unix_now};
use crate::peer::{Answered, dial_address, shake_hands};
use crate::probe::Probes;

fn invite(world: &World, life: u64) -> Invitation {
    let invitation = Invitation::fresh(None).unwrap();
    let file = world.state.fleet_file().unwrap();
    let expires = unix_now() + life;
    let opened = file.change(|fleet| {
        fleet.invite(&invitation, expires, unix_now()).unwrap();
        Ok::<_, FleetError>(())
    });
    opened.unwrap();
    invitation
}

fn evict(world: &World, number: u8) {
    let file = world.state.fleet_file().unwrap();
    let evicted = file.change(|fleet| Ok::<_, FleetError>(fleet.evict(id(number))));
    assert!(evicted.unwrap());
}

fn join(world: &World, token: Secretive, number: u8) -> Result<RegistrationKey, ErrorCode> {
    let slave = id(number);
    match world.ask(&MasterRequest::Join { token, slave }) {
        MasterReply::Joined {
            registration_key, ..
        } => Ok(RegistrationKey::from_bytes(registration_key.0)),
        MasterReply::Error { code, .. } => Err(code),
        other => panic!("{other:?}"),
    }
}

fn code(reply: &MasterReply) -> Option<ErrorCode> {
    match reply {
        MasterReply::Error { code, .. } => Some(*code),
        _ => None,
    }
}

#[test]
fn an_invitation_gives_one_slave_keys_of_its_own_and_nobody_else_any() {
    let world = World::new();
    let stranger = Secretive::new(&[0; 16]).unwrap();
    assert_eq!(
        join(&world, stranger, 1).unwrap_err(),
        ErrorCode::LoginRefused
    );
    let late = invite(&world, 0);
    assert_eq!(
        join(&world, late.token(), 1).unwrap_err(),
        ErrorCode::LoginRefused
    );

    let invitation = invite(&world, 60);
    let key = join(&world, invitation.token(), 1).unwrap();
    assert_eq!(
        join(&world, invitation.token(), 2).unwrap_err(),
        ErrorCode::LoginRefused
    );
    assert_eq!(key.to_bytes(), world.key(1, 1).to_bytes());
    // What it was given opens no other place, and what it had before no longer its own.
    let other = world.register_with(2, STORAGE, &key);
    assert_eq!(other.unwrap_err(), ErrorCode::LoginRefused);
    assert_eq!(world.register(1).unwrap_err(), ErrorCode::LoginRefused);
    let _link = world.register_with(1, STORAGE, &key).unwrap();
    let offer = &world.locate().unwrap()[0];
    let claim = auth::ClientClaim {
        ticket: offer.ticket.as_bytes(),
        secret: &offer.secret,
    };
    let ticket_key = world.master.key.slave_key(&id(1), 1);
    assert!(auth::check(&ticket_key, &id(1), claim, unix_now()).is_ok());
    // Nobody takes its place, with however good an invitation.
    let second = invite(&world, 60);
    assert_eq!(
        join(&world, second.token(), 1).unwrap_err(),
        ErrorCode::DuplicateSlave
    );
}

#[test]
fn two_who_show_one_invitation_at_once_do_not_both_join() {
    let world = World::new();
    let invitation = invite(&world, 60);
    let joined = std::thread::scope(|scope| {
        let threads: Vec<_> = (1..=8)
            .map(|number| {
                let (world, token) = (&world, invitation.token());
                scope.spawn(move || join(world, token, number).is_ok())
            })
            .collect();
        let results = threads.into_iter().map(|thread| thread.join().unwrap());
        results.filter(|joined| *joined).count()
    });
    assert_eq!(joined, 1);
}

#[test]
fn an_evicted_slave_is_out_until_it_is_invited_again() {
    let world = World::new();
    let mut link = world.register(1).unwrap();
    assert_eq!(world.turns(), [id(1)]);
    evict(&world, 1);
    // No client is sent there, before the slave says another word.
    until(|| (world.locate() == Err(ErrorCode::NoSlave)).then_some(()));
    assert_eq!(
        code(&heartbeat(&mut link, false)),
        Some(ErrorCode::LoginRefused)
    );
    assert!(
        link.receive().unwrap().is_none(),
        "the registration is over"
    );
    assert_eq!(world.register(1).unwrap_err(), ErrorCode::LoginRefused);
    assert_eq!(world.locate().unwrap_err(), ErrorCode::NoSlave);

    let invitation = invite(&world, 60);
    let key = join(&world, invitation.token(), 1).unwrap();
    assert_eq!(world.register(1).unwrap_err(), ErrorCode::LoginRefused);
    let _link = world.register_with(1, STORAGE, &key).unwrap();
    assert_eq!(world.turns(), [id(1)]);
}

#[test]
fn heartbeats_are_answered_with_whose_tickets_are_no_longer_good() {
    let world = World::new();
    let revoked = |link: &mut Link| match heartbeat(link, false) {
        MasterReply::Noted { revoked, .. } => revoked,
        other => panic!("{other:?}"),
    };
    let mut link = world.register(1).unwrap();
    assert!(revoked(&mut link).is_empty());
    let mut accounts = Accounts::default();
    let account = Account {
        password: PasswordHash::of(b"x").unwrap(),
        rights: Rights::ALL,
        home: "/".parse().unwrap(),
        quota: None,
    };
    accounts.add("ada".parse().unwrap(), account);
    let settings = world.master.settings();
    let closed = Settings {
        everybody: None,
        accounts: Some(Arc::new(accounts)),
        ..settings.clone()
    };
    let before = world.master.clock.now();
    world.master.set_settings(closed);
    let everybody = revoked(&mut link);
    assert!(matches!(
        everybody.as_slice(),
        [Revocation { user: Some(user), until }] if user.as_str().is_empty() && *until >= before
    ));
    assert!(revoked(&mut link).is_empty(), "said once");
    world.master.set_settings(settings);
    let ada = revoked(&mut link);
    assert_eq!(ada.len(), 1);
    assert_eq!(ada[0].user, Some(Text::new("ada")));
    assert!(ada[0].until > everybody[0].until);
    // A slave that was away, or is new, hears all of it.
    let mut link = world.register(2).unwrap();
    assert_eq!(revoked(&mut link), [everybody, ada].concat());
}

/// A master that speaks TLS, and what connects to it.
fn secured() -> (World, Connector) {
    let identity = Identity::generate(&["localhost".to_owned()]).unwrap();
    let world = World::with(Reception::new(&identity, false).unwrap(), Limits::default());
    let connector = Connector::new(Trust::Known(identity.fingerprint())).unwrap();
    (world, connector)
}

fn over_tls(world: &World, connector: &Connector) -> Link {
    let socket = dial_address(world.address).unwrap();
    let tls: Tls = connector.start("localhost").unwrap();
    match shake_hands(socket, Role::Master, Some(tls)).unwrap() {
        Answered::Ready(link) => link,
        Answered::Busy => panic!("busy"),
    }
}

#[test]
fn a_proof_that_was_made_for_another_connection_registers_nobody() {
    let (world, connector) = secured();
    let key = world.key(1, 0);
    // Who is in the middle has a connection to the slave, and another one to the master.
    let others = over_tls(&world, &connector).stream_ref().channel().unwrap();
    assert_eq!(others.len(), 32);
    for channel in [others.as_slice(), &[]] {
        let link = over_tls(&world, &connector);
        let refused = register_over(link, (1, STORAGE), &key, channel);
        assert_eq!(refused.unwrap_err(), ErrorCode::LoginRefused);
    }
    let refused = register_over(world.connect(), (1, STORAGE), &key, &others);
    assert_eq!(refused.unwrap_err(), ErrorCode::LoginRefused);
    assert_eq!(world.locate().unwrap_err(), ErrorCode::NoSlave);
    let link = over_tls(&world, &connector);
    let channel = link.stream_ref().channel().unwrap();
    let _link = register_over(link, (1, STORAGE), &key, &channel).unwrap();
    assert_eq!(world.turns(), [id(1)]);
}

#[test]
fn keys_do_not_cross_a_network_in_the_clear() {
    let world = World::new();
    let invitation = invite(&world, 60);
    let elsewhere = crate::stream::Peer {
        ip: "192.0.2.1".parse().unwrap(),
        port: 1,
        is_here: false,
    };
    let token = invitation.token();
    let joined =
        |is_private| crate::join::join(&world.master, elsewhere, is_private, (&token, id(1)));
    assert_eq!(code(&joined(false)), Some(ErrorCode::LoginRefused));
    assert_eq!(code(&joined(true)), None);
}

#[test]
fn a_probed_slave_is_offered_under_the_key_that_it_shows_and_out_when_that_changes() {
    let (world, _) = secured();
    let identities = [(); 2].map(|()| Identity::generate(&["slave".to_owned()]).unwrap());
    let shows = |which: usize, key| (Acceptor::new(&identities[which]).unwrap(), key);
    let alone = Arc::new(Mutex::new(shows(0, None)));
    let ours = Some(world.master.key.clone());
    let keyed = Arc::new(Mutex::new(shows(0, ours.clone())));
    let (first, _) = probed_slave(1, STORAGE, Proving::Secured(Arc::clone(&alone)));
    let (second, _) = probed_slave(2, STORAGE, Proving::Secured(Arc::clone(&keyed)));
    let mut probes = Probes::new(Arc::clone(&world.master));
    probes
        .set(&[first, second].map(|port| port.to_string().parse().unwrap()))
        .unwrap();
    let fingerprint = |number| {
        let offers = world.locate().unwrap_or_default().into_iter();
        let mut offers = offers.filter(|offer| offer.id == id(number));
        offers.next().and_then(|offer| offer.fingerprint)
    };
    let shown = identities.each_ref().map(Identity::fingerprint);
    until(|| (fingerprint(1) == Some(shown[0]) && fingerprint(2) == Some(shown[0])).then_some(()));
    *alone.lock().unwrap() = shows(1, None);
    *keyed.lock().unwrap() = shows(1, ours);
    // Who proves over this very connection who it is, may have a new key.
    until(|| (fingerprint(2) == Some(shown[1])).then_some(()));
    until(|| fingerprint(1).is_none().then_some(()));
    let down = || {
        let states = world.master.registry().states(std::time::Instant::now());
        states
            .iter()
            .any(|state| state.id == id(1) && state.status == SlaveStatus::Down)
    };
    until(|| down().then_some(()));
}
