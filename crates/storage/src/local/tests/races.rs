//! Names that are made links while they are being used: nothing outside the root is ever reached.
//!
//! `make races` tries every operation a million times; `MINI_FTP_RACES` says how often otherwise.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, symlink};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags};

use super::*;

const ROUNDS: u64 = 2_000;

const INSIDE: &[u8] = b"inside";
const OUTSIDE: &[u8] = b"secret of another";

/// A served folder in which `swap` is a folder and a link that leads out, by turns.
struct Arena {
    served: Served,
    outside: TempDir,
    /// The folder, by whatever name it goes.
    inside: File,
    round: AtomicU64,
    carried_out: AtomicU64,
}

/// Everything that could tell of a visit: names, kinds, contents, modes, times of change.
type Picture = BTreeMap<PathBuf, (u32, Vec<u8>, i64, i64)>;

impl Arena {
    fn new() -> Self {
        let served = Served::new();
        let outside = tempfile::tempdir().unwrap();
        fs::create_dir_all(outside.path().join("folder/deep")).unwrap();
        fs::create_dir(outside.path().join("empty")).unwrap();
        for name in ["file", "theirs", "folder/deep/file"] {
            fs::write(outside.path().join(name), OUTSIDE).unwrap();
        }
        served.write("swap/file", INSIDE);
        symlink(outside.path(), served.at("other")).unwrap();
        Self {
            inside: File::open(served.at("swap")).unwrap(),
            served,
            outside,
            round: AtomicU64::new(0),
            carried_out: AtomicU64::new(0),
        }
    }

    fn picture(&self) -> Picture {
        let mut picture = Picture::new();
        let mut left = vec![self.outside.path().to_owned()];
        while let Some(path) = left.pop() {
            let facts = fs::symlink_metadata(&path).unwrap();
            let content = if facts.is_dir() {
                let entries = fs::read_dir(&path).unwrap();
                left.extend(entries.map(|entry| entry.unwrap().path()));
                Vec::new()
            } else {
                fs::read(&path).unwrap()
            };
            let seen = (facts.mode(), content, facts.ctime(), facts.ctime_nsec());
            picture.insert(path, seen);
        }
        picture
    }

    /// Tries an operation again and again under attack; everything outside must be as it was.
    fn endure(&self, what: &str, attempt: impl Fn(&Self)) {
        let rounds = std::env::var("MINI_FTP_RACES")
            .map_or(ROUNDS, |rounds| rounds.parse().expect("a number"));
        let before = self.picture();
        let (stop, flips) = (AtomicBool::new(false), AtomicU64::new(0));
        std::thread::scope(|scope| {
            let flipper = scope.spawn(|| self.flip(&stop, &flips));
            let finished = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                // On a busy machine all rounds may be over before the attack begins.
                let is_missing = |count: &AtomicU64| count.load(Relaxed) == 0;
                let is_unmet = |round| {
                    round < 100 * rounds && (is_missing(&self.carried_out) || is_missing(&flips))
                };
                let mut round = 0;
                while round < rounds || is_unmet(round) {
                    self.round.store(round, Relaxed);
                    attempt(self);
                    round += 1;
                }
            }));
            stop.store(true, Relaxed);
            finished.unwrap();
            flipper.join().unwrap();
        });
        let flips = flips.into_inner();
        assert_eq!(self.picture(), before, "{what} led out");
        let carried_out = self.carried_out.load(Relaxed);
        println!("{what}: {rounds} times, {carried_out} carried out, {flips} flips, none led out");
        assert!(flips > 0 && carried_out > 0);
    }

    fn flip(&self, stop: &AtomicBool, flips: &AtomicU64) {
        let (one, two) = (self.served.at("swap"), self.served.at("other"));
        while !stop.load(Relaxed) {
            rustix::fs::renameat_with(CWD, &one, CWD, &two, RenameFlags::EXCHANGE).unwrap();
            let flips = flips.fetch_add(1, Relaxed) + 1;
            // Unevenly, or the disk's rhythm would let every attempt meet the same side.
            let pause = flips.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56;
            (0..pause).for_each(|_| std::hint::spin_loop());
        }
    }

    /// Counts a success; of failures, only those that an attack may cause are fair.
    fn allow<T>(&self, result: Result<T>) -> Option<T> {
        match result {
            Ok(value) => {
                self.carried_out.fetch_add(1, Relaxed);
                Some(value)
            }
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

    fn storage(&self) -> &LocalDirectory {
        &self.served.storage
    }

    /// A name of its own for each round.
    fn fresh(&self, name: &str) -> RemotePath {
        path(&format!("{name}-{}", self.round.load(Relaxed)))
    }

    /// Makes a file in the folder, by its descriptor, unless it is there.
    fn make_file(&self, name: &str) {
        let flags = OFlags::CREATE | OFlags::WRONLY;
        rustix::fs::openat(self.inside.as_fd(), name, flags, Mode::from_raw_mode(0o644)).unwrap();
    }

    /// Makes a folder in the folder, by its descriptor, unless it is there.
    fn make_folder(&self, name: &str) {
        let made = rustix::fs::mkdirat(self.inside.as_fd(), name, Mode::RWXU);
        assert!(matches!(made, Ok(()) | Err(rustix::io::Errno::EXIST)));
    }

    /// Removes from the folder, by its descriptor, what is there.
    fn clear(&self, path: &RemotePath, flags: AtFlags) {
        let name = path.name().unwrap();
        let gone = rustix::fs::unlinkat(self.inside.as_fd(), name, flags);
        assert!(
            matches!(gone, Ok(()) | Err(rustix::io::Errno::NOENT)),
            "{gone:?}"
        );
    }
}

#[test]
fn open_never_leads_out() {
    Arena::new().endure("open", |arena| {
        if let Some(file) = arena.allow(arena.storage().open(&path("/swap/file"), None)) {
            let mut buffer = [0; 32];
            let length = file.read_at(&mut buffer, 0).unwrap();
            assert_eq!(&buffer[..length], INSIDE);
        }
    });
}

#[test]
fn a_home_never_leads_out() {
    Arena::new().endure("beneath", |arena| {
        if let Some(home) = arena.allow(arena.storage().beneath(&path("/swap"), None)) {
            let entry = home.stat(&path("/file"), false).unwrap();
            assert_eq!(entry.size, INSIDE.len() as u64);
        }
    });
}

#[test]
fn stat_never_leads_out() {
    for follow in [false, true] {
        Arena::new().endure("stat", |arena| {
            if let Some(entry) = arena.allow(arena.storage().stat(&path("/swap/file"), follow)) {
                assert_eq!(entry.size, INSIDE.len() as u64);
            }
        });
    }
}

#[test]
fn list_never_leads_out() {
    for (from, recursive) in [("/swap", false), ("/", true)] {
        let options = ListOptions {
            recursive,
            facts: true,
        };
        Arena::new().endure("list", |arena| {
            arena.allow(arena.storage().list(&path(from), options, &mut |found| {
                if let Found::Entry(entry) = found {
                    assert!(!entry.name.ends_with(b"theirs"));
                    assert!(entry.kind != EntryKind::File || entry.size == INSIDE.len() as u64);
                }
                ControlFlow::Continue(())
            }));
        });
    }
}

#[test]
fn make_directory_never_leads_out() {
    for parents in [false, true] {
        Arena::new().endure("make directory", |arena| {
            let new = arena.fresh("/swap/new");
            arena.allow(arena.storage().make_directory(&new, parents));
            arena.clear(&new, AtFlags::REMOVEDIR);
        });
    }
}

#[test]
fn remove_never_leads_out() {
    Arena::new().endure("remove", |arena| {
        arena.make_file("file");
        arena.allow(arena.storage().remove(&path("/swap/file"), false));
    });
    Arena::new().endure("remove directory", |arena| {
        arena.make_folder("empty");
        arena.allow(arena.storage().remove_directory(&path("/swap/empty")));
    });
}

#[test]
fn remove_recursively_never_leads_out() {
    Arena::new().endure("remove recursively", |arena| {
        arena.make_folder("folder");
        arena.make_folder("folder/deep");
        arena.allow(arena.storage().remove(&path("/swap/folder"), true));
    });
}

#[test]
fn rename_never_leads_out() {
    Arena::new().endure("rename", |arena| {
        arena.make_file("file");
        let (inner, outer) = (path("/swap/file"), path("/plain"));
        arena.allow(arena.storage().rename(&inner, &outer, true));
        arena.allow(arena.storage().rename(&outer, &inner, true));
    });
}

#[test]
fn set_time_never_leads_out() {
    Arena::new().endure("set time", |arena| {
        let time = arena.round.load(Relaxed).cast_signed() * 1_000;
        arena.allow(arena.storage().set_time(&path("/swap/file"), time, None));
    });
}

#[test]
fn uploads_never_lead_out() {
    Arena::new().endure("store", |arena| {
        let new = arena.fresh("/swap/new");
        let request = UploadRequest {
            path: new.clone(),
            ..upload("/x")
        };
        arena.allow(arena.served.store(&request, b"upload"));
        arena.clear(&new, AtFlags::empty());
    });
    Arena::new().endure("replace, in parts", |arena| {
        let Some(mut begun) = arena.allow(arena.served.begin(&upload("/swap/file"))) else {
            return;
        };
        begun.write_all_at(INSIDE, 0).unwrap();
        arena.allow(begun.commit(&received(INSIDE)));
    });
}

#[test]
fn making_durable_never_leads_out() {
    let arena = Arena::new();
    let version = |arena: &Arena| {
        arena
            .storage()
            .stat(&path("/swap/file"), false)
            .ok()?
            .version
    };
    let expected = version(&arena).expect("nothing is flipped yet");
    arena.endure("make durable", |arena| {
        arena.allow(arena.storage().make_durable(&path("/swap/file"), &expected));
    });
}
