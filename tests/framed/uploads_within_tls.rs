//! Uploads that are decrypted by one thread and written by another: what is kept of them, and what is told.

use protocol::frame::Header;
use protocol::{ErrorCode, Reply, Request};

use super::{Wire, alone, code_of, digest, store};
use crate::harness::{
    PATIENCE, Secured, Setup, SmallDisk, allocated, done_as_superuser, random_bytes, staged,
    wait_until,
};

const MEBIBYTE: usize = 1024 * 1024;

/// Longer than what is written without that thread.
const LENGTH: usize = 7 * MEBIBYTE + 1;

/// Sends that many whole frames; the request's id.
fn begin(wire: &mut Wire<Secured>, content: &[u8], frames: usize) -> u32 {
    let id = wire.send(&store("/upload", content, false));
    for frame in content.chunks(MEBIBYTE).take(frames) {
        wire.connection.send_data(id, frame);
    }
    id
}

/// Goes on with the upload, and sees what is kept of it and that it ends well.
#[track_caller]
fn go_on(wire: &mut Wire<Secured>, content: &[u8]) -> usize {
    let id = wire.send(&store("/upload", content, true));
    let Reply::Ready { offset, prefix } = wire.answer(id) else {
        panic!("not ready")
    };
    let offset = usize::try_from(offset).unwrap();
    assert_eq!(prefix, digest(&content[..offset]));
    for frame in content[offset..].chunks(MEBIBYTE) {
        wire.connection.send_data(id, frame);
    }
    let digest = digest(content);
    wire.connection.send(id, &Request::StoreEnd { digest });
    let Reply::Stored { digest: stored, .. } = wire.answer(id) else {
        panic!("not stored")
    };
    assert_eq!(stored, digest);
    offset
}

#[test]
fn an_abandoned_upload_keeps_all_but_its_last_frame() {
    let cluster = alone();
    let content = random_bytes(1, LENGTH);
    let mut wire = Wire::open_within_tls(cluster.address());
    let id = begin(&mut wire, &content, 5);
    wire.connection.send_data(id, &[0; MEBIBYTE]);
    wire.connection.send(id, &Request::Abandon {});
    assert_eq!(wire.answer(id), Reply::Done {});
    assert_eq!(go_on(&mut wire, &content), 5 * MEBIBYTE);
    assert!(std::fs::read(cluster.path("upload")).unwrap() == content);
}

#[test]
fn an_upload_that_is_cut_within_a_frame_keeps_what_came_before_it() {
    let cluster = alone();
    let content = random_bytes(2, LENGTH);
    let mut first = Wire::open_within_tls(cluster.address());
    let id = begin(&mut first, &content, 5);
    let frame = u32::try_from(MEBIBYTE).unwrap();
    first.connection.send_raw(&Header::data(id, frame));
    let rest = &content[5 * MEBIBYTE..];
    first.connection.send_raw(&rest[..MEBIBYTE / 2]);
    first.connection.flush().unwrap();
    first.connection.stream().close();
    assert!(first.is_over());
    assert!(!cluster.path("upload").exists());

    let mut second = Wire::open_within_tls(cluster.address());
    let kept = go_on(&mut second, &content);
    assert!(kept >= 5 * MEBIBYTE, "{kept}");
    assert!(kept <= 5 * MEBIBYTE + MEBIBYTE / 2, "{kept}");
    assert!(std::fs::read(cluster.path("upload")).unwrap() == content);
}

#[test]
fn what_the_disk_does_not_hold_in_the_end_is_told_in_the_end() {
    if done_as_superuser() {
        return;
    }
    let mut cluster = Setup::new(0).without_master().start();
    let Some(_disk) = SmallDisk::mount(&cluster.root(), 9) else {
        return;
    };
    cluster.add_slave(&[]);
    let content = random_bytes(3, LENGTH);
    let mut wire = Wire::open_within_tls(cluster.address());
    let id = begin(&mut wire, &content, 6);
    wire.connection.flush().unwrap();
    // The last frame is written once the next one shows that it is content.
    wait_until("five frames to be written", PATIENCE, || {
        let staged = staged(&cluster.root());
        staged.iter().map(|path| allocated(path)).sum::<u64>() >= 5 * MEBIBYTE as u64
    });
    cluster.write("other", &random_bytes(4, 7 * MEBIBYTE / 2));
    let digest = digest(&content);
    wire.connection.send(id, &Request::StoreEnd { digest });
    assert_eq!(code_of(&wire.answer(id)), ErrorCode::NoSpace);
    assert!(staged(&cluster.root()).is_empty());
    std::fs::remove_file(cluster.path("other")).unwrap();
    assert_eq!(go_on(&mut wire, &content), 0);
}
