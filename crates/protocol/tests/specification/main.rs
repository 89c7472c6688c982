//! `docs/PROTOCOL.md` says what the code does: every example, message, field, error code and limit of it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a document that cannot be read is a failed test"
)]

mod document;
mod examples;
mod master_examples;
mod source;
mod tables;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::io::Cursor;

use protocol::frame::{DATA, Header, KEEP_ALIVE};
use protocol::{ClientPreface, Connection, Message, Request, Role, ServerPreface};

use document::Document;

/// Examples that are no frame of a message: tested one by one, here or beside the code that makes them.
const APART: [&str; 10] = [
    "client-preface",
    "server-preface",
    "data",
    "keep-alive",
    "optional-field",
    "master-key",
    "ticket-key",
    "registration-key",
    "proof-input",
    "ticket",
];

#[test]
fn every_example_is_the_message_that_it_is_named_for() {
    let document = Document::read();
    let mut named: BTreeSet<&str> = APART.into();
    named.extend(check(&document, examples::requests()));
    named.extend(check(&document, examples::replies()));
    named.extend(check(&document, master_examples::master_requests()));
    named.extend(check(&document, master_examples::master_replies()));
    let shown: BTreeSet<&str> = document.examples.keys().map(String::as_str).collect();
    assert_eq!(shown, named);
}

/// Compares the examples with these messages, both ways, and gives their names.
fn check<M: Message + PartialEq + Debug>(
    document: &Document,
    expected: Vec<(&'static str, u32, M)>,
) -> Vec<&'static str> {
    for (name, request, message) in &expected {
        let shown = document.example(name);
        assert_eq!(hex(&framed(*request, message)), hex(shown), "{name}");
        let mut connection = Connection::new(Cursor::new(shown.to_vec()));
        let header = connection.receive().unwrap().unwrap();
        assert_eq!(header.request, *request, "{name}");
        assert_eq!(&connection.decode::<M>(&header).unwrap(), message, "{name}");
        assert!(connection.receive().unwrap().is_none(), "{name}");
    }
    expected.into_iter().map(|(name, ..)| name).collect()
}

fn framed(request: u32, message: &impl Message) -> Vec<u8> {
    let mut connection = Connection::new(Cursor::new(Vec::new()));
    connection.send(request, message);
    connection.flush().unwrap();
    std::mem::take(connection.stream()).into_inner()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x} ")).collect()
}

#[test]
fn the_prefaces_are_as_shown() {
    let document = Document::read();
    let client = ClientPreface::ours();
    let shown = document.example("client-preface");
    assert_eq!(hex(&client.encode()), hex(shown));
    assert_eq!(ClientPreface::decode(shown), Ok(client));

    let server = ServerPreface {
        version: 1,
        oldest: 1,
        newest: 1,
        role: Role::Slave,
        login_required: true,
        features: 0,
        worker: 3,
        window_requests: 256,
        window_answer_bytes: 1024 * 1024,
    };
    let shown = document.example("server-preface");
    assert_eq!(hex(&server.encode()), hex(shown));
    assert_eq!(ServerPreface::decode(shown), Ok(server));
}

#[test]
fn data_and_keep_alive_frames_are_as_shown() {
    let document = Document::read();
    let mut sender = Connection::new(Cursor::new(Vec::new()));
    sender.send_data(7, b"hello\n");
    sender.send_keep_alive(7);
    sender.flush().unwrap();
    let shown = [document.example("data"), document.example("keep-alive")].concat();
    assert_eq!(hex(sender.stream().get_ref()), hex(&shown));

    let mut receiver = Connection::new(Cursor::new(shown));
    assert_eq!(receiver.receive().unwrap().unwrap().kind, DATA);
    let mut content = [0; 10];
    assert_eq!(receiver.read_data(&mut content).unwrap(), 6);
    assert_eq!(&content[..6], b"hello\n");
    let header = receiver.receive().unwrap().unwrap();
    assert_eq!((header.kind, header.request), (KEEP_ALIVE, 7));
}

#[test]
fn the_unknown_optional_field_is_skipped_as_shown() {
    let document = Document::read();
    let shown = document.example("optional-field");
    let mut connection = Connection::new(Cursor::new(shown.to_vec()));
    let header = connection.receive().unwrap().unwrap();
    let stat = Request::Stat {
        path: examples::path("/a"),
        follow: true,
    };
    assert_eq!(connection.decode(&header), Ok(stat.clone()));
    let plain = framed(7, &stat);
    assert_eq!(
        shown[Header::LENGTH..shown.len() - 7],
        plain[Header::LENGTH..]
    );
}
