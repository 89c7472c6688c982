use std::path::PathBuf;
use std::time::{Duration, Instant};

use protocol::RemotePath;
use storage::LocalDirectory;
use tempfile::TempDir;

use super::*;

/// A folder with the files `/0`, `/1` and so on, each of which holds its name.
struct Shelf {
    folder: TempDir,
    storage: Arc<dyn Storage>,
    openers: Openers,
}

impl Shelf {
    fn with(files: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let storage = Arc::new(LocalDirectory::open(folder.path()).unwrap());
        let shelf = Self {
            folder,
            storage,
            openers: Openers::new(),
        };
        for number in 0..files {
            std::fs::write(shelf.path(number), number.to_string()).unwrap();
        }
        until(|| (0..files).all(|number| shelf.open(number).has_settled()));
        shelf
    }

    fn path(&self, number: usize) -> PathBuf {
        self.folder.path().join(number.to_string())
    }

    fn open(&self, number: usize) -> Box<dyn OpenFile> {
        self.storage.open(&wanted(number).path, None).unwrap()
    }

    /// A session that has had so many files opened, as far as there was somebody to do it.
    fn begin(&self, count: usize) -> OpenAhead {
        let mut ahead = OpenAhead::default();
        self.begin_again(&mut ahead, count);
        ahead
    }

    fn begin_again(&self, ahead: &mut OpenAhead, count: usize) {
        ahead.begin(&self.openers, &self.storage, (0..count).map(wanted));
    }
}

fn wanted(number: usize) -> Wanted {
    Wanted {
        path: RemotePath::try_from(format!("/{number}").as_str()).unwrap(),
        offset: 0,
        length: u64::MAX,
        expected: None,
        digest: true,
    }
}

fn holds(file: &dyn OpenFile, number: usize) -> bool {
    let mut content = [0; 8];
    let length = file.read_at(&mut content, 0).unwrap();
    content[..length] == *number.to_string().as_bytes()
}

fn until(mut condition: impl FnMut() -> bool) {
    let patience = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < patience);
        std::thread::yield_now();
    }
}

/// Waits until the other thread has done all that it could; takes no lock, which that thread would go round.
fn until_all_is_tried(ahead: &OpenAhead) {
    until(|| Arc::strong_count(ahead.run.as_ref().unwrap()) == 1);
}

#[test]
fn each_file_is_opened_for_its_own_request() {
    let shelf = Shelf::with(MOST);
    let mut ahead = shelf.begin(MOST);
    until_all_is_tried(&ahead);
    for number in 0..MOST {
        assert!(!ahead.is_through());
        assert!(holds(ahead.take(&wanted(number)).unwrap().as_ref(), number));
    }
    assert!(ahead.is_through());
}

#[test]
fn whoever_comes_first_opens_and_nobody_waits_for_ever() {
    let shelf = Shelf::with(MOST);
    let mut ahead = OpenAhead::default();
    let mut opened = 0;
    until(|| {
        shelf.begin_again(&mut ahead, MOST);
        for number in 0..MOST {
            if let Some(file) = ahead.take(&wanted(number)) {
                assert!(holds(file.as_ref(), number));
                opened += 1;
            }
        }
        opened > 20 * MOST
    });
}

#[test]
fn requests_that_are_too_few_are_not_looked_at_again() {
    let shelf = Shelf::with(FEWEST);
    let mut ahead = shelf.begin(FEWEST - 1);
    for _ in 1..FEWEST {
        assert!(!ahead.is_to_begin());
    }
    assert!(ahead.is_to_begin());
}

#[test]
fn a_thread_that_came_late_is_left_alone_for_a_while() {
    let runs = Arc::default();
    let run = |late| {
        let run = Run {
            storage: Shelf::with(0).storage,
            slots: Vec::new(),
            begun: Instant::now(),
            late: OnceLock::from(late),
            _permit: Permit::of(&runs).unwrap(),
        };
        Some(Arc::new(run))
    };
    let mut ahead = OpenAhead {
        run: run(LATE),
        ..OpenAhead::default()
    };
    assert!(ahead.is_to_begin());
    ahead.run = run(4 * LATE);
    let begun = Instant::now();
    assert!(!ahead.is_to_begin());
    until(|| ahead.is_to_begin());
    assert!(begun.elapsed() >= CAUTION * (4 * LATE));
}

#[test]
fn no_more_is_open_than_is_allowed_and_few_are_left_alone() {
    let shelf = Shelf::with(MOST + 1);
    assert_eq!(shelf.begin(MOST + 1).run.unwrap().slots.len(), MOST);
    assert!(shelf.begin(FEWEST - 1).is_through());
    assert!(!shelf.begin(FEWEST).is_through());
}

#[test]
fn what_cannot_be_opened_is_left_to_who_asks_for_it() {
    let shelf = Shelf::with(FEWEST - 1);
    let mut ahead = shelf.begin(FEWEST);
    until_all_is_tried(&ahead);
    let found = (0..FEWEST).map(|number| ahead.take(&wanted(number)).is_some());
    let found: Vec<bool> = found.collect();
    assert_eq!(found, [vec![true; FEWEST - 1], vec![false]].concat());
}

#[test]
fn what_changed_just_now_is_left_too() {
    let shelf = Shelf::with(FEWEST);
    let path = shelf.path(1);
    let age_of = |path: &PathBuf| path.metadata().unwrap().modified().unwrap().elapsed();
    // On a machine that is busy with something else it may settle before it is opened.
    until(|| {
        std::fs::write(&path, "1").unwrap();
        let mut ahead = shelf.begin(FEWEST);
        until_all_is_tried(&ahead);
        let is_young = age_of(&path).unwrap() < Duration::from_millis(20);
        let found: Vec<bool> = (0..3)
            .map(|number| ahead.take(&wanted(number)).is_some())
            .collect();
        assert!(!is_young || found == [true, false, true]);
        is_young
    });
}

#[test]
fn another_request_than_the_next_gets_nothing_and_ends_the_run() {
    let shelf = Shelf::with(FEWEST);
    let mut ahead = shelf.begin(FEWEST);
    until_all_is_tried(&ahead);
    let other = Wanted {
        expected: Some(ahead.take(&wanted(0)).unwrap().version().clone()),
        ..wanted(1)
    };
    assert!(ahead.take(&other).is_none());
    assert!(ahead.is_through());
}

#[test]
fn a_worker_has_so_many_runs_and_gets_them_back() {
    let shelf = Shelf::with(FEWEST);
    let mut sessions: Vec<OpenAhead> = (0..MOST_RUNS).map(|_| shelf.begin(FEWEST)).collect();
    assert!(sessions.iter().all(|ahead| !ahead.is_through()));
    let mut other = shelf.begin(FEWEST);
    assert!(other.is_through());
    // Nor does it look at what waits again for each of these.
    assert!((0..FEWEST).all(|_| !other.is_to_begin()));
    assert!(other.is_to_begin());
    sessions[0].rest();
    assert!(sessions[0].is_through());
    until(|| !shelf.begin(FEWEST).is_through());
    drop(sessions);
    until(|| shelf.openers.runs.load(Relaxed) == 0);
}
