//! What the files below a home may hold together: through several slaves, whoever writes at once and whoever is killed.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use auth::{Grant, StateDirectory, issue};
use protocol::{MasterReply, Reply, Request, Rights, SlaveOffer, Ticket};
use rustix::process::Signal;

use super::{PASSWORD, locate, logged_in};
use crate::harness::{
    Choices, Client, Cluster, PATIENCE, Setup, Wire, port_of, random_bytes, seed, setting,
    signal_pid, staged, tree, user_command, wait_until,
};

const MEBIBYTE: u64 = 1024 * 1024;

/// Two slaves with the account `ada`, whose home has that quota.
fn with_quota(quota: &str) -> Cluster {
    let words = ["ada", "--home", "/home/ada", "--quota", quota];
    let cluster = Setup::new(2).account(words, PASSWORD).start();
    fs::create_dir_all(cluster.path("home/ada")).unwrap();
    cluster
}

fn ada(cluster: &Cluster) -> Client {
    cluster.client().with_login("ada", PASSWORD)
}

/// The bytes of all files below a folder.
fn sum(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let size = |entry: fs::DirEntry| match entry.metadata() {
        Ok(facts) if facts.is_dir() => sum(&entry.path()),
        Ok(facts) => facts.size(),
        Err(_) => 0,
    };
    entries.map(size).sum()
}

/// The same while nobody changes any: no slave does without this lock.
fn sum_at_rest(cluster: &Cluster) -> u64 {
    let ledger = File::open(cluster.path(".mini-ftp/quota/+home+ada"));
    let held = ledger.inspect(|ledger| ledger.lock().unwrap());
    let sum = sum(&cluster.path("home/ada"));
    drop(held);
    sum
}

#[test]
fn a_put_beyond_the_quota_is_refused_with_what_is_left_and_room_can_be_made() {
    let mut cluster = with_quota("3M");
    let client = ada(&cluster);
    client.write("two.bin", &random_bytes(1, 2 << 20));
    client.write("more.bin", &random_bytes(2, (1 << 20) + 1));
    client.write("small.bin", &random_bytes(3, 50_000));
    let free = |client: &Client| {
        let told = client.run(["--json", "df"]).succeeded().json().remove(0);
        (told["total"].as_u64(), told["available"].as_u64())
    };
    // An upload that is under way has its room already, and resuming it takes no more.
    let slow = ada(&cluster).options(["--limit-rate", "1M"]);
    fs::copy(client.path("two.bin"), slow.path("two.bin")).unwrap();
    let mut upload = slow.spawn(["put", "two.bin"]);
    wait_until("a part of the upload", PATIENCE, || {
        let staged = staged(&cluster.root());
        staged
            .iter()
            .any(|file| fs::metadata(file).is_ok_and(|facts| facts.size() > 300_000))
    });
    client.run(["put", "more.bin"]).failed_exactly(
        1,
        "ftpclient: cannot put 'more.bin': quota exceeded: 1.0 MiB of 3.0 MiB left",
    );
    upload.kill();
    let resuming = slow.options(["--limit-rate", "100M"]);
    resuming.run(["put", "two.bin"]).succeeded();
    assert_eq!(free(&client), (Some(3 * MEBIBYTE), Some(MEBIBYTE)));
    // What is refused leaves nothing, and the old file as it is.
    client
        .run(["put", "-f", "small.bin", "/there.bin"])
        .succeeded();
    client
        .run(["put", "-f", "more.bin", "/two.bin"])
        .succeeded();
    client.run(["put", "-f", "two.bin"]).succeeded();
    client
        .run(["put", "-f", "more.bin", "/there.bin"])
        .failed(1, "quota exceeded: 975.2 KiB of 3.0 MiB left");
    assert_eq!(
        fs::read(cluster.path("home/ada/there.bin")).unwrap(),
        client.read("small.bin")
    );
    assert_eq!(staged(&cluster.root()), Vec::<std::path::PathBuf>::new());
    client.run(["mv", "there.bin", "two.bin"]).succeeded();
    assert_eq!(free(&client).1, Some(3 * MEBIBYTE - 50_000));
    client.run(["put", "more.bin"]).succeeded();
    client.run(["rm", "two.bin", "more.bin"]).succeeded();
    assert_eq!(free(&client).1, Some(3 * MEBIBYTE));
    // A quota can be changed, and lifted.
    for (quota, total) in [("1M", Some(MEBIBYTE)), ("none", None)] {
        user_command(&cluster.state(), ["quota", "ada", quota], "").succeeded();
        cluster.master().process.signal(Signal::HUP);
        wait_until("the quota to count", PATIENCE, || {
            let (now, _) = free(&client);
            now == total || (total.is_none() && now > Some(3 * MEBIBYTE))
        });
    }
    client.run(["put", "two.bin"]).succeeded();
    client.run(["put", "more.bin"]).succeeded();
}

#[test]
fn what_was_done_by_hand_is_counted_by_the_registrar() {
    let cluster = with_quota("3M");
    let client = ada(&cluster);
    client.write("put.bin", &random_bytes(1, 50_000));
    client.run(["put", "put.bin"]).succeeded();
    cluster.write("home/ada/by/hand.bin", &random_bytes(2, 30_000));
    // One that says nothing is to be counted at the next sweep, which a new registrar begins with.
    let ledger = cluster.path(".mini-ftp/quota/+home+ada");
    File::create(&ledger).unwrap();
    cluster.slaves[0].process.signal(Signal::HUP);
    wait_until("the count", PATIENCE, || {
        let kept = fs::read_to_string(&ledger).unwrap();
        kept.lines().any(|line| line == "used 80000")
    });
}

#[test]
fn a_tree_through_two_slaves_ends_where_the_quota_does_and_goes_on_when_it_is_raised() {
    let mut cluster = with_quota("1200k");
    let client = ada(&cluster).options(["--streams", "2"]);
    for number in 0..200 {
        let size = if number % 20 == 0 { 70_000 } else { 7000 };
        client.write(
            format!("tree/{}/{number}.bin", number % 3),
            &random_bytes(number, size),
        );
    }
    let finished = client.run(["put", "-r", "tree"]);
    finished.failed(1, "quota exceeded");
    let home = cluster.path("home/ada");
    assert!(sum_at_rest(&cluster) <= 1200 * 1024, "{}", sum(&home));
    let stored = tree(&home)
        .keys()
        .filter(|name| name.extension().is_some())
        .count();
    assert!(stored > 0 && stored < 200, "{stored}");
    // What the other slave publishes at that moment is there, but nobody waits to hear of it.
    let (words, _) = finished
        .stderr
        .split_once(" files are stored, the same command goes on behind them")
        .unwrap();
    let told: usize = words.rsplit(' ').next().unwrap().parse().unwrap();
    assert!(told > 0 && told <= stored, "{told} of {stored}");
    user_command(&cluster.state(), ["quota", "ada", "4M"], "").succeeded();
    cluster.master().process.signal(Signal::HUP);
    wait_until("the new quota to count", PATIENCE, || {
        client.run(["put", "-r", "tree"]).code == 0
    });
    assert_eq!(tree(&home), tree(&client.folder()));
    // Names are given a batch at a time.
    let ledger = fs::read_to_string(cluster.path(".mini-ftp/quota/+home+ada")).unwrap();
    let changes = ledger
        .lines()
        .find_map(|line| line.strip_prefix("changes "));
    let changes: u64 = changes.unwrap().parse().unwrap();
    assert!(changes < 50, "{changes} locks for 200 files");
}

#[test]
fn a_running_session_has_another_quota_when_it_renews_its_ticket() {
    let cluster = with_quota("1M");
    let offer = match logged_in(&cluster).ask(&locate()) {
        MasterReply::Located { mut slaves, .. } => slaves.remove(0),
        other => panic!("{other:?}"),
    };
    let address = SocketAddr::new(cluster.address().ip(), port_of(&offer));
    let mut session = Wire::open(address);
    for quota in [MEBIBYTE, 2 * MEBIBYTE] {
        let welcome = session.present(&with_ticket_for(&cluster, &offer, quota));
        assert!(matches!(welcome, Reply::Welcome { .. }), "{welcome:?}");
        match session.ask(&Request::DiskFree {}) {
            Reply::Space { total, .. } => assert_eq!(total, quota),
            other => panic!("{other:?}"),
        }
    }
}

/// The offer with a ticket that says another quota.
fn with_ticket_for(cluster: &Cluster, offer: &SlaveOffer, quota: u64) -> SlaveOffer {
    let state = StateDirectory::open(Some(&cluster.state())).unwrap();
    let key = state.master_key().unwrap().slave_key(&offer.id, 0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let grant = Grant {
        user: "ada".to_owned(),
        rights: Rights::ALL,
        home: "/home/ada".try_into().unwrap(),
        slave: offer.id,
        issued: now.as_millis() as u64,
        expires: now.as_secs() + 60,
        quota: Some(quota),
    };
    let ticket = issue(&key, &grant, &offer.secret).unwrap();
    SlaveOffer {
        ticket: Ticket::new(&ticket).unwrap(),
        ..offer.clone()
    }
}

/// Writers at the same time.
const WRITERS: u64 = 32;

/// What they may store together: about half of what they want to, each in up to half a second.
const ROOM: u64 = 6 * MEBIBYTE;

#[test]
fn many_writers_never_pass_the_quota_whoever_is_killed_and_afterwards_just_what_is_left_fits() {
    let seed = seed();
    let rounds = setting("MINI_FTP_ROUNDS", 3);
    eprintln!("MINI_FTP_SEED={seed} MINI_FTP_ROUNDS={rounds}");
    let mut choices = Choices(seed);
    let mut cluster = with_quota("6M");
    let client = ada(&cluster);
    client.run(["ls"]).succeeded();
    let writers = ada(&cluster).options(["--limit-rate", "2M"]);
    let (stored, refused) = (AtomicU64::new(0), AtomicU64::new(0));
    for round in 0..rounds {
        let told = format!("seed {seed}, round {round}");
        for writer in 0..WRITERS {
            let most = if writer % 4 == 0 { 50_000 } else { 1_000_000 };
            let size = choices.next() % most;
            writers.write(
                format!("{writer}.bin"),
                &random_bytes(choices.next(), size as usize),
            );
        }
        storm(
            &mut cluster,
            &writers,
            &mut choices,
            (&stored, &refused, &told),
        );
        assert_that_the_rest_fits(&cluster, &client, &told);
        let names: Vec<_> = tree(&cluster.path("home/ada")).into_keys().collect();
        let some = names
            .into_iter()
            .filter(|_| choices.next().is_multiple_of(2));
        let mut remove = vec!["rm".into(), "--".into()];
        remove.extend(some.map(std::path::PathBuf::into_os_string));
        if remove.len() > 2 {
            client.run(remove).succeeded();
        }
        assert_that_the_rest_fits(&cluster, &client, &told);
    }
    let (stored, refused) = (stored.into_inner(), refused.into_inner());
    eprintln!("{stored} stored, {refused} refused for the quota");
    assert!(stored > 0 && refused > 0);
}

/// All write at once, while workers and slaves are killed.
fn storm(
    cluster: &mut Cluster,
    client: &Client,
    choices: &mut Choices,
    (stored, refused, told): (&AtomicU64, &AtomicU64, &str),
) {
    let home = cluster.path("home/ada");
    let watched = cluster.path(".mini-ftp/quota/+home+ada");
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let ledger = File::open(&watched).unwrap();
            let mut most = 0;
            while !is_over.load(Relaxed) {
                ledger.lock().unwrap();
                most = most.max(sum(&home));
                ledger.unlock().unwrap();
                std::thread::sleep(Duration::from_millis(2));
            }
            most
        });
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                client.spawn(["put".to_owned(), "-f".to_owned(), format!("{writer}.bin")])
            })
            .collect();
        for _ in 0..8 {
            // When somebody dies is chance, and nothing waits for it.
            std::thread::sleep(Duration::from_millis(choices.next() % 150));
            let victim = (choices.next() % 2) as usize;
            if choices.next().is_multiple_of(6) {
                cluster.slaves[victim].kill();
                cluster.slaves[victim].restart();
            } else {
                let workers = cluster.slaves[victim].workers();
                let worker = choices.next() as usize % workers.len().max(1);
                workers
                    .get(worker)
                    .into_iter()
                    .for_each(|pid| signal_pid(*pid, Signal::KILL));
            }
        }
        for (writer, mut process) in writers.into_iter().enumerate() {
            let code = process.wait_code(PATIENCE);
            let name = format!("{writer}.bin");
            if code == 0 {
                stored.fetch_add(1, Relaxed);
                assert!(
                    fs::read(home.join(&name)).unwrap() == client.read(&name),
                    "{told}: {name}"
                );
            } else if process.stderr().contains("quota exceeded") {
                refused.fetch_add(1, Relaxed);
            }
        }
        is_over.store(true, Relaxed);
        let most = watch.join().unwrap();
        assert!(most <= ROOM, "{told}: {most}");
    });
    cluster.wait_for_slaves(2);
}

/// That a file as large as what the others leave can be stored, and one that is a byte larger cannot.
fn assert_that_the_rest_fits(cluster: &Cluster, client: &Client, told: &str) {
    let left = ROOM.checked_sub(sum_at_rest(cluster)).expect(told);
    client.write("rest", &random_bytes(left, left as usize + 1));
    let finished = client.run(["put", "-f", "rest"]);
    assert!(
        finished.code == 1 && finished.stderr.contains("quota exceeded"),
        "{told}: {left} left: {finished:?}"
    );
    client.write("rest", &random_bytes(left, left as usize));
    let finished = client.run(["put", "-f", "rest"]);
    assert!(finished.code == 0, "{told}: {left} left: {finished:?}");
    assert_eq!(sum_at_rest(cluster), ROOM, "{told}");
    client.run(["rm", "rest"]).succeeded();
}
