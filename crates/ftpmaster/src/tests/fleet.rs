//! Invitations, evictions and revocations, as slaves and clients see them.

use std::sync::Arc;

use auth::{FleetError, Invitation};
use protocol::{ErrorCode, MasterReply, MasterRequest, Revocation, Rights, Secretive, Text};

use super::{World, heartbeat, id, until};
use crate::master::{Settings, unix_now};
use auth::{Account, Accounts, PasswordHash, RegistrationKey};

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
    let other = world.register_with(2, super::STORAGE, &key);
    assert_eq!(other.unwrap_err(), ErrorCode::LoginRefused);
    assert_eq!(world.register(1).unwrap_err(), ErrorCode::LoginRefused);
    let _link = world.register_with(1, super::STORAGE, &key).unwrap();
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
    let _link = world.register_with(1, super::STORAGE, &key).unwrap();
    assert_eq!(world.turns(), [id(1)]);
}

#[test]
fn heartbeats_are_answered_with_whose_tickets_are_no_longer_good() {
    let world = World::new();
    let revoked = |link: &mut super::Link| match heartbeat(link, false) {
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
