//! A mixed load: people who fetch, send, list, remove, mistype their password, are cut off, or sit there and think.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{Choices, Client, Cluster, Session, random_bytes};

pub(super) const PASSWORD: &str = "right horse";

/// People at once.
const PEOPLE: u64 = 4;

/// Between two deeds of one of them, at most, milliseconds.
const PAUSE: u64 = 300;

/// Between two looks at what the servers hold.
const LOOK: Duration = Duration::from_secs(1);

/// What somebody does next.
const DEEDS: [Deed; 9] = [
    Deed::Get,
    Deed::Put,
    Deed::List,
    Deed::PutTree,
    Deed::GetTree,
    Deed::Remove,
    Deed::Mistype,
    Deed::Break,
    Deed::Think,
];

#[derive(Clone, Copy, Debug)]
enum Deed {
    Get,
    Put,
    List,
    PutTree,
    GetTree,
    Remove,
    /// A wrong password.
    Mistype,
    /// A transfer whose client is killed in the middle.
    Break,
    /// A session that is idle for a while.
    Think,
}

/// The people, and what they have done so far.
pub(super) struct Load {
    people: Vec<Person>,
    seed: u64,
    done: [AtomicU64; DEEDS.len()],
}

struct Person {
    name: String,
    client: Client,
    stranger: Client,
}

impl Load {
    pub(super) fn new(cluster: &Cluster, seed: u64) -> Self {
        let person = |number: u64| {
            let tls = if number.is_multiple_of(2) {
                "auto"
            } else {
                "always"
            };
            let client = || Client::new(cluster.address().to_string()).options(["--tls", tls]);
            let person = Person {
                name: format!("p{number}"),
                client: client().with_login("ada", PASSWORD),
                stranger: client().with_login("ada", "wrong horse"),
            };
            let write = |name: &str, length| {
                person
                    .client
                    .write(name, &random_bytes(seed ^ number, length));
            };
            write("small", 20_000);
            write("large", 2 * 1024 * 1024);
            (0..20).for_each(|file| write(&format!("sent/{file}"), 4_000));
            person
        };
        Self {
            people: (0..PEOPLE).map(person).collect(),
            seed,
            done: Default::default(),
        }
    }

    /// Everybody is busy for that long; `look` is called now and then meanwhile.
    pub(super) fn run(&self, lasts: Duration, mut look: impl FnMut()) {
        let end = Instant::now() + lasts;
        thread::scope(|threads| {
            let people = self.people.iter().enumerate();
            let busy = people.map(|(number, person)| {
                let begun: u64 = self.done.iter().map(|done| done.load(Relaxed)).sum();
                let mut choices = Choices(self.seed ^ begun << 8 ^ number as u64);
                threads.spawn(move || {
                    while Instant::now() < end {
                        let place = choices.below(DEEDS.len() as u64) as usize;
                        person.act(DEEDS[place], &mut choices);
                        self.done[place].fetch_add(1, Relaxed);
                        // People do not come at a beat.
                        thread::sleep(Duration::from_millis(choices.below(PAUSE)));
                    }
                })
            });
            let busy: Vec<_> = busy.collect();
            while !busy.iter().all(thread::ScopedJoinHandle::is_finished) {
                look();
                thread::sleep(
                    LOOK.min(end.saturating_duration_since(Instant::now()).max(LOOK / 10)),
                );
            }
        });
    }

    /// How often what was done.
    pub(super) fn shown(&self) -> String {
        let mut shown = String::new();
        for (deed, done) in DEEDS.iter().zip(&self.done) {
            let comma = if shown.is_empty() { "" } else { ", " };
            write!(shown, "{comma}{deed:?} {}", done.load(Relaxed)).unwrap();
        }
        shown
    }
}

impl Person {
    fn act(&self, deed: Deed, choices: &mut Choices) {
        let Self { name, client, .. } = self;
        let size = choices.one_of(&["small", "large"]);
        match deed {
            Deed::Get => {
                let source = format!("{size}.bin");
                client.run(["get", "-f", &source]).succeeded();
            }
            Deed::Put => {
                let target = format!("{name}-{size}");
                client.run(["put", "-f", size, &target]).succeeded();
            }
            Deed::List => {
                client.run(["ls", "-l", "-R"]);
            }
            Deed::PutTree => {
                let target = format!("{name}-tree/");
                client.run(["put", "-r", "-f", "sent", &target]).succeeded();
            }
            Deed::GetTree => {
                client.run(["get", "-r", "-f", "tree"]).succeeded();
            }
            Deed::Remove => {
                let (file, tree) = (format!("{name}-{size}"), format!("{name}-tree"));
                client.run(["rm", "-r", "-f", &file, &tree]).succeeded();
            }
            Deed::Mistype => {
                self.stranger.run(["ls"]).failed(4, "");
            }
            Deed::Break => {
                let target = format!("{name}-broken");
                let words = match choices.below(2) {
                    0 => ["get", "-f", "large.bin", "broken"],
                    _ => ["put", "-f", "large", &target],
                };
                let slowly = ["--limit-rate", "1M"].into_iter().chain(words);
                let mut transfer = client.spawn(slowly);
                thread::sleep(Duration::from_millis(choices.below(800)));
                transfer.kill();
            }
            Deed::Think => {
                let mut session = Session::start(client);
                thread::sleep(Duration::from_millis(choices.below(3_000)));
                assert_eq!(session.end(), 0, "{}", session.process.stderr());
            }
        }
    }
}
