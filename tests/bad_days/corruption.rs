//! One bit flipped on the way, anywhere, in either direction: mended, or told. Never stored, never shown.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::SystemTime;

use super::MEBIBYTE;
use crate::harness::{Client, Cluster, Direction, Fault, Proxy, Setup, random_bytes, staged};

/// A slave that stands alone behind a wire that can be bent.
struct Line {
    cluster: Cluster,
    proxy: Proxy,
    client: Client,
}

impl Line {
    fn new() -> Self {
        let cluster = Setup::new(1).without_master().start();
        let proxy = Proxy::before(cluster.slaves[0].address);
        // A flipped bit in a length makes one side wait for what never comes: not for long, here.
        let client = Client::new(proxy.address.to_string()).options(["--timeout", "1"]);
        Self {
            cluster,
            proxy,
            client,
        }
    }
}

const DIRECTIONS: [Direction; 2] = [Direction::ToServer, Direction::ToClient];

/// The first bytes of a connection one by one, for they are all control words; then, the way that the content goes, some
/// of it and of its end.
fn faults(size: u64, content_goes: Direction) -> Vec<Fault> {
    let words = (0..420).step_by(7).chain(20..76);
    let content = (1..8).map(move |part| part * size / 8);
    let end = (0..200).step_by(11).map(move |back| size + 150 - back);
    let offsets: Vec<u64> = words.chain(content).chain(end).collect();
    let mut faults = Vec::new();
    for direction in DIRECTIONS {
        let meant = offsets
            .iter()
            .filter(|offset| direction == content_goes || **offset < 420);
        faults.extend(meant.map(|offset| Fault::FlipBit {
            direction,
            offset: *offset,
        }));
    }
    faults
}

/// Tries every fault, on a few lines side by side, since a client mostly waits; `prepare` makes a line ready, `survive`
/// says whether a run that met its fault ended well.
fn on_all_lines(
    faults: &[Fault],
    prepare: impl Fn(&Line) + Sync,
    survive: impl Fn(&Line) -> bool + Sync,
) {
    const LINES: usize = 4;
    let mended = AtomicUsize::new(0);
    thread::scope(|threads| {
        for lane in 0..LINES {
            let (prepare, survive, mended) = (&prepare, &survive, &mended);
            let run = move || {
                let line = Line::new();
                prepare(&line);
                for fault in faults.iter().skip(lane).step_by(LINES) {
                    eprintln!("{fault:?}");
                    line.proxy.next(*fault);
                    mended.fetch_add(usize::from(survive(&line)), Relaxed);
                }
            };
            thread::Builder::new().spawn_scoped(threads, run).unwrap();
        }
    });
    let mended = mended.into_inner();
    assert!(mended > 100, "only {mended} of {}", faults.len());
}

#[test]
fn a_download_with_a_flipped_bit_is_mended_or_refused() {
    const SIZE: usize = 2 * MEBIBYTE + 100;
    let content = random_bytes(1, SIZE);
    on_all_lines(
        &faults(SIZE as u64, Direction::ToClient),
        |line| line.cluster.write("a.bin", &content),
        |line| {
            let finished = line.client.run(["get", "a.bin"]);
            if finished.code != 0 {
                assert!(matches!(finished.code, 3 | 5), "{finished:?}");
                assert!(!line.client.path("a.bin").exists());
                return false;
            }
            assert!(line.client.read("a.bin") == content, "another content");
            assert_eq!(line.client.names(), [OsString::from("a.bin")]);
            fs::remove_file(line.client.path("a.bin")).unwrap();
            true
        },
    );
}

#[test]
fn an_upload_with_a_flipped_bit_is_mended_or_refused() {
    const SIZE: usize = MEBIBYTE + 100;
    let content = random_bytes(2, SIZE);
    on_all_lines(
        &faults(SIZE as u64, Direction::ToServer),
        |line| drop(line.client.write("a.bin", &content)),
        |line| {
            let finished = line.client.run(["put", "a.bin"]);
            assert!(matches!(finished.code, 0 | 3 | 5), "{finished:?}");
            let stored = line.cluster.path("a.bin");
            match fs::read(&stored) {
                Ok(stored) => assert!(stored == content, "another content"),
                Err(_) => assert_ne!(finished.code, 0),
            }
            fs::remove_file(&stored).ok();
            if finished.code == 0 {
                assert_eq!(staged(&line.cluster.root()), Vec::<PathBuf>::new());
            }
            finished.code == 0
        },
    );
}

#[test]
fn a_listing_with_a_flipped_bit_is_mended_or_refused() {
    let line = Line::new();
    for name in ["one", "two", "three/inside"] {
        line.cluster.write(name, name.as_bytes());
    }
    let right = line.client.run(["ls", "-R"]);
    right.succeeded();
    for direction in DIRECTIONS {
        for offset in (0..420).step_by(5) {
            line.proxy.next(Fault::FlipBit { direction, offset });
            let finished = line.client.run(["ls", "-R"]);
            match finished.code {
                0 => assert_eq!(finished.raw, right.raw, "{direction:?} {offset}"),
                code => assert_eq!(code, 3, "{direction:?} {offset}: {finished:?}"),
            }
        }
    }
}

#[test]
fn a_word_with_the_master_that_has_a_flipped_bit_leads_nobody_astray() {
    let cluster = Cluster::start(2);
    cluster.write("a.bin", b"content");
    let proxy = Proxy::before(cluster.address());
    let client = Client::new(proxy.address.to_string());
    for direction in DIRECTIONS {
        for offset in (20..600).step_by(9) {
            proxy.next(Fault::FlipBit { direction, offset });
            let finished = client.run(["cat", "a.bin"]);
            match finished.code {
                0 => assert_eq!(finished.stdout, "content", "{direction:?} {offset}"),
                code => assert_eq!(code, 3, "{direction:?} {offset}: {finished:?}"),
            }
        }
    }
}

/// A wire that bends every connection: nothing gets through, and the client says why.
#[test]
fn a_wire_that_damages_all_content_ends_with_the_status_for_it_and_nothing_is_stored() {
    let line = Line::new();
    let content = random_bytes(3, 500_000);
    line.cluster.write("a.bin", &content);
    line.client.write("b.bin", &content);
    // Between two of these bytes there is room for all control words.
    let damage = |direction| Fault::FlipEvery {
        direction,
        bytes: 5_000,
    };
    line.proxy.always(damage(Direction::ToClient));
    let finished = line.client.run(["get", "a.bin"]);
    finished.failed(5, "cannot get '/a.bin': the content could not be verified");
    assert!(!line.client.path("a.bin").exists());
    line.client
        .run(["cat", "a.bin"])
        .failed(5, "cannot cat '/a.bin': ");
    line.proxy.always(damage(Direction::ToServer));
    let finished = line.client.run(["put", "b.bin"]);
    finished.failed(5, "cannot put 'b.bin': the content could not be verified");
    assert!(!line.cluster.path("b.bin").exists());
    assert_eq!(staged(&line.cluster.root()), Vec::<PathBuf>::new());
}

/// The slave sends, rightly, what the file is now: the digest that was kept when it was stored knows better. A large file is
/// hashed apart from being sent, a small one goes in one piece.
#[test]
fn a_file_that_rotted_on_the_slave_s_disk_is_never_taken_for_whole() {
    for size in [3 * MEBIBYTE, 5_000] {
        let line = Line::new();
        line.client.write("tree/a.bin", &random_bytes(4, size));
        line.client.run(["put", "-r", "tree"]).succeeded();
        fs::remove_dir_all(line.client.path("tree")).unwrap();
        // A byte changes, and nothing that would tell: neither size nor time.
        let stored = line.cluster.path("tree/a.bin");
        let modified = fs::metadata(&stored).unwrap().modified().unwrap();
        let mut content = fs::read(&stored).unwrap();
        content[size / 3] ^= 1;
        fs::write(&stored, &content).unwrap();
        let file = fs::File::options().write(true).open(&stored).unwrap();
        file.set_modified(modified).unwrap();
        let damaged = "the slave's file is not what the digest kept with it says";
        let get = |options: &[&str]| line.client.run([options, &["tree/a.bin"]].concat());
        get(&["get"]).failed(5, &format!("cannot get '/tree/a.bin': {damaged}"));
        assert!(!line.client.path("a.bin").exists());
        let unverified = "the content could not be verified";
        get(&["cat"]).failed(5, &format!("cannot cat '/tree/a.bin': {unverified}"));
        line.client.run(["get", "-r", "tree"]).failed(5, damaged);
        assert!(!line.client.path("tree/a.bin").exists());
        // It stays so until a person has looked at it, whatever else goes wrong on the way.
        get(&["get"]).failed(5, damaged);
        line.proxy.next(Fault::FlipBit {
            direction: Direction::ToClient,
            offset: 2_000,
        });
        get(&["get"]).failed(5, damaged);
        assert!(!line.client.path("a.bin").exists());
        get(&["--no-verify", "get"]).succeeded();
        assert!(line.client.read("a.bin") == content);
        file.set_modified(SystemTime::now()).unwrap();
        get(&["get", "-f"]).succeeded();
    }
}
