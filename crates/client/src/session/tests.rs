//! What becomes of a session that nobody else uses any more, and of answers that nobody waits for.

use std::net::{Shutdown, TcpListener};
use std::sync::Arc;

use protocol::{RemotePath, Text};

use super::*;
use crate::probe::tests::preface_of_a_slave;
use crate::{Interrupt, Options, Silent};

/// A session, and the slave's end of its connection.
fn session() -> (Session, Connection<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let stream = TcpStream::connect(address).unwrap();
    let (slave, _) = listener.accept().unwrap();
    let second = Duration::from_secs(1);
    let patient = Patient::new((stream, address), Interrupt::default(), second).unwrap();
    let key = Key::Name(Target {
        host: address.ip().to_string(),
        port: address.port(),
    });
    let context = Context::new(Options::default(), Arc::new(Silent), Interrupt::default());
    let session = Session::new(
        Connection::new(patient),
        &preface_of_a_slave(),
        key,
        &context,
    );
    (session, Connection::new(slave))
}

fn stat(name: &str) -> Request {
    Request::Stat {
        path: RemotePath::try_from(name).unwrap(),
        follow: true,
    }
}

fn say(slave: &mut Connection<TcpStream>, number: u32, code: ErrorCode) {
    let detail = Text::default();
    slave.send(number, &Reply::Error { code, detail });
    slave.flush().unwrap();
}

/// Until what was said has come.
fn wait_for_input(session: &mut Session) {
    while !session.has_input().unwrap() {
        std::thread::yield_now();
    }
}

#[test]
fn a_session_that_was_cut_off_although_nothing_is_open_is_not_at_rest() {
    let (mut session, _slave) = session();
    assert!(session.is_at_rest());
    session.socket().unwrap().shutdown(Shutdown::Both).unwrap();
    assert!(!session.is_at_rest());
}

#[test]
fn an_answer_that_nobody_waits_for_is_no_farewell() {
    let (mut session, mut slave) = session();
    session.note_strange(1);
    assert!(session.is_at_rest());
    say(&mut slave, 1, ErrorCode::Unsupported);
    wait_for_input(&mut session);
    assert!(session.is_at_rest() && session.open == 0);
    say(&mut slave, 0, ErrorCode::Draining);
    wait_for_input(&mut session);
    assert!(!session.is_at_rest());
}

#[test]
fn what_was_asked_with_the_first_words_is_asked_once() {
    let (mut session, mut slave) = session();
    session.note_strange(1);
    session.note_ahead(2, &stat("/a"));
    assert!(session.is_at_rest());
    assert_eq!(session.request(&stat("/a")), 2);
    assert!(!session.is_at_rest());
    say(&mut slave, 1, ErrorCode::Unsupported);
    say(&mut slave, 2, ErrorCode::NotFound);
    assert!(matches!(session.answer(2), Err(Fault::Failed(_))));
    assert!(session.is_at_rest());
    assert_eq!(session.request(&stat("/a")), 3);
}

#[test]
fn an_answer_that_is_passed_over_may_end_the_session_all_the_same() {
    let (mut session, mut slave) = session();
    session.note_ahead(1, &stat("/a"));
    let number = session.request(&stat("/b"));
    assert_eq!(number, 2);
    say(&mut slave, 1, ErrorCode::Busy);
    let fault = session.answer(number).unwrap_err();
    assert!(matches!(fault, Fault::Refused(ErrorCode::Busy)));
}
