//! What becomes of a session that nobody else uses any more.

use std::net::{Shutdown, TcpListener};
use std::sync::Arc;

use super::*;
use crate::probe::tests::preface_of_a_slave;
use crate::{Interrupt, Options, Silent};

#[test]
fn a_session_that_was_cut_off_although_nothing_is_open_is_not_at_rest() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let stream = TcpStream::connect(address).unwrap();
    let _slave = listener.accept().unwrap();
    let second = Duration::from_secs(1);
    let patient = Patient::new((stream, address), Interrupt::default(), second).unwrap();
    let key = Key::Name(Target {
        host: address.ip().to_string(),
        port: address.port(),
    });
    let context = Context::new(Options::default(), Arc::new(Silent), Interrupt::default());
    let mut session = Session::new(
        Connection::new(patient),
        &preface_of_a_slave(),
        key,
        &context,
    );
    assert!(session.is_at_rest());
    session.socket().unwrap().shutdown(Shutdown::Both).unwrap();
    assert!(!session.is_at_rest());
}
