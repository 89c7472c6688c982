//! Tests of quotas as sessions meet them: each session sees the home through a view of its own.

use std::fs;
use std::ops::ControlFlow;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use protocol::{Condition, Digest, ErrorCode, RemotePath, UploadId};
use tempfile::TempDir;

mod chaos;

use super::book::{LONGEST_NAME, TURN, home_of};
use super::count::bytes_below;
use super::*;
use crate::local::LocalDirectory;
use crate::{
    AtHand, Received, Room, Space, StillWanted, Storage, StorageError, Stored, Upload,
    UploadRequest,
};

const LIMIT: u64 = 10_000;

/// A served folder with the home `/home`.
struct Served {
    folder: TempDir,
    storage: LocalDirectory,
}

impl Served {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("home")).unwrap();
        let storage = LocalDirectory::open(folder.path()).unwrap();
        Self { folder, storage }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn session(&self) -> Session {
        let storage = self.storage.beneath(&path("/home"), Some(LIMIT)).unwrap();
        Session { storage }
    }

    /// The quota itself, and the root that it is for.
    fn inside(&self) -> (Arc<Root>, Arc<Quota>) {
        let home = path("/home");
        let context = Context::new("test", &home);
        let root = self.storage.root.beneath(context, Some(LIMIT)).unwrap();
        let quota = Arc::clone(root.quota.as_ref().unwrap());
        (Arc::new(root), quota)
    }

    fn ledger(&self) -> PathBuf {
        self.at(".mini-ftp/quota/+home")
    }

    fn kept(&self) -> Ledger {
        Ledger::parse(&fs::read_to_string(self.ledger()).unwrap()).unwrap()
    }

    /// What the files hold, with nobody changing any meanwhile.
    fn sum(&self) -> u64 {
        let (root, quota) = self.inside();
        let _held = quota.book.file.hold().unwrap();
        bytes_below(&root.folder, &mut no_progress()).unwrap()
    }

    /// That what the files leave can be stored, and nothing more.
    fn assert_that_the_rest_fits(&self) {
        let left = LIMIT - self.sum();
        let session = self.session();
        let more = session.store("/one-too-many", left + 1);
        assert_eq!(room(more), Room { left, limit: LIMIT });
        session.store("/the-rest", left).unwrap();
        assert_eq!(self.sum(), LIMIT);
        assert_eq!(self.kept().used, Some(LIMIT));
        session.storage.remove(&path("/the-rest"), false).unwrap();
    }
}

struct Session {
    storage: Arc<dyn Storage>,
}

impl Session {
    /// Stores a small file as a whole.
    fn store(&self, name: &str, size: u64) -> Result<Stored> {
        let content = content(size);
        let request = request(name, None, size);
        self.storage
            .store_whole(&request, (&content, &digest(&content)))
    }

    fn begin(&self, name: &str, id: u8, size: u64) -> Result<Box<dyn Upload>> {
        let request = request(name, Some(UploadId([id; 32])), size);
        self.storage.begin_upload(&request, &mut no_progress())
    }

    fn space(&self) -> (u64, u64) {
        let Space { total, available } = self.storage.space().unwrap();
        (total, available)
    }
}

fn path(text: &str) -> RemotePath {
    RemotePath::try_from(text).unwrap()
}

fn content(size: u64) -> Vec<u8> {
    vec![7; usize::try_from(size).unwrap()]
}

fn digest(content: &[u8]) -> Digest {
    Digest(*blake3::hash(content).as_bytes())
}

fn request(name: &str, id: Option<UploadId>, size: u64) -> UploadRequest {
    UploadRequest {
        path: path(name),
        id,
        resume: true,
        size: Some(size),
        modified_ns: 0,
        mode: 0o644,
        condition: Condition::Any,
        wanted: StillWanted::default(),
    }
}

/// Receives all of an upload that has begun, and publishes it.
fn complete(mut upload: Box<dyn Upload>, size: u64) -> Result<Stored> {
    let content = content(size);
    upload.write_all_at(&content, 0)?;
    upload.commit(&Received::verified(
        &request("/any", None, size),
        &content,
        &digest(&content),
    )?)
}

fn room<T>(result: std::result::Result<T, StorageError>) -> Room {
    match result {
        Ok(_) => panic!("stored"),
        Err(error) => {
            assert_eq!(error.code(), ErrorCode::QuotaExceeded, "{error}");
            error.room().unwrap()
        }
    }
}

fn left<T>(result: std::result::Result<T, StorageError>) -> u64 {
    room(result).left
}

#[test]
fn what_would_pass_the_quota_is_refused_and_the_old_file_is_untouched() {
    let served = Served::new();
    let (one, other) = (served.session(), served.session());
    assert_eq!(one.space(), (LIMIT, LIMIT));
    one.store("/a", 6000).unwrap();
    assert_eq!(left(other.store("/b", 4001)), 4000);
    assert_eq!(left(other.begin("/b", 1, 4001)), 4000);
    // What replaces a file takes no more than it is longer.
    other.store("/a", 10_000).unwrap();
    assert_eq!(left(one.store("/a", 10_001)), 0);
    assert_eq!(fs::metadata(served.at("home/a")).unwrap().len(), 10_000);
    assert!(!served.at("home/b").exists());
    assert_eq!(one.space(), (LIMIT, 0));
    one.store("/a", 10_000).unwrap();
    one.store("/empty", 0).unwrap();
    one.store("/a", 1000).unwrap();
    assert_eq!(other.space(), (LIMIT, 9000));
    let staged = fs::read_dir(served.at(".mini-ftp/staging")).unwrap();
    assert_eq!(staged.count(), 0, "what was refused is not kept");
    served.assert_that_the_rest_fits();
}

#[test]
fn what_is_removed_or_replaced_is_given_back_and_moves_cost_nothing() {
    let served = Served::new();
    let session = served.session();
    session.storage.make_directory(&path("/d/e"), true).unwrap();
    for number in 0..300 {
        session.store(&format!("/d/e/{number}"), 10).unwrap();
    }
    session.store("/a", 2000).unwrap();
    session.store("/b", 1000).unwrap();
    assert_eq!(session.space(), (LIMIT, 4000));
    let rename = |from, to, replace| session.storage.rename(&path(from), &path(to), replace);
    rename("/d", "/moved", false).unwrap();
    assert_eq!(
        rename("/a", "/b", false).unwrap_err().code(),
        ErrorCode::Exists
    );
    assert_eq!(session.space(), (LIMIT, 4000));
    rename("/a", "/b", true).unwrap();
    assert_eq!(session.space(), (LIMIT, 5000));
    rename("/b", "/b", true).unwrap();
    assert_eq!(session.space(), (LIMIT, 5000));
    // Each name counts by itself.
    fs::hard_link(served.at("home/b"), served.at("home/c")).unwrap();
    symlink("b", served.at("home/link")).unwrap();
    served.damage();
    assert_eq!(session.space(), (LIMIT, 3000));
    rename("/b", "/c", true).unwrap();
    assert!(!served.at("home/b").exists());
    session.storage.remove(&path("/link"), false).unwrap();
    assert_eq!(session.space(), (LIMIT, 5000));
    session.storage.remove(&path("/moved"), true).unwrap();
    assert_eq!(session.space(), (LIMIT, 8000));
    session.storage.remove(&path("/c"), false).unwrap();
    assert_eq!(session.space(), (LIMIT, LIMIT));
    assert!(served.kept().exact);
    served.assert_that_the_rest_fits();
}

impl Served {
    /// The ledger is lost.
    fn damage(&self) {
        let mut text = fs::read_to_string(self.ledger()).unwrap();
        text.truncate(text.len() / 2);
        fs::write(self.ledger(), text).unwrap();
    }
}

#[test]
fn uploads_are_promised_their_bytes_once_however_often_they_are_resumed() {
    let served = Served::new();
    let (one, other) = (served.session(), served.session());
    let mut upload = one.begin("/a", 1, 6000).unwrap();
    assert_eq!(left(other.begin("/b", 2, 4001)), 4000);
    assert_eq!(left(other.store("/b", 4001)), 4000);
    upload.write_all_at(&content(3000), 0).unwrap();
    upload.keep();
    // It gives way to whoever needs its room, and is kept until then.
    assert_eq!(other.space(), (LIMIT, LIMIT));
    assert_eq!(served.kept().left(LIMIT, &[]), 4000);
    let upload = other.begin("/a", 1, 6000).unwrap();
    assert_eq!(upload.offset(), 3000);
    assert_eq!(one.space(), (LIMIT, 4000));
    complete(upload, 6000).unwrap();
    assert_eq!(one.space(), (LIMIT, 4000));
    assert_eq!(served.kept().reservations, []);
    // One that another writer has taken over takes its promise along.
    let mut first = one.begin("/t", 4, 3000).unwrap();
    first.write_all_at(&content(10), 0).unwrap();
    let second = other.begin("/t", 4, 3000).unwrap();
    first.discard();
    assert_eq!(served.kept().reservations.len(), 1);
    complete(second, 3000).unwrap();
    one.storage.remove(&path("/t"), false).unwrap();
    // The difference alone.
    one.begin("/a", 3, 9000).unwrap().discard();
    assert_eq!(served.kept().reservations, []);
    assert_eq!(left(one.begin("/a", 3, 10_001)), 4000);
    served.assert_that_the_rest_fits();
}

#[test]
fn an_upload_that_was_interrupted_gives_way_and_one_that_runs_does_not() {
    let served = Served::new();
    let session = served.session();
    let running = session.begin("/running", 1, 2000).unwrap();
    for id in 2..6 {
        let mut upload = session.begin(&format!("/{id}"), id, 2000).unwrap();
        upload.write_all_at(&content(10), 0).unwrap();
        upload.keep();
    }
    // Nothing is dropped in vain.
    assert_eq!(left(session.begin("/x", 9, 8001)), 8000);
    assert_eq!(served.kept().reservations.len(), 5);
    session.store("/x", 3000).unwrap();
    let kept = served.kept();
    let left: Vec<u8> = kept
        .reservations
        .iter()
        .map(|one| one.upload.0[0])
        .collect();
    assert_eq!(left, [1, 4, 5], "the oldest gave way");
    // A promise whose staged file is gone is void, and goes before the others.
    for entry in fs::read_dir(served.at(".mini-ftp/staging")).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name().to_str().unwrap().starts_with("05") {
            fs::remove_file(entry.path()).unwrap();
        }
    }
    session.store("/y", 3000).unwrap();
    assert_eq!(session.begin("/4", 4, 2000).unwrap().offset(), 10);
    complete(running, 2000).unwrap();
    served.assert_that_the_rest_fits();
}

#[test]
fn as_many_uploads_are_promised_room_as_a_ledger_holds() {
    let served = Served::new();
    let session = served.session();
    let begin = |number: usize| {
        let mut id = [1; 32];
        id[0] = u8::try_from(number % 256).unwrap();
        id[1] = u8::try_from(number / 256).unwrap();
        let request = request(&format!("/{number}"), Some(UploadId(id)), 1);
        session.storage.begin_upload(&request, &mut no_progress())
    };
    let mut running: Vec<_> = (0..MOST_RESERVATIONS)
        .map(|number| begin(number).unwrap())
        .collect();
    let refused = begin(MOST_RESERVATIONS).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::Busy);
    let mut interrupted = running.pop().unwrap();
    interrupted.write_all_at(b"x", 0).unwrap();
    interrupted.keep();
    running.push(begin(MOST_RESERVATIONS).unwrap());
    assert_eq!(served.kept().reservations.len(), MOST_RESERVATIONS);
}

#[test]
fn a_batch_stores_what_fits_and_refuses_the_rest_one_by_one() {
    let served = Served::new();
    let session = served.session();
    session.store("/a", 5000).unwrap();
    let mut at_hand = AtHand::default();
    let mut stage = |name: &str, size| {
        let content = content(size);
        let request = request(name, None, size);
        let whole = (content.as_slice(), &digest(&content));
        session
            .storage
            .stage_whole(&request, whole, &mut at_hand)
            .unwrap()
    };
    // Its room is for those that come.
    session
        .begin("/kept", 1, 4000)
        .unwrap()
        .write_all_at(b"x", 0)
        .unwrap();
    let batch = vec![
        stage("/b", 3000),
        stage("/c", 3000),
        stage("/a", 6000),
        stage("/d", 1000),
        stage("/d", 900),
        stage("/e", 100),
        stage("/f", 1),
    ];
    let results = session.storage.commit_batch(batch);
    let stored: Vec<bool> = results.iter().map(std::result::Result::is_ok).collect();
    assert_eq!(stored, [true, false, true, true, true, true, false]);
    assert_eq!(served.sum(), LIMIT);
    assert_eq!(session.space(), (LIMIT, 0));
}

#[test]
fn a_change_that_never_ended_leaves_too_much_in_the_ledger_until_the_files_are_counted() {
    let served = Served::new();
    let session = served.session();
    session.store("/a", 1000).unwrap();
    let (root, quota) = served.inside();
    let home = path("/home");
    let context = Context::new("test", &home);
    // Killed when the name was given, and before that was taken down.
    let change = quota
        .publish(&root, context, (5000, &[], true), || 5000)
        .unwrap();
    fs::write(served.at("home/killed"), content(5000)).unwrap();
    drop(change);
    let kept = served.kept();
    assert_eq!((kept.used, kept.exact), (Some(6000), false));
    assert_eq!(left(session.store("/b", 4001)), 4000);
    // Killed before it gave any: nothing is lost for ever.
    drop(
        quota
            .publish(&root, context, (4000, &[], true), || 4000)
            .unwrap(),
    );
    assert_eq!(served.kept().used, Some(10_000));
    session.store("/b", 4000).unwrap();
    assert_eq!(served.sum(), LIMIT);
}

#[test]
fn a_ledger_that_is_lost_damaged_of_another_folder_or_run_is_counted_anew() {
    let served = Served::new();
    let session = served.session();
    session.store("/a", 1000).unwrap();
    fs::write(served.at("home/by-hand"), content(2000)).unwrap();
    let changed = |change: &dyn Fn(&mut Ledger)| {
        let mut ledger = served.kept();
        change(&mut ledger);
        fs::write(served.ledger(), ledger.to_text()).unwrap();
    };
    served.damage();
    for spoil in [
        &|| served.damage() as (),
        &|| fs::write(served.ledger(), b"").unwrap(),
        &|| fs::write(served.ledger(), [0xff; 100_000]).unwrap(),
        &|| changed(&|ledger| ledger.boot ^= 1),
        &|| changed(&|ledger| ledger.folder ^= 1),
    ] as [&dyn Fn(); 5]
    {
        assert_eq!(session.space(), (LIMIT, 7000));
        changed(&|ledger| ledger.used = Some(0));
        assert_eq!(session.space(), (LIMIT, LIMIT), "it is believed");
        spoil();
    }
    assert_eq!(left(session.store("/b", 7001)), 7000);
    // Another folder of the same name begins with nothing.
    fs::rename(served.at("home"), served.at("old")).unwrap();
    fs::create_dir(served.at("home")).unwrap();
    assert_eq!(served.session().space(), (LIMIT, LIMIT));
}

#[test]
fn what_others_change_is_known_before_a_store_is_refused_and_when_the_registrar_counts() {
    let served = Served::new();
    let session = served.session();
    session.store("/a", 9000).unwrap();
    fs::remove_file(served.at("home/a")).unwrap();
    let age = |seconds| {
        let mut ledger = served.kept();
        ledger.counted -= seconds;
        fs::write(served.ledger(), ledger.to_text()).unwrap();
    };
    assert_eq!(left(session.store("/b", 9000)), 1000);
    age(61);
    session.store("/b", 9000).unwrap();
    fs::write(served.at("home/by-hand"), content(500)).unwrap();
    let sweep = || served.storage.sweep(Duration::MAX, u64::MAX).unwrap();
    sweep();
    assert_eq!(session.space(), (LIMIT, 1000), "not an hour ago");
    age(60 * 60);
    sweep();
    assert_eq!(session.space(), (LIMIT, 500));
    fs::remove_file(served.at("home/by-hand")).unwrap();
    age(60 * 60);
    sweep();
    assert_eq!(session.space(), (LIMIT, 500), "nothing was stored since");
}

#[test]
fn a_count_goes_on_beside_stores_and_is_repeated_where_names_were_moved() {
    let served = Served::new();
    let session = served.session();
    for folder in ["a", "b"] {
        fs::create_dir(served.at("home").join(folder)).unwrap();
        for number in 0..1500 {
            fs::write(
                served.at("home").join(folder).join(number.to_string()),
                b"x",
            )
            .unwrap();
        }
    }
    let (root, quota) = served.inside();
    let home = path("/home");
    let context = Context::new("test", &home);
    let mut steps = 0;
    quota
        .count(&root, context, &mut |_| {
            steps += 1;
            if steps == 1 {
                // One of the two is counted by now; where it goes may be.
                session
                    .storage
                    .rename(&path("/a"), &path("/z"), false)
                    .unwrap();
                session
                    .storage
                    .rename(&path("/b"), &path("/a"), false)
                    .unwrap();
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    assert!(steps > 0);
    assert_eq!(served.kept().used, None, "that count is void");
    assert_eq!(session.space(), (LIMIT, 7000));
    served.damage();
    let mut stored = false;
    quota
        .count(&root, context, &mut |_| {
            if !std::mem::replace(&mut stored, true) {
                fs::remove_file(served.at("home/a/7")).unwrap();
                session.storage.remove(&path("/z/7"), false).unwrap();
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    let kept = served.kept();
    assert!(kept.used >= Some(2998) && !kept.exact, "{kept:?}");
    let stopped = quota.count(&root, context, &mut |_| ControlFlow::Break(()));
    assert_eq!(stopped.unwrap_err().code(), ErrorCode::Timeout);
    served.assert_that_the_rest_fits();
}

#[test]
fn without_a_quota_there_is_no_ledger_and_with_one_none_can_be_reached() {
    let served = Served::new();
    let seen = served.storage.beneath(&path("/home"), None).unwrap();
    let content = content(20_000);
    let store = |name| {
        let request = request(name, None, 20_000);
        seen.store_whole(&request, (&content, &digest(&content)))
    };
    store("/a").unwrap();
    let ledgers = || fs::read_dir(served.at(".mini-ftp/quota")).unwrap().count();
    assert_eq!(ledgers(), 0);
    let session = served.session();
    assert_eq!(left(session.store("/b", 1)), 0);
    session.store("/a", 15_000).unwrap();
    assert!(ledgers() > 0);
    symlink(".mini-ftp/quota", served.at("door")).unwrap();
    let listed = served.storage.remove(&path("/door/+home"), false);
    assert_eq!(listed.unwrap_err().code(), ErrorCode::BadName);
    // Whoever sees the home by the same name shares the ledger, whatever the limit.
    let roomy = served
        .storage
        .beneath(&path("/home"), Some(100_000))
        .unwrap();
    assert_eq!(roomy.space().unwrap().available, 85_000);
}

#[test]
fn a_quota_that_cannot_be_kept_lets_nobody_store() {
    let served = Served::new();
    fs::create_dir(served.ledger()).unwrap();
    let refused = served.storage.beneath(&path("/home"), Some(LIMIT));
    assert_eq!(refused.unwrap_err().code(), ErrorCode::IsDirectory);
    // What cannot be looked through might hold anything, unless it is closed to us as well.
    let mut deep = served.at("home");
    fs::remove_dir(served.ledger()).unwrap();
    for _ in 0..300 {
        deep.push("d");
        fs::create_dir(&deep).unwrap();
    }
    fs::write(deep.join("file"), content(4000)).unwrap();
    let closed = served.at("home/closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
    let session = served.session();
    assert_eq!(session.space(), (LIMIT, 6000));
    for _ in 0..110 {
        deep.push("d");
        fs::create_dir(&deep).unwrap();
    }
    served.damage();
    let refused = session.store("/x", 1).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::NameTooLong);
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn where_no_ledger_can_be_there_is_reading_alone() {
    let mut served = Served::new();
    fs::write(served.at("home/there"), b"x").unwrap();
    let root = Arc::get_mut(&mut served.storage.root).unwrap();
    // As below a root that cannot be written, with another mount in the home that can.
    root.ledgers = Err(ErrorCode::ReadOnly);
    let session = served.session();
    session.storage.stat(&path("/there"), true).unwrap();
    let refused = session.store("/a", 1).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::ReadOnly);
    let refused = session.begin("/a", 1, 1).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::ReadOnly);
    let unlimited = served.storage.beneath(&path("/home"), None).unwrap();
    let storage = Session { storage: unlimited };
    storage.store("/a", 1).unwrap();
}

#[test]
fn a_ledger_that_somebody_never_lets_go_of_holds_nobody_up_for_ever() {
    let served = Served::new();
    let session = served.session();
    session.store("/a", 1000).unwrap();
    let (_root, quota) = served.inside();
    let held = quota.book.file.hold().unwrap();
    let refused = session.store("/b", 1000).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::Timeout);
    // What is removed is gone, and given back when the files are counted.
    session.storage.remove(&path("/a"), false).unwrap();
    drop(held);
    assert_eq!(served.kept().used, Some(1000));
    fs::write(served.ledger(), b"").unwrap();
    assert_eq!(session.space(), (LIMIT, LIMIT));
}

#[test]
fn ledgers_are_named_for_their_homes() {
    for home in ["/", "/a", "/a/b c/+%", "/ä\u{1}"] {
        let name = name_of(&path(home));
        assert!(!name.contains('/') && name.is_ascii(), "{name}");
        assert_eq!(home_of(&name), Some(path(home)), "{name}");
        assert_eq!(home_of(&format!("{TURN}{name}")), None);
    }
    let long = format!("/{}", "ü".repeat(120));
    let name = name_of(&path(&long));
    assert!(TURN.len() + name.len() <= LONGEST_NAME, "{name}");
    assert_ne!(name, name_of(&path(&format!("{long}x"))));
    assert_eq!(home_of(&name), None);
}
