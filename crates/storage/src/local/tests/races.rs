//! Names that are made links while they are being used: nothing outside the root is ever reached.

use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{CWD, RenameFlags};

use super::*;

const ROUNDS: usize = 5_000;

/// Runs `attempt` while `swap` is a folder and a link that leads out by turns; every file outside must outlive it.
fn under_attack(attempt: impl Fn(&Served, usize)) {
    let served = Served::new();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("file"), b"secret of another").unwrap();
    served.write("swap/file", b"inside");
    symlink(outside.path(), served.at("other")).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (one, two) = (served.at("swap"), served.at("other"));
            while !stop.load(Ordering::Relaxed) {
                rustix::fs::renameat_with(CWD, &one, CWD, &two, RenameFlags::EXCHANGE).unwrap();
            }
        });
        let finished = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            (0..ROUNDS).for_each(|round| attempt(&served, round));
        }));
        stop.store(true, Ordering::Relaxed);
        finished.unwrap();
    });
    let names: Vec<_> = fs::read_dir(outside.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["file"]);
    assert_eq!(
        fs::read(outside.path().join("file")).unwrap(),
        b"secret of another"
    );
}

/// The outcomes that an attack may have besides success.
fn allowed<T>(result: Result<T>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) => {
            let fair = [
                ErrorCode::BadLink,
                ErrorCode::NotFound,
                ErrorCode::NotDirectory,
                ErrorCode::Exists,
            ];
            assert!(fair.contains(&error.code()), "{error}");
            None
        }
    }
}

#[test]
fn reading_never_leads_out() {
    under_attack(|served, _| {
        if let Some(file) = allowed(served.storage.open(&path("/swap/file"), None)) {
            let mut buffer = [0; 16];
            let length = file.read_at(&mut buffer, 0).unwrap();
            assert_eq!(&buffer[..length], b"inside");
        }
        if let Some(entry) = allowed(served.storage.stat(&path("/swap"), true)) {
            assert_eq!(entry.kind, EntryKind::Directory);
        }
    });
}

#[test]
fn listing_never_leads_out() {
    under_attack(|served, _| {
        let everything = ListOptions {
            recursive: true,
            facts: true,
        };
        allowed(served.storage.list(&path("/"), everything, &mut |found| {
            if let Found::Entry(entry) = found
                && entry.kind == EntryKind::File
            {
                assert_eq!(entry.size, 6);
            }
            ControlFlow::Continue(())
        }));
    });
}

#[test]
fn writing_and_removing_never_lead_out() {
    under_attack(|served, round| {
        let new = format!("/swap/{round}");
        allowed(served.storage.make_directory(&path(&new), false));
        let to = path(&format!("/swap/renamed-{round}"));
        allowed(served.storage.rename(&path(&new), &to, false));
        allowed(served.storage.remove(&to, true));
        if round % 50 == 0 {
            let file = upload(&format!("/swap/upload-{round}"));
            allowed(served.store(&file, b"upload"));
        }
    });
}
