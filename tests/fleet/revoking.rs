//! What a user may no longer do ends within seconds, whatever the user's sessions are doing.

use std::fs;
use std::io::Read;
use std::time::{Duration, Instant};

use protocol::{
    ErrorCode, MasterReply, MasterRequest, Reply, Request, Secretive, SlaveOffer, Text,
};
use rustix::process::Signal;

use crate::harness::{
    Cluster, PATIENCE, Session, Setup, Wire, port_of, random_bytes, signal_pid, user_command,
    wait_until,
};

const PASSWORD: &str = "a password";

/// Long for a test, and still seconds.
const SECONDS: Duration = Duration::from_secs(10);

fn with_users() -> Setup {
    let setup = Setup::new(1).account(["ada"], PASSWORD);
    setup.account(["bob"], PASSWORD)
}

/// What the master offers to the owner of this account.
fn offers_to(cluster: &Cluster, user: &str) -> Vec<SlaveOffer> {
    let mut wire = Wire::open(cluster.address());
    let login = MasterRequest::Login {
        user: Text::new(user),
        password: Secretive::new(PASSWORD.as_bytes()).unwrap(),
    };
    assert!(matches!(wire.ask(&login), MasterReply::Welcome { .. }));
    let locate = MasterRequest::Locate {
        tried: Vec::new(),
        renew: false,
    };
    match wire.ask(&locate) {
        MasterReply::Located { slaves, .. } => slaves,
        other => panic!("{other:?}"),
    }
}

fn at_slave(cluster: &Cluster) -> Wire {
    Wire::open(cluster.slaves[0].address)
}

/// A session that this offer opens.
fn opened(cluster: &Cluster, offer: &SlaveOffer) -> Wire {
    assert_eq!(port_of(offer), cluster.slaves[0].address.port());
    let mut wire = at_slave(cluster);
    assert!(matches!(wire.present(offer), Reply::Welcome { .. }));
    wire
}

fn code(reply: &Reply) -> Option<ErrorCode> {
    match reply {
        Reply::Error { code, .. } => Some(*code),
        _ => None,
    }
}

fn user(cluster: &mut Cluster, words: &[&str]) {
    user_command(&cluster.state(), words.iter().copied(), PASSWORD).succeeded();
    cluster.master().process.signal(Signal::HUP);
}

fn wait_for_refusal(cluster: &Cluster, offer: &SlaveOffer) {
    wait_until("an old ticket to be refused", SECONDS, || {
        code(&at_slave(cluster).present(offer)) == Some(ErrorCode::TicketExpired)
    });
}

#[test]
fn a_user_who_is_removed_is_out_of_every_session_within_seconds_and_nobody_else_is() {
    let options = ["--limit-session-rate", "1M"];
    let mut cluster = with_users().slave_options(options).start();
    cluster.write("a.txt", b"hello\n");
    cluster.write("big.bin", &random_bytes(1, 64 << 20));
    let client = |user: &str| cluster.client().with_login(user, PASSWORD);
    let (ada, bob) = (client("ada"), client("bob"));
    let mut idle = Session::start(&ada);
    let mut others = Session::start(&bob);
    let loader = client("ada").options(["--streams", "1"]);
    let mut transfer = loader.spawn(["get", "big.bin"]);
    let old = offers_to(&cluster, "ada").remove(0);
    let mut resting = opened(&cluster, &old);
    loader.wait_for_content("big.bin");

    user(&mut cluster, &["remove", "ada"]);
    let begun = Instant::now();
    // Who rests is cut off, who asks is refused, who is in the middle of something too.
    let mut rest = Vec::new();
    resting.socket().read_to_end(&mut rest).ok();
    assert!(begun.elapsed() < SECONDS, "{:?}", begun.elapsed());
    assert_eq!(transfer.wait_code(SECONDS), 4, "{}", transfer.stderr());
    assert!(
        transfer.stderr().contains("login refused"),
        "{}",
        transfer.stderr()
    );
    wait_for_refusal(&cluster, &old);
    idle.process.type_line("get a.txt");
    assert_eq!(
        idle.process.wait_code(PATIENCE),
        4,
        "{}",
        idle.process.stderr()
    );
    assert!(idle.process.stderr().contains("login refused"));
    others.ask("get a.txt");

    // One of the same name who is added later is let in, and the old ticket is not.
    user(&mut cluster, &["add", "ada"]);
    let client = cluster.client().with_login("ada", PASSWORD);
    wait_until("ada to be known again", SECONDS, || {
        client.run(["ls"]).code == 0
    });
    let new = offers_to(&cluster, "ada").remove(0);
    opened(&cluster, &new);
    assert_eq!(
        code(&at_slave(&cluster).present(&old)),
        Some(ErrorCode::TicketExpired)
    );
    others.ask("get -f a.txt");
    assert_eq!(others.end(), 0);
}

#[test]
fn workers_that_start_later_know_it_and_so_does_a_slave_that_was_away() {
    let mut cluster = with_users().start();
    let old = offers_to(&cluster, "ada").remove(0);
    let bob = offers_to(&cluster, "bob").remove(0);
    opened(&cluster, &old);
    user(&mut cluster, &["passwd", "ada"]);
    wait_for_refusal(&cluster, &old);
    let workers = cluster.slaves[0].workers();
    for worker in &workers {
        signal_pid(*worker, Signal::KILL);
    }
    wait_until("other workers", PATIENCE, || {
        let now = cluster.slaves[0].workers();
        now.len() == workers.len() && !now.iter().any(|worker| workers.contains(worker))
    });
    assert_eq!(
        code(&at_slave(&cluster).present(&old)),
        Some(ErrorCode::TicketExpired)
    );
    // All of it anew: it hears it with its first heartbeats.
    cluster.slaves[0].kill();
    cluster.slaves[0].restart();
    wait_for_refusal(&cluster, &old);
    opened(&cluster, &bob);
}

#[test]
fn a_session_goes_on_with_fewer_rights_when_they_are_fewer() {
    let mut cluster = with_users().start();
    let client = cluster.client().with_login("ada", PASSWORD);
    client.write("b.txt", b"mine\n");
    let mut session = Session::start(&client);
    session.ask("put b.txt");
    let mut wire = opened(&cluster, &offers_to(&cluster, "ada").remove(0));
    let file = cluster.state().join("users.toml");
    let written = fs::read_to_string(&file).unwrap();
    let all = r#"rights = ["read", "write", "delete"]"#;
    fs::write(&file, written.replacen(all, r#"rights = ["read"]"#, 1)).unwrap();
    cluster.master().process.signal(Signal::HUP);
    // Whichever comes first: its next request is refused, or it is cut off.
    let disk = Request::DiskFree {};
    wait_until("the session to be over", SECONDS, || {
        let reply: Option<Reply> = wire.ask_if_open(&disk);
        reply.is_none_or(|reply| code(&reply) == Some(ErrorCode::TicketExpired))
    });
    session.ask("get -f b.txt");
    session.process.type_line("rm b.txt");
    assert_eq!(
        session.process.wait_code(PATIENCE),
        1,
        "{}",
        session.process.stderr()
    );
    assert!(session.process.stderr().contains("permission denied"));
    assert!(cluster.path("b.txt").exists());
}

#[test]
fn what_changed_without_a_signal_counts_for_tickets_that_were_made_until_the_restart() {
    let mut cluster = with_users().start();
    user_command(&cluster.state(), ["remove", "ada"], "").succeeded();
    // The file's time is before that of the ticket.
    let changed = fs::metadata(cluster.state().join("users.toml")).unwrap();
    let changed = changed.modified().unwrap();
    wait_until("another millisecond", PATIENCE, || {
        changed.elapsed().unwrap() > Duration::from_millis(2)
    });
    let late = offers_to(&cluster, "ada").remove(0);
    opened(&cluster, &late);
    cluster.master().kill();
    cluster.master().restart();
    wait_for_refusal(&cluster, &late);
    let client = cluster.client().with_login("bob", PASSWORD);
    let is_served = || client.run(["ls"]).code == 0;
    wait_until("the slave to be back", PATIENCE, is_served);
    let kept = offers_to(&cluster, "bob").remove(0);
    cluster.master().kill();
    cluster.master().restart();
    wait_until("the slave to be back", PATIENCE, is_served);
    opened(&cluster, &kept);
}

#[test]
fn what_changed_while_the_master_was_away_counts_when_it_is_back() {
    let mut cluster = with_users().start();
    let old = offers_to(&cluster, "ada").remove(0);
    let mut resting = opened(&cluster, &old);
    cluster.master().kill();
    user_command(&cluster.state(), ["remove", "ada"], "").succeeded();
    cluster.master().restart();
    let mut rest = Vec::new();
    resting.socket().read_to_end(&mut rest).ok();
    wait_for_refusal(&cluster, &old);
    let client = cluster.client().with_login("bob", PASSWORD);
    client.run(["ls"]).succeeded();
}
