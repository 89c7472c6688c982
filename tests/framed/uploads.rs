//! Uploads: resumed, abandoned, deferred, refused, and what they leave behind.

use std::io::Cursor;
use std::net::Shutdown;

use protocol::{Connection, ErrorCode, Reply, Request, UploadId};
use rustix::process::Signal;

use super::{Wire, alone, code_of, digest, path, store, store_whole};
use crate::harness::{
    PATIENCE, Setup, done_as_superuser, owner_of_connection, random_bytes, resident_bytes,
    signal_pid, staged, stop_pid, tamper, wait_until,
};

#[test]
fn an_upload_goes_on_where_another_connection_left_it() {
    let cluster = alone();
    let content = random_bytes(4, 2_500_000);
    let mut first = Wire::open(cluster.address());
    let id = first.send(&store("/upload", &content, false));
    for frame in content[..2_000_000].chunks(500_000) {
        first.connection.send_data(id, frame);
    }
    first.connection.flush().unwrap();
    first.connection.stream().shutdown(Shutdown::Write).unwrap();
    assert!(first.is_over());
    assert!(!cluster.path("upload").exists());

    let mut second = Wire::open(cluster.address());
    let id = second.send(&store("/upload", &content, true));
    let Reply::Ready { offset, prefix } = second.answer(id) else {
        panic!("not ready")
    };
    assert_eq!((offset, prefix), (2_000_000, digest(&content[..2_000_000])));
    second.connection.send_data(id, &content[2_000_000..]);
    second.connection.send(
        id,
        &Request::StoreEnd {
            digest: digest(&content),
        },
    );
    let Reply::Stored { digest: stored, .. } = second.answer(id) else {
        panic!("not stored")
    };
    assert_eq!(stored, digest(&content));
    assert!(std::fs::read(cluster.path("upload")).unwrap() == content);
    assert!(staged(&cluster.root()).is_empty());
}

#[test]
fn an_upload_over_a_file_of_the_same_size_and_time_is_kept_for_going_on() {
    let cluster = alone();
    let old = random_bytes(3, 2_500_000);
    let mut wire = Wire::open(cluster.address());
    let id = wire.send(&store("/upload", &old, false));
    for frame in old.chunks(500_000) {
        wire.connection.send_data(id, frame);
    }
    let digest_of_old = digest(&old);
    wire.connection.send(
        id,
        &Request::StoreEnd {
            digest: digest_of_old,
        },
    );
    assert!(matches!(wire.answer(id), Reply::Stored { .. }));

    let content = random_bytes(4, 2_500_000);
    let mut first = Wire::open(cluster.address());
    let id = first.send(&store("/upload", &content, false));
    first.connection.send_data(id, &content[..500_000]);
    first.connection.flush().unwrap();
    first.connection.stream().shutdown(Shutdown::Write).unwrap();
    assert!(first.is_over());
    let mut second = Wire::open(cluster.address());
    let id = second.send(&store("/upload", &content, true));
    let Reply::Ready { offset, .. } = second.answer(id) else {
        panic!("not ready")
    };
    assert_eq!(offset, 500_000);
}

#[test]
fn an_abandoned_upload_keeps_all_but_its_last_frame() {
    let cluster = alone();
    let content = random_bytes(5, 900_000);
    let mut wire = Wire::open(cluster.address());
    let id = wire.send(&store("/upload", &content, false));
    wire.connection.send_data(id, &content[..300_000]);
    wire.connection.send_data(id, &[0; 300_000]);
    wire.connection.send(id, &Request::Abandon {});
    assert_eq!(wire.answer(id), Reply::Done {});
    let id = wire.send(&store("/upload", &content, true));
    let Reply::Ready { offset, prefix } = wire.answer(id) else {
        panic!("not ready")
    };
    assert_eq!((offset, prefix), (300_000, digest(&content[..300_000])));
}

#[test]
fn deferred_uploads_are_received_first_and_stored_at_the_flush() {
    let cluster = alone();
    let mut wire = Wire::open(cluster.address());
    let ids: Vec<_> = (0..50)
        .map(|n| wire.send(&store_whole(&format!("/d{n}"), &[n; 100], true)))
        .collect();
    let flush = wire.send(&Request::Flush {});
    for &id in &ids {
        assert_eq!(wire.answer(id), Reply::Received {});
    }
    for &id in &ids {
        assert!(matches!(wire.answer(id), Reply::Stored { .. }));
    }
    assert_eq!(wire.answer(flush), Reply::Done {});
    assert_eq!(std::fs::read(cluster.path("d49")).unwrap(), [49; 100]);
}

#[test]
fn deferred_uploads_are_stored_within_a_second_or_so_without_a_flush() {
    let cluster = alone();
    let mut wire = Wire::open(cluster.address());
    let id = wire.send(&store_whole("/deferred", b"content", true));
    assert_eq!(wire.answer(id), Reply::Received {});
    assert!(!cluster.path("deferred").exists());
    assert!(matches!(wire.answer(id), Reply::Stored { .. }));
    assert!(cluster.path("deferred").exists());
}

#[test]
fn deferred_uploads_are_stored_in_time_although_more_and_more_come() {
    const COUNT: usize = 300;
    let rate = ["--limit-rate", "100K"];
    let cluster = Setup::new(1).without_master().slave_options(rate).start();
    let mut wire = Wire::open(cluster.address());
    for number in 0..COUNT {
        wire.send(&store_whole(&format!("/d{number}"), &[7; 1000], true));
    }
    wire.connection.flush().unwrap();
    let answers = std::iter::repeat_with(|| {
        let header = wire.connection.receive_answer().unwrap();
        wire.connection.decode::<Reply>(&header).unwrap()
    });
    let received = answers.take_while(|reply| *reply == Reply::Received {});
    assert!(received.count() < COUNT, "nothing is stored before the end");
}

#[test]
fn who_still_sends_when_the_worker_drains_is_told_what_was_stored() {
    // So many fill what is read at once that nothing is left of it, and more come than that.
    const FRAME: usize = 256;
    const FRAMES: usize = 96;
    let mut measure = Connection::new(Cursor::new(Vec::new()));
    measure.send(1, &store_whole("/d00", &[], true));
    let content = vec![7; FRAME - measure.unsent()];
    let cluster = Setup::new(1).without_master().workers(2).start();
    let slave = &cluster.slaves[0];
    let mut wire = Wire::open(slave.address);
    let client = wire.connection.stream().local_addr().unwrap();
    let worker = owner_of_connection(slave.address, client, &slave.workers()).unwrap();
    stop_pid(worker);
    for number in 0..FRAMES {
        wire.send(&store_whole(&format!("/d{number:02}"), &content, true));
    }
    assert_eq!(wire.connection.unsent(), FRAMES * FRAME);
    wire.connection.flush().unwrap();
    slave.process.signal(Signal::TERM);
    wait_until("the other worker to leave", PATIENCE, || {
        slave.workers() == [worker]
    });
    signal_pid(worker, Signal::CONT);

    let mut stored = 0;
    while let Some(header) = wire.connection.receive().unwrap() {
        let reply = wire.connection.decode(&header).unwrap();
        stored += usize::from(matches!(reply, Reply::Stored { .. }));
    }
    let files = (0..FRAMES).filter(|number| cluster.path(format!("d{number:02}")).exists());
    assert!(stored > 0 && stored == files.count());
}

#[test]
fn content_that_does_not_match_its_digest_is_never_seen() {
    let cluster = alone();
    let mut wire = Wire::open(cluster.address());
    let mut request = store_whole("/corrupt", b"content", false);
    if let Request::StoreWhole { digest, .. } = &mut request {
        digest.0[0] ^= 1;
    }
    assert_eq!(code_of(&wire.ask(&request)), ErrorCode::Corrupt);
    let id = wire.send(&store("/corrupt", b"content", false));
    wire.connection.send_data(id, b"kontent");
    wire.connection.send(
        id,
        &Request::StoreEnd {
            digest: digest(b"content"),
        },
    );
    assert_eq!(code_of(&wire.answer(id)), ErrorCode::Corrupt);
    assert!(!cluster.path("corrupt").exists());
    assert!(staged(&cluster.root()).is_empty());
}

#[test]
fn a_refused_upload_is_answered_once_and_the_connection_goes_on() {
    let cluster = alone();
    let mut wire = Wire::open(cluster.address());
    let id = wire.send(&store("/no/such/folder", &[1; 3000], false));
    wire.connection.send_data(id, &[1; 3000]);
    wire.connection.send(
        id,
        &Request::StoreEnd {
            digest: digest(&[1; 3000]),
        },
    );
    assert_eq!(code_of(&wire.answer(id)), ErrorCode::NotFound);
    assert_eq!(
        code_of(&wire.ask(&Request::Stat {
            path: path("/x"),
            follow: true
        })),
        ErrorCode::NotFound
    );
}

#[test]
fn two_uploads_to_a_free_name_have_one_winner() {
    let cluster = alone();
    let (mut one, mut other) = (Wire::open(cluster.address()), Wire::open(cluster.address()));
    assert!(matches!(
        one.ask(&store_whole("/name", b"one", false)),
        Reply::Stored { .. }
    ));
    assert_eq!(
        code_of(&other.ask(&store_whole("/name", b"other", false))),
        ErrorCode::Exists
    );
    assert_eq!(std::fs::read(cluster.path("name")).unwrap(), b"one");
}

#[test]
fn a_source_that_has_become_shorter_begins_anew() {
    let cluster = alone();
    let mut wire = Wire::open(cluster.address());
    let id = wire.send(&store("/upload", &[1; 3000], false));
    wire.connection.send_data(id, &[1; 2000]);
    wire.connection.send_data(id, &[]);
    wire.connection.send(id, &Request::Abandon {});
    assert_eq!(wire.answer(id), Reply::Done {});
    let id = wire.send(&store("/upload", &[1; 1000], true));
    let Reply::Ready { offset: 0, .. } = wire.answer(id) else {
        panic!("it goes on behind the end")
    };
}

#[test]
fn a_connection_lost_after_another_finished_its_upload_leaves_nothing_staged() {
    let cluster = alone();
    let content = random_bytes(8, 100_000);
    let mut late = Wire::open(cluster.address());
    let id = late.send(&store("/upload", &content, false));
    late.connection.send_data(id, &content[..50_000]);
    late.connection.flush().unwrap();
    wait_until("the upload to be staged", PATIENCE, || {
        !staged(&cluster.root()).is_empty()
    });
    let mut quick = Wire::open(cluster.address());
    let mut other = store("/upload", &content, false);
    if let Request::Store { upload, .. } = &mut other {
        *upload = UploadId([8; 32]);
    }
    let id = quick.send(&other);
    quick.connection.send_data(id, &content);
    quick.connection.send(
        id,
        &Request::StoreEnd {
            digest: digest(&content),
        },
    );
    assert!(matches!(quick.answer(id), Reply::Stored { .. }));
    drop(late);
    wait_until("nothing to be staged", PATIENCE, || {
        staged(&cluster.root()).is_empty()
    });
}

#[test]
fn more_content_than_announced_breaks_the_protocol() {
    let cluster = alone();
    let mut wire = Wire::open(cluster.address());
    let id = wire.send(&store("/short", &[1; 10], false));
    wire.connection.send_data(id, &[1; 11]);
    assert_eq!(code_of(&wire.answer(0)), ErrorCode::Protocol);
    assert!(wire.is_over());
    assert!(!cluster.path("short").exists());
}

/// What a lost slave has stored counts only once another one has made sure that it stays.
#[test]
fn what_is_confirmed_is_what_was_sent_and_durable() {
    if done_as_superuser() {
        return;
    }
    let cluster = Setup::new(1).without_master().workers(1).start();
    let mut wire = Wire::open(cluster.address());
    cluster.write("folder/a", b"content");
    let confirm = |name: &str, content: &[u8]| Request::Confirm {
        path: path(name),
        digest: digest(content),
    };
    let stored = wire.ask(&confirm("/folder/a", b"content"));
    assert!(matches!(stored, Reply::Stored { .. }), "{stored:?}");
    for (name, content, code) in [
        ("/folder/a", b"kontent", ErrorCode::Changed),
        ("/folder/b", b"content", ErrorCode::NotFound),
        ("/folder", b"content", ErrorCode::IsDirectory),
    ] {
        assert_eq!(code_of(&wire.ask(&confirm(name, content))), code);
    }
    let worker = cluster.slaves[0].workers()[0];
    // First the file's flush fails, then the folder's.
    for call in 1..=2 {
        let what = format!("error=EIO:when={call}");
        let Some(mut strace) = tamper(worker, "fsync", &what) else {
            return;
        };
        let refused = wire.ask(&confirm("/folder/a", b"content"));
        strace.terminate(PATIENCE);
        assert_eq!(code_of(&refused), ErrorCode::Internal, "{call}");
    }
}

#[test]
fn a_session_that_rests_keeps_no_memory_of_what_it_stored() {
    const COUNT: usize = 40;
    let cluster = Setup::new(1).without_master().workers(1).start();
    let worker = cluster.slaves[0].workers()[0];
    let content = random_bytes(7, 900_000);
    let after = || {
        let mut wire = Wire::open(cluster.address());
        let id = wire.send(&store("/upload", &content, false));
        wire.connection.send_data(id, &content);
        let digest = digest(&content);
        wire.connection.send(id, &Request::StoreEnd { digest });
        assert!(matches!(wire.answer(id), Reply::Stored { .. }));
        wire
    };
    let _first = after();
    let before = resident_bytes(worker);
    let _resting: Vec<Wire> = (0..COUNT).map(|_| after()).collect();
    // Half of it is the large frames of a build for debugging.
    let most = before + (COUNT * 128 * 1024) as u64;
    wait_until("the sessions to give memory back", PATIENCE, || {
        resident_bytes(worker) < most
    });
}
