//! The power is cut under uploads, trees, renames and removals, again and again: what was acknowledged is there when the
//! disk comes back, and everything else is what it was or what it was to be, whole.
//!
//! `MINI_FTP_CUTS` (10) and `MINI_FTP_SEED` (drawn, and shown) can be set; the same seed makes the same choices.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use self::client::{End, Keeper, SHARED};
use self::disk::Disk;
use crate::harness::{
    Choices, Cluster, Node, PATIENCE, Setup, seed, setting, skipped, staged, sweep_staging, tree,
    wait_until,
};

mod client;
mod disk;
mod ledger;

/// Most clients at once.
const CLIENTS: usize = 4;

/// The longest that a power cut is awaited, milliseconds.
const LONGEST: u64 = 250;

/// An answer after which the power is cut at once is at most the so manieth.
const MOST_ANSWERS: u64 = 12;

#[test]
fn what_was_acknowledged_outlives_a_power_cut() {
    let cuts = setting("MINI_FTP_CUTS", 10);
    let seed = seed();
    let mut cluster = Setup::new(0).without_master().workers(2).start();
    let disk = match Disk::new(&cluster.root()) {
        Ok(disk) => disk,
        Err(reason) => return skipped(format_args!("no disk whose power can be cut: {reason}")),
    };
    eprintln!("MINI_FTP_SEED={seed} MINI_FTP_CUTS={cuts}");
    fs::remove_dir(disk.root().join("lost+found")).unwrap();
    fs::create_dir(disk.root().join(SHARED)).unwrap();
    cluster.start_behind(disk.helper());
    cluster.add_slave(&[]);
    let mut trial = Trial::new(cluster, disk, seed);
    let begun = Instant::now();
    for cut in 0..cuts {
        trial.cut(&format!("seed {seed}, cut {cut}"));
    }
    let swept = trial.sweep();
    let Trial {
        acknowledged,
        unanswered,
        ..
    } = trial;
    let total: u64 = acknowledged.values().sum();
    eprintln!(
        "power cuts: seed {seed}, {cuts} cuts in {:?}, {total} acknowledged {acknowledged:?}, {unanswered} cut off; 0 lost, \
         0 torn; {swept} staged files left, 0 after the sweep",
        begun.elapsed()
    );
    assert!(total > 0, "nothing was put to the test");
}

/// When the power is cut.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// At once when so many deeds are acknowledged: no later flush makes durable what was not.
    Answer(u64),
    After(Duration),
}

struct Trial {
    cluster: Cluster,
    disk: Disk,
    keepers: Vec<Keeper>,
    choices: Choices,
    acknowledged: BTreeMap<&'static str, u64>,
    unanswered: u64,
}

impl Trial {
    fn new(cluster: Cluster, disk: Disk, seed: u64) -> Self {
        let host = cluster.address().to_string();
        let mut choices = Choices(seed);
        let keepers = (0..CLIENTS).map(|number| Keeper::new(number, choices.next(), &host));
        Self {
            keepers: keepers.collect(),
            cluster,
            disk,
            choices,
            acknowledged: BTreeMap::new(),
            unanswered: 0,
        }
    }

    /// One cut: some clients work, the power goes, the disk comes back and is compared, the slave too.
    fn cut(&mut self, told: &str) {
        let busy = self.choices.one_of(&[1, 2, CLIENTS]);
        let moment = match self.choices.below(2) {
            0 => Moment::Answer(1 + self.choices.below(MOST_ANSWERS)),
            _ => Moment::After(Duration::from_millis(self.choices.below(LONGEST))),
        };
        let told = format!("{told}: {busy} clients, {moment:?}");
        self.work_until(moment, busy, &told);
        self.cluster.slaves[0].kill();
        self.disk.start_again();
        self.compare(&told);
        self.cluster.slaves[0].restart();
    }

    fn work_until(&mut self, moment: Moment, busy: usize, told: &str) {
        let (disk, is_cut, answers) = (&self.disk, AtomicBool::new(false), AtomicU64::new(0));
        let cut = || {
            if !is_cut.swap(true, SeqCst) {
                disk.cut_power();
            }
        };
        let (tell, heard) = mpsc::channel();
        let slave = &mut self.cluster.slaves[0];
        thread::scope(|scope| {
            for keeper in self.keepers.iter_mut().take(busy) {
                let (tell, is_cut, answers, cut) = (tell.clone(), &is_cut, &answers, &cut);
                scope.spawn(move || {
                    while !is_cut.load(SeqCst) {
                        let end = keeper.act();
                        let is_answer = matches!(end, End::Acknowledged(_));
                        if is_answer {
                            let count = answers.fetch_add(1, SeqCst) + 1;
                            if matches!(moment, Moment::Answer(last) if count >= last) {
                                cut();
                            }
                        }
                        // What fails before the power does is a failure of the test.
                        let was_cut = is_cut.load(SeqCst);
                        tell.send((end, was_cut)).unwrap();
                        if !is_answer {
                            break;
                        }
                    }
                });
            }
            drop(tell);
            if let Moment::After(time) = moment {
                // The moment is the test's choice, not something that it waits for.
                thread::sleep(time);
                cut();
            }
            let mut is_dead = false;
            while let Ok((end, was_cut)) = heard.recv() {
                match end {
                    End::Acknowledged(kind) => *self.acknowledged.entry(kind).or_default() += 1,
                    End::Refused(_) if was_cut => self.unanswered += 1,
                    End::Refused(said) => panic!("{told}: with power, {said}"),
                }
                if was_cut && !is_dead {
                    slave.kill();
                    is_dead = true;
                }
            }
        });
    }

    /// What is on the disk must be what the ledgers let be there.
    fn compare(&mut self, told: &str) {
        let root = self.disk.root();
        let mut found = tree(&root);
        found.remove(Path::new(SHARED));
        for keeper in &mut self.keepers {
            let own: BTreeMap<_, _> = found.extract_if(.., |name, _| keeper.owns(name)).collect();
            if let Err(wrong) = keeper.ledger.settle(own) {
                panic!("{told}: {wrong}");
            }
            for (name, node) in keeper.ledger.names() {
                if let Node::File(digest) = node {
                    assert_kept_digest(&root.join(name), digest, told);
                }
            }
        }
        assert!(found.is_empty(), "{told}: nobody has stored {found:?}");
    }

    /// Nothing stays in the staging area: what cannot be resumed goes when the slave has started, the rest by its age: so many.
    fn sweep(&self) -> u64 {
        let root = self.disk.root();
        wait_until("the slave's sweep", PATIENCE, || {
            let is_once = |path: &Path| {
                path.file_name()
                    .is_some_and(|name| name.to_string_lossy().starts_with("once-"))
            };
            !staged(&root).iter().any(|path| is_once(path))
        });
        let left = staged(&root).len() as u64;
        assert_eq!(sweep_staging(&root), left);
        left
    }
}

/// The digest that is kept beside a file, if it is one of this content, is that of it: layout, digest, then the size,
/// modification time and inode that it holds for.
fn assert_kept_digest(path: &Path, digest: &str, told: &str) {
    let mut value = [0; 57];
    let kept = rustix::fs::getxattr(path, "user.mini-ftp.blake3", &mut value[..]);
    assert_eq!(
        kept,
        Ok(57),
        "{told}: no digest beside '{}'",
        path.display()
    );
    let facts = fs::metadata(path).unwrap();
    let modified = facts.mtime() * 1_000_000_000 + facts.mtime_nsec();
    let identity = [facts.len(), modified as u64, facts.ino()].map(u64::to_be_bytes);
    assert_eq!(
        value[33..],
        *identity.as_flattened(),
        "{told}: '{}'",
        path.display()
    );
    let kept: String = value[1..33]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(kept, digest, "{told}: '{}'", path.display());
}
