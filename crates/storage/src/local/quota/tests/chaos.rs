//! Whatever many do at once, in whatever order, and whatever is lost meanwhile.
#![allow(clippy::print_stdout, reason = "a failed test is repeated by its seed")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use proptest::prelude::*;

use super::*;

/// A generator of numbers by a seed that a failed test shows.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % bound
    }
}

#[test]
fn many_writers_never_pass_the_quota_and_lose_nothing_of_it() {
    let seed = getrandom::u64().unwrap();
    println!("seed {seed}");
    let served = Served::new();
    served.session().store("/first", 1).unwrap();
    let (is_over, worst, refused) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..8_u8)
            .map(|writer| {
                let (served, refused) = (&served, &refused);
                let mut dice = Dice(seed ^ (u64::from(writer) << 32));
                scope.spawn(move || {
                    for _ in 0..40 {
                        // As another process would, with descriptors of its own.
                        write_something(&served.session(), writer, &mut dice, refused);
                        if dice.below(20) == 0 {
                            served.damage_under_lock();
                        }
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            while !is_over.load(Relaxed) {
                worst.fetch_max(served.sum(), Relaxed);
            }
        });
        let ends: Vec<_> = writers.into_iter().map(|writer| writer.join()).collect();
        is_over.store(true, Relaxed);
        ends.into_iter().for_each(|end| end.unwrap());
    });
    let worst = worst.load(Relaxed).max(served.sum());
    assert!(worst <= LIMIT, "seed {seed}: {worst}");
    assert!(refused.load(Relaxed) > 0, "seed {seed}: nobody wanted more");
    served.assert_that_the_rest_fits();
}

impl Served {
    fn damage_under_lock(&self) {
        let (_root, quota) = self.inside();
        let _held = quota.book.file.hold().unwrap();
        self.damage();
    }
}

fn write_something(session: &Session, writer: u8, dice: &mut Dice, refused: &AtomicU64) {
    let name = format!("/{}", dice.below(12));
    let size = dice.below(LIMIT / 4);
    let done = match dice.below(8) {
        0 | 1 => session.store(&name, size).map(drop),
        2 | 3 => session
            .begin(&name, writer, size)
            .and_then(|upload| complete(upload, size).map(drop)),
        4 => session.begin(&name, writer, size).map(|mut upload| {
            upload.write_all_at(&content(size / 2), 0).unwrap();
            upload.keep();
        }),
        5 => session.begin(&name, writer, size).map(Upload::discard),
        6 => session.storage.remove(&path(&name), false),
        _ => {
            let to = path(&format!("/{}", dice.below(12)));
            session.storage.rename(&path(&name), &to, true)
        }
    };
    match done.map_err(|error| error.code()) {
        Err(ErrorCode::QuotaExceeded) => {
            refused.fetch_add(1, Relaxed);
        }
        // `Superseded`: another one needed the room of an upload that stood still. `Busy`: the ledger was lost thrice.
        Ok(())
        | Err(ErrorCode::NotFound | ErrorCode::Superseded | ErrorCode::Busy | ErrorCode::Corrupt) =>
            {}
        Err(code) => panic!("{code}"),
    }
}

/// What a session may do, in the model.
#[derive(Clone, Copy, Debug)]
enum Step {
    Store(u8, u64),
    Begin(u8, u64),
    Complete,
    Interrupt,
    GiveUp,
    Remove(u8),
    Rename(u8, u8),
    LoseLedger,
    Crash(u64),
}

fn any_step() -> impl Strategy<Value = Step> {
    let size = 0..6000_u64;
    prop_oneof![
        4 => (0..4_u8, size.clone()).prop_map(|(name, size)| Step::Store(name, size)),
        4 => (0..4_u8, size.clone()).prop_map(|(name, size)| Step::Begin(name, size)),
        3 => Just(Step::Complete),
        2 => Just(Step::Interrupt),
        1 => Just(Step::GiveUp),
        2 => (0..4_u8).prop_map(Step::Remove),
        2 => (0..4_u8, 0..4_u8).prop_map(|(from, to)| Step::Rename(from, to)),
        1 => Just(Step::LoseLedger),
        1 => size.prop_map(Step::Crash),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn the_ledger_agrees_with_the_files_whatever_is_done(steps in proptest::collection::vec(any_step(), 1..30)) {
        let served = Served::new();
        let session = served.session();
        let mut files: BTreeMap<u8, u64> = BTreeMap::new();
        let mut begun: Option<(Box<dyn Upload>, u8, u64)> = None;
        let name = |number: u8| format!("/{number}");
        for step in steps {
            let sum: u64 = files.values().sum();
            match step {
                Step::Store(number, size) => {
                    let old = files.get(&number).copied().unwrap_or(0);
                    // What is promised to the one that runs is not to be had.
                    let promised = begun.as_ref().map_or(0, |(_, number, size)| {
                        size.saturating_sub(files.get(number).copied().unwrap_or(0))
                    });
                    match session.store(&name(number), size) {
                        Ok(_) => drop(files.insert(number, size)),
                        Err(error) => {
                            prop_assert_eq!(error.code(), ErrorCode::QuotaExceeded);
                            prop_assert!(size > old);
                            // Promised when the names held other files than now, it may be a little more.
                            let most = promised.max(begun.as_ref().map_or(0, |(_, _, size)| *size));
                            prop_assert!(sum + most + size - old > LIMIT);
                        }
                    }
                }
                Step::Begin(number, size) => {
                    if let Some((upload, ..)) = begun.take() {
                        upload.keep();
                    }
                    if let Ok(upload) = session.begin(&name(number), number, size) {
                        begun = Some((upload, number, size));
                    }
                }
                Step::Complete => {
                    if let Some((upload, number, size)) = begun.take()
                        && complete(upload, size).is_ok()
                    {
                        files.insert(number, size);
                    }
                }
                Step::Interrupt => {
                    if let Some((upload, ..)) = begun.take() {
                        upload.keep();
                    }
                }
                Step::GiveUp => {
                    if let Some((upload, ..)) = begun.take() {
                        upload.discard();
                    }
                }
                Step::Remove(number) => {
                    let removed = session.storage.remove(&path(&name(number)), false);
                    prop_assert_eq!(removed.is_ok(), files.remove(&number).is_some());
                }
                Step::Rename(from, to) => {
                    let renamed = session.storage.rename(&path(&name(from)), &path(&name(to)), true);
                    prop_assert_eq!(renamed.is_ok(), files.contains_key(&from));
                    if let Some(size) = files.remove(&from) {
                        files.insert(to, size);
                    }
                }
                Step::LoseLedger => served.damage_under_lock(),
                Step::Crash(size) => {
                    let (root, quota) = served.inside();
                    let home = path("/home");
                    let context = Context::new("test", &home);
                    drop(quota.publish(&root, context, (size, &[], true), || size));
                }
            }
            let sum: u64 = files.values().sum();
            prop_assert!(sum <= LIMIT);
            prop_assert_eq!(served.sum(), sum);
            let kept = served.kept_if_sound();
            prop_assert!(kept.is_none_or(|used| used >= sum), "{:?} < {}", kept, sum);
        }
        if let Some((upload, ..)) = begun.take() {
            upload.keep();
        }
        served.assert_that_the_rest_fits();
    }
}

impl Served {
    /// What the ledger says is used, if it says so.
    fn kept_if_sound(&self) -> Option<u64> {
        Ledger::parse(&fs::read_to_string(self.ledger()).unwrap())?.used
    }
}
