//! What is measured. Each round runs every contender once, so that a slow moment of the machine strikes all alike.

use std::fs;
use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use protocol::{ClientPreface, Connection, RemotePath, Reply, Request, ServerPreface};

use crate::harness::{Client, Cluster, PATIENCE, Setup, children, write_file};
use crate::report::{Report, median, timed};
use crate::{limit, memory};

const MIB: f64 = 1024.0 * 1024.0;

/// One large file through master and slave, both ways, verified.
pub fn large_file(report: &mut Report, mib: usize, runs: usize) {
    let cluster = Cluster::start(1);
    fill(&cluster.path("large.bin"), mib);
    let client = cluster.client().options(["-q"]);
    let netcat = limit::has_netcat();
    let rounds: Vec<Round> = (0..runs)
        .map(|_| Round::run(&cluster, &client, netcat))
        .collect();
    let middle = |time: fn(&Round) -> Duration| median(rounds.iter().map(time).collect());
    let (cp, nc) = (middle(|round| round.cp), middle(|round| round.nc));
    let rate = |seconds: f64| format!("{seconds:.2} s, {:.0} MiB/s", mib as f64 / seconds);
    report.row("cp", rate(cp), String::new(), "");
    report.row(netcat_name(netcat), rate(nc), String::new(), "");
    let mut ours = |what: &str, seconds: f64| {
        let beside = format!(
            "{:.2} × the time of cat \\| nc, {:.2} × that of cp",
            seconds / nc,
            seconds / cp
        );
        report.row(what, rate(seconds), beside, "at most 2 × cat \\| nc");
    };
    ours("get, first serving", rounds[0].get.as_secs_f64());
    ours(
        "get, digest known",
        median(rounds.iter().skip(1).map(|round| round.get).collect()),
    );
    ours("put, durable", middle(|round| round.put));
    let client_peak = rounds
        .iter()
        .map(|round| round.client_peak)
        .max()
        .unwrap_or(0);
    report.row(
        "client, most memory",
        mebibytes(client_peak),
        String::new(),
        "under 64 MiB",
    );
    report.row(
        "worker, most memory",
        mebibytes(worker_peak(&cluster)),
        String::new(),
        "under 64 MiB",
    );
}

fn netcat_name(netcat: bool) -> &'static str {
    if netcat {
        "cat \\| nc"
    } else {
        "cat \\| nc (no netcat here: two threads that do the same)"
    }
}

/// Every contender once.
struct Round {
    cp: Duration,
    nc: Duration,
    get: Duration,
    put: Duration,
    client_peak: u64,
}

impl Round {
    fn run(cluster: &Cluster, client: &Client, netcat: bool) -> Self {
        let source = cluster.path("large.bin");
        let (copied, received) = (client.path("copied"), client.path("received"));
        let cp = timed(|| limit::copy(&source, &copied));
        fs::remove_file(&copied).unwrap();
        let nc = timed(|| limit::cat_through_socket(&source, &received, netcat));
        fs::remove_file(&received).unwrap();
        let mut peaks = [0; 2];
        let get = timed(|| peaks[0] = run(client, &["get", "-f", "large.bin"]));
        let put = timed(|| peaks[1] = run(client, &["put", "-f", "large.bin", "back.bin"]));
        fs::remove_file(client.path("large.bin")).unwrap();
        fs::remove_file(cluster.path("back.bin")).unwrap();
        Self {
            cp,
            nc,
            get,
            put,
            client_peak: peaks[0].max(peaks[1]),
        }
    }
}

/// A tree of small files, both ways.
pub fn small_files(report: &mut Report, count: usize, runs: usize) {
    let cluster = Cluster::start(2);
    for number in 0..count {
        let name = format!("tree/{:02}/{number}", number % 100);
        write_file(&cluster.path(name), &[number as u8; 4096]);
    }
    let client = cluster.client().options(["-q"]);
    let (mut cp, mut get, mut put, mut peak) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for _ in 0..runs {
        let copy = client.path("copy");
        cp.push(timed(|| limit::copy_tree(&cluster.path("tree"), &copy)));
        fs::remove_dir_all(&copy).unwrap();
        get.push(timed(|| {
            peak = peak.max(run(&client, &["get", "-r", "tree"]));
        }));
        put.push(timed(|| {
            peak = peak.max(run(&client, &["put", "-r", "tree", "back"]));
        }));
        fs::remove_dir_all(client.path("tree")).unwrap();
        fs::remove_dir_all(cluster.path("back")).unwrap();
    }
    let (cp, get, put) = (median(cp), median(get), median(put));
    let beside = |seconds: f64| format!("{:.2} × the time of cp -r", seconds / cp);
    report.row(
        &format!("get -r, {count} × 4 KiB"),
        format!("{get:.2} s"),
        beside(get),
        "under 5 s",
    );
    report.row(
        &format!("put -r, {count} × 4 KiB, durable"),
        format!("{put:.2} s"),
        beside(put),
        "",
    );
    report.row(
        "client with trees, most memory",
        mebibytes(peak),
        String::new(),
        "under 64 MiB",
    );
}

/// A folder of many names.
pub fn listing(report: &mut Report, count: usize, runs: usize) {
    let cluster = Cluster::start(1);
    fs::create_dir(cluster.path("many")).unwrap();
    for number in 0..count {
        fs::File::create(cluster.path(format!("many/file-{number:06}"))).unwrap();
    }
    let client = cluster.client();
    let (mut ours, mut local) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        local.push(timed(|| {
            assert_eq!(lines(&limit::list(&cluster.path("many"))), count);
        }));
        ours.push(timed(|| {
            assert_eq!(lines(&client.run(["ls", "many"]).succeeded().raw), count);
        }));
    }
    let (ours, local) = (median(ours), median(local));
    let beside = format!("{:.1} × the time of ls -U", ours / local);
    report.row(
        &format!("ls, {count} names"),
        format!("{ours:.3} s"),
        beside,
        "under 1 s",
    );
    report.row(
        "worker after it, most memory",
        mebibytes(worker_peak(&cluster)),
        String::new(),
        "under 64 MiB",
    );
}

fn lines(text: &[u8]) -> usize {
    text.iter().filter(|&&byte| byte == b'\n').count()
}

/// Sessions that have done something and now rest.
pub fn idle_sessions(report: &mut Report, count: usize) {
    let cluster = Setup::new(1).without_master().start();
    cluster.write("small", &[7; 4096]);
    let workers = children(cluster.slaves[0].pid());
    let before = (memory::proportional(&workers), memory::kernel());
    let sessions: Vec<_> = (0..count).map(|_| session(&cluster)).collect();
    let after = (memory::proportional(&workers), memory::kernel());
    drop(sessions);
    let each =
        |after: u64, before: u64| after.saturating_sub(before) as f64 / count as f64 / 1024.0;
    let (own, kernel) = (each(after.0, before.0), each(after.1, before.1));
    let figure = format!("{:.1} KiB each", own + kernel);
    report.row(
        &format!("{count} idle sessions"),
        figure,
        format!("{own:.1} KiB own, {kernel:.1} KiB kernel stack and page tables"),
        "under 64 KiB each",
    );
}

/// A session that has fetched a file once.
fn session(cluster: &Cluster) -> Connection<TcpStream> {
    let stream = TcpStream::connect(cluster.address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut connection = Connection::new(stream);
    connection.send_raw(&ClientPreface::ours().encode());
    let path = RemotePath::try_from("/small").unwrap();
    connection.send(
        1,
        &Request::Retrieve {
            path,
            offset: 0,
            length: u64::MAX,
            expected: None,
            digest: true,
        },
    );
    connection.flush().unwrap();
    connection.read_line(512).unwrap();
    connection
        .read_exact(&mut [0; ServerPreface::LENGTH])
        .unwrap();
    loop {
        let header = connection.receive_answer().unwrap();
        if header.kind != protocol::frame::DATA
            && matches!(connection.decode(&header), Ok(Reply::ContentEnd { .. }))
        {
            return connection;
        }
    }
}

fn worker_peak(cluster: &Cluster) -> u64 {
    let workers = children(cluster.slaves[0].pid());
    workers.into_iter().map(memory::peak).max().unwrap_or(0)
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / MIB)
}

/// Runs a client to its end, and says the most memory that it took.
fn run(client: &Client, command: &[&str]) -> u64 {
    let mut process = client.spawn(command.iter().copied());
    let peak = memory::peak_until_end(&mut process);
    assert_eq!(process.wait_code(PATIENCE), 0, "{}", process.stderr());
    peak
}

/// Bytes that do not repeat, so that nobody can save work.
fn fill(path: &Path, mib: usize) {
    let mut random = BufReader::with_capacity(1 << 20, fs::File::open("/dev/urandom").unwrap())
        .take((mib as u64) << 20);
    let mut file = fs::File::create(path).unwrap();
    std::io::copy(&mut random, &mut file).unwrap();
    file.flush().unwrap();
}
