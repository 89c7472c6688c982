//! A running get or put loses the slave that serves it; how long until its bytes move again through another one. `make
//! failover` runs it at full size: `MINI_FTP_ROUNDS` (8) times each way, the same rounds for the same `MINI_FTP_SEED`
//! (drawn, and shown). Where `MINI_FTP_MILLISECONDS` is set, the slowest hundredth must have gone on within so many where
//! the slave's kernel answers, and within twice as many where nothing is heard of it any more.
//!
//! The router between client and slaves counts: what it carries for the other slaves is what moves. Where the content has
//! several streams from the start, the longest pause of all of them counts.

mod strike;
mod tally;
mod world;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::harness::{Choices, PATIENCE, Process, done_as_superuser, seed, setting, skipped};
use strike::{STRIKES, Strike};
use tally::{Kind, Tally};
use world::{Counts, Manner, SLAVES, Way, World};

const MEBIBYTE: u64 = 1024 * 1024;

/// Seconds that a transfer takes, by one stream: longer than any moment that is drawn.
const LASTS: u64 = 4;

/// Content that is worth several streams, and takes about as long from all slaves together.
const LONG: u64 = 48 * MEBIBYTE;

/// More than handshakes and questions are, of two pieces under the rate limit at most: content.
const CONTENT: u64 = 64 * 1024;

/// A transfer is under way once so much has moved.
const BEGUN: u64 = 256 * 1024;

/// What may move twice: the block in flight, and what the kernels held of the next.
const TWICE: u64 = 2 * MEBIBYTE;

/// Between two looks at the counters.
const LOOK: Duration = Duration::from_millis(2);

/// Rounds that run at the same time, each in a world of its own.
const WORLDS: u64 = 8;

const FAST: u64 = 4 * MEBIBYTE;

/// A sender this slow is blocked by nothing.
const SLOW: u64 = MEBIBYTE / 2;

/// Every second world speaks TLS, half of them are slow.
fn manner(world: u64) -> Manner {
    Manner {
        is_encrypted: world % 2 == 1,
        rate: if world % 4 < 2 { FAST } else { SLOW },
    }
}

/// One transfer that is struck.
#[derive(Clone, Copy, Debug)]
struct Round {
    #[allow(dead_code, reason = "shown where it fails")]
    number: u64,
    way: Way,
    strike: Strike,
    /// By as many streams as help, rather than by one.
    is_striped: bool,
    moment: Duration,
}

#[test]
fn a_running_transfer_whose_slave_is_lost_goes_on_with_another() {
    if done_as_superuser() {
        return;
    }
    let seed = seed();
    let rounds = setting("MINI_FTP_ROUNDS", STRIKES.len() as u64);
    eprintln!("MINI_FTP_SEED={seed} MINI_FTP_ROUNDS={rounds}");
    let tally = Mutex::new(Tally::default());
    let too_late = AtomicU64::new(0);
    let begun = Instant::now();
    let run = |place: u64| {
        let mut world = World::new(manner(place))?;
        world.furnish(seed, LASTS * world.manner.rate, LONG);
        for number in (place..rounds).step_by(WORLDS as usize) {
            for round in drawn(seed, number) {
                match round.run(&mut world, seed) {
                    Some(pause) => tally.lock().unwrap().note(round.kind(), pause),
                    None => drop(too_late.fetch_add(1, Relaxed)),
                }
            }
        }
        world.wait_for_rest();
        Ok::<(), String>(())
    };
    let ended: Result<(), String> = thread::scope(|threads| {
        let begin = |place| threads.spawn(move || run(place));
        let worlds: Vec<_> = (0..WORLDS.min(rounds)).map(begin).collect();
        let join = |world: thread::ScopedJoinHandle<'_, _>| world.join().unwrap();
        worlds.into_iter().try_for_each(join)
    });
    if let Err(why) = ended {
        skipped(&why);
        return;
    }
    let tally = tally.into_inner().unwrap();
    eprint!("{tally}");
    eprintln!(
        "seed {seed}, {rounds} rounds in {} s, {} strikes too late to be noticed",
        begun.elapsed().as_secs(),
        too_late.load(Relaxed)
    );
    assert!(too_late.load(Relaxed) <= rounds / 10 + 1);
    let limit = setting("MINI_FTP_MILLISECONDS", 0);
    if limit > 0 {
        tally.check(Duration::from_millis(limit));
    }
}

/// What is done in a round, each way: every strike comes as often as the others, in every world.
fn drawn(seed: u64, number: u64) -> Vec<Round> {
    let mut choices = Choices(seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let place = (number + number / WORLDS) as usize % STRIKES.len();
    let mut round = |way, is_striped| Round {
        number,
        way,
        strike: STRIKES[place],
        is_striped,
        moment: Duration::from_millis(choices.below(2_000)),
    };
    let mut rounds = vec![round(Way::Get, false), round(Way::Put, false)];
    // A put has one stream anyway; a slow world would take too long.
    if manner(number % WORLDS).rate == FAST && number.is_multiple_of(4) {
        rounds.push(round(Way::Get, true));
    }
    rounds
}

impl Round {
    fn kind(self) -> Kind {
        Kind {
            way: self.way,
            is_striped: self.is_striped,
            strike: self.strike,
        }
    }

    fn length(self, world: &World) -> u64 {
        match self.is_striped {
            true => LONG,
            false => LASTS * world.manner.rate,
        }
    }

    /// How long nothing moved through the slaves that were not struck; `None` where the transfer ended before anybody noticed: on a
    /// busy machine a strike can come late, and of a stripe the others do what is left.
    fn run(self, world: &mut World, seed: u64) -> Option<Duration> {
        let told = format!("seed {seed}, {self:?}");
        let mut transfer = world.outside().run(|| self.start(world));
        let watched = world.counting(self.way, |counts| {
            let watch = Watch::begin(world, counts);
            let first = watch.wait_until_under_way(&mut transfer, &told);
            // The moment is the test's choice, not something that it waits for.
            thread::sleep(self.moment);
            let slave = watch.busiest().unwrap_or(first);
            let struck_at = self.strike.hit(world, slave);
            watch.follow(slave, struck_at, &mut transfer, &told)
        });
        let Watched {
            slave,
            pause,
            carried,
        } = watched;
        // Before the check: what it shows must be how a user finds it.
        let is_noticed = self.check(world, &mut transfer, &told);
        let heard = transfer.stdout();
        let by_it = heard.contains(&World::address(slave).to_string());
        assert!(is_noticed || self.is_striped || by_it, "{told}: {heard}");
        let length = self.length(world);
        let most = length + length / 20 + TWICE;
        assert!(
            carried <= most,
            "{told}: {carried} bytes instead of {length}"
        );
        self.strike.heal(world, slave);
        world.wait_for_slaves();
        is_noticed.then_some(pause)
    }

    fn start(self, world: &World) -> Process {
        // Slower than the slave would take it, which so has nothing waiting.
        let rate = (world.manner.rate * 3 / 4).to_string();
        let name = if self.is_striped { "long.bin" } else { "a.bin" };
        let words: &[&str] = match self.way {
            Way::Get if self.is_striped => &["get", name],
            Way::Get => &["--streams", "1", "get", name],
            Way::Put => &["--limit-rate", &rate, "put", "sent.bin"],
        };
        world.client.spawn(words.iter().copied())
    }

    /// Everything is there, and one line told of the loss, if it was noticed: that is what it gives back.
    fn check(self, world: &World, transfer: &mut Process, told: &str) -> bool {
        let code = transfer.wait_code(PATIENCE);
        let said = transfer.stderr();
        assert_eq!(code, 0, "{told}: {said}");
        let lines: Vec<_> = said.lines().collect();
        let is_noticed = match lines[..] {
            [] => false,
            [line] if line.contains(" lost (") && line.contains("going on with") => true,
            _ => panic!("{told}: {said}"),
        };
        let (arrived, original) = match self.way {
            Way::Get if self.is_striped => (world.client.path("long.bin"), "long.bin"),
            Way::Get => (world.client.path("a.bin"), "a.bin"),
            Way::Put => (world.root().join("sent.bin"), "a.bin"),
        };
        let content = std::fs::read(&arrived).unwrap();
        let wanted = std::fs::read(world.root().join(original)).unwrap();
        assert!(content == wanted, "{told}: torn or mixed");
        std::fs::remove_file(arrived).unwrap();
        is_noticed
    }
}

/// Looks at the router's counters while a transfer runs.
struct Watch<'a> {
    world: &'a World,
    counts: &'a dyn Fn() -> Counts,
    first: Counts,
}

/// What it saw.
struct Watched {
    slave: usize,
    pause: Duration,
    /// Bytes in all, but for those that the struck slave still had to do with.
    carried: u64,
}

impl<'a> Watch<'a> {
    fn begin(world: &'a World, counts: &'a dyn Fn() -> Counts) -> Self {
        let first = counts();
        Self {
            world,
            counts,
            first,
        }
    }

    fn moved(&self) -> Counts {
        let now = (self.counts)();
        std::array::from_fn(|slave| now[slave] - self.first[slave])
    }

    /// Through which slave.
    fn wait_until_under_way(&self, transfer: &mut Process, told: &str) -> usize {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(slave) = self.busiest() {
                return slave;
            }
            assert!(
                Instant::now() < end && transfer.is_running(),
                "{told}: {}",
                transfer.stderr()
            );
            thread::sleep(LOOK);
        }
    }

    /// The slave that serves, or does most of it, once that is under way. The kernels may still carry what a transfer before
    /// has left to one that is well again.
    fn busiest(&self) -> Option<usize> {
        let moved = self.moved();
        if moved.iter().all(|moved| *moved < BEGUN) {
            return None;
        }
        let serving = self.world.serving();
        let under_way = |slave: &usize| serving[*slave] && moved[*slave] >= BEGUN;
        let under_way = (0..SLAVES).filter(under_way);
        under_way.max_by_key(|slave| moved[*slave])
    }

    /// Sees the transfer to its end.
    fn follow(
        &self,
        slave: usize,
        struck_at: Instant,
        transfer: &mut Process,
        told: &str,
    ) -> Watched {
        let elsewhere = |moved: Counts| moved.iter().sum::<u64>() - moved[slave];
        let at_strike = self.moved();
        let (mut mark, mut marked_at) = (elsewhere(at_strike), struck_at);
        let mut pause = Duration::ZERO;
        loop {
            let is_over = !transfer.is_running();
            let moved = self.moved();
            let now = Instant::now();
            if is_over || elsewhere(moved) - mark >= CONTENT {
                pause = pause.max(now - marked_at);
                (mark, marked_at) = (elsewhere(moved), now);
            }
            if is_over {
                let carried = elsewhere(moved) + at_strike[slave];
                return Watched {
                    slave,
                    pause,
                    carried,
                };
            }
            if now - marked_at > PATIENCE {
                transfer.signal(Signal::KILL);
                panic!("{told}: nothing moves: {}", transfer.stderr());
            }
            thread::sleep(LOOK);
        }
    }
}
