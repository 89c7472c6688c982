//! A master and slaves over a folder of their own, on ports that the system chooses.

use std::ffi::OsString;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use super::client::{Client, Finished, private_environment};
use super::gauge::Gauge;
use super::proc::{children, descendants, is_alive, peers_of};
use super::process::{Process, signal_pid};
use super::proxy::Proxy;
use super::wait::{PATIENCE, wait_for, wait_until};

/// The master's program.
pub fn master_binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_ftpmaster"))
}

/// The slaves' program.
pub fn slave_binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_ftpslave"))
}

/// What a cluster will be.
#[derive(Clone, Debug)]
pub struct Setup {
    slaves: usize,
    shape: Shape,
    master_options: Vec<OsString>,
    slave_options: Vec<OsString>,
    slave_helper: Vec<OsString>,
    accounts: Vec<(Vec<OsString>, String)>,
    ip: Ipv4Addr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// Slaves register at the master.
    Registered,
    /// The master knows the slaves from its command line; they know nothing of it.
    Static,
    /// There is no master.
    Masterless,
}

impl Setup {
    /// A master with `slaves` slaves, two workers each.
    pub fn new(slaves: usize) -> Self {
        let setup = Self {
            slaves,
            shape: Shape::Registered,
            master_options: Vec::new(),
            slave_options: Vec::new(),
            slave_helper: Vec::new(),
            accounts: Vec::new(),
            ip: next_address(),
        };
        setup.slave_options(["--grace", "5"])
    }

    /// Worker processes of each slave.
    pub fn workers(self, workers: usize) -> Self {
        self.slave_options(["--workers".to_owned(), workers.to_string()])
    }

    /// Sessions that one worker serves at once.
    pub fn sessions(self, sessions: usize) -> Self {
        self.slave_options(["--sessions".to_owned(), sessions.to_string()])
    }

    /// Slaves that stand alone, named on the master's command line.
    pub fn listed(mut self) -> Self {
        self.shape = Shape::Static;
        self.on_localhost()
    }

    /// Servers at 127.0.0.1, for tests in which that is told or typed.
    pub fn on_localhost(mut self) -> Self {
        self.ip = Ipv4Addr::LOCALHOST;
        self
    }

    /// Servers at another address of this machine.
    pub fn at(mut self, ip: Ipv4Addr) -> Self {
        self.ip = ip;
        self
    }

    /// Slaves that stand alone, and no master: clients ask the first slave.
    pub fn without_master(mut self) -> Self {
        self.shape = Shape::Masterless;
        self
    }

    /// More arguments for the master.
    pub fn master_options<S: Into<OsString>>(
        mut self,
        options: impl IntoIterator<Item = S>,
    ) -> Self {
        self.master_options
            .extend(options.into_iter().map(Into::into));
        self
    }

    /// More arguments for each slave.
    pub fn slave_options<S: Into<OsString>>(
        mut self,
        options: impl IntoIterator<Item = S>,
    ) -> Self {
        self.slave_options
            .extend(options.into_iter().map(Into::into));
        self
    }

    /// Slaves that another program starts, as [`without_privileges`](super::without_privileges) names one.
    pub fn behind(mut self, helper: Vec<OsString>) -> Self {
        self.slave_helper = helper;
        self
    }

    /// An account that is there when the master starts: what stands behind `user add`, and its password.
    pub fn account<S: Into<OsString>>(
        mut self,
        words: impl IntoIterator<Item = S>,
        password: &str,
    ) -> Self {
        let words = ["add".into()]
            .into_iter()
            .chain(words.into_iter().map(Into::into));
        self.accounts.push((words.collect(), password.to_owned()));
        self
    }

    /// Servers whose descriptors the tests can look at: for a normal user that means without the sandbox, which hides them.
    pub fn observable(self) -> Self {
        match rustix::process::geteuid().is_root() {
            true => self,
            false => self
                .slave_options(["--no-sandbox"])
                .master_options(["--no-sandbox"]),
        }
    }

    /// Starts everything, and returns once clients are served.
    pub fn start(self) -> Cluster {
        let directory = tempfile::tempdir().unwrap();
        for folder in ["root", "state", "home"] {
            fs::create_dir(directory.path().join(folder)).unwrap();
        }
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        fs::set_permissions(directory.path().join("state"), private).unwrap();
        for (words, password) in &self.accounts {
            let state = directory.path().join("state");
            user_command(&state, words.iter().cloned(), password).succeeded();
        }
        let slaves = self.slaves;
        let mut cluster = Cluster {
            slaves: Vec::new(),
            master: None,
            setup: self,
            directory,
        };
        if cluster.setup.shape == Shape::Registered {
            cluster.start_master();
        }
        for _ in 0..slaves {
            cluster.add_slave(&[]);
        }
        if cluster.setup.shape == Shape::Static {
            cluster.start_master();
        }
        if cluster.setup.shape != Shape::Masterless {
            cluster.wait_for_slaves(slaves);
        }
        cluster
    }
}

/// Servers that end with the test.
#[derive(Debug)]
pub struct Cluster {
    // The servers stand before the folder they work in: fields are dropped in this order.
    /// The slaves, in the order of their start.
    pub slaves: Vec<Server>,
    master: Option<Server>,
    setup: Setup,
    directory: TempDir,
}

impl Cluster {
    /// A master and `slaves` registered slaves.
    pub fn start(slaves: usize) -> Self {
        Setup::new(slaves).start()
    }

    /// The served folder.
    pub fn root(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    /// A path in the served folder.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.root().join(name)
    }

    /// Puts a file into the served folder.
    pub fn write(&self, name: impl AsRef<Path>, content: &[u8]) {
        super::write_file(&self.path(name), content);
    }

    /// The state directory that master and slaves share.
    pub fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    /// The master.
    pub fn master(&mut self) -> &mut Server {
        self.master.as_mut().expect("this cluster has no master")
    }

    /// Every server: the slaves, and behind them the master.
    pub fn servers(&self) -> impl Iterator<Item = &Server> {
        self.slaves.iter().chain(&self.master)
    }

    /// What holds whatever there is to be held: the processes of all servers.
    pub fn gauge(&self) -> Gauge {
        let master = self
            .master
            .iter()
            .map(|master| ("master".to_owned(), master));
        let slaves = self.slaves.iter().zip(1..);
        Gauge::of(master.chain(slaves.map(|(slave, number)| (format!("slave {number}"), slave))))
    }

    /// Where clients connect: the master, or without one the first slave.
    pub fn address(&self) -> SocketAddr {
        self.master
            .as_ref()
            .or(self.slaves.first())
            .expect("a server")
            .address
    }

    /// A new client of this cluster.
    pub fn client(&self) -> Client {
        Client::new(self.address().to_string())
    }

    /// From now on slaves are started by another program.
    pub fn start_behind(&mut self, helper: Vec<OsString>) {
        self.setup.slave_helper = helper;
    }

    /// Starts another slave, with more arguments than the setup's.
    pub fn add_slave(&mut self, options: &[&str]) -> &mut Server {
        let mut words = self.setup.slave_helper.clone();
        words.push(slave_binary().into());
        let program = PathBuf::from(words.remove(0));
        let mut arguments = words;
        arguments.extend(self.common_arguments());
        arguments.extend(["--root".into(), self.root().into()]);
        match &self.master {
            Some(master) if self.setup.shape == Shape::Registered => {
                arguments.extend(["--master".into(), master.address.to_string().into()]);
            }
            _ => arguments.push("--standalone".into()),
        }
        arguments.extend(self.setup.slave_options.iter().cloned());
        arguments.extend(options.iter().map(Into::into));
        let label = format!("ftpslave {}", self.slaves.len() + 1);
        self.slaves
            .push(Server::start(label, &program, arguments, self.home()));
        self.slaves.last_mut().unwrap()
    }

    /// Starts another slave, whose clients all come through the proxy.
    pub fn add_slave_behind(&mut self, proxy: &Proxy) -> &mut Server {
        let advertised = proxy.address.to_string();
        let slave = self.add_slave(&["--advertise", &advertised]);
        proxy.forward_to(slave.address);
        slave
    }

    /// The slave that serves somebody now, waiting until there is one.
    pub fn serving(&self) -> usize {
        wait_for("a slave that serves", PATIENCE, || {
            let serves = |slave: &Server| !peers_of(slave.address).is_empty();
            self.slaves.iter().position(serves)
        })
    }

    /// Kills every process at once, as a power cut would.
    pub fn kill(&mut self) {
        for server in self.slaves.iter_mut().chain(&mut self.master) {
            server.kill();
        }
    }

    /// Starts every server again, on the port that it had.
    pub fn restart(&mut self) {
        for server in self.master.iter_mut().chain(&mut self.slaves) {
            server.restart();
        }
        if self.master.is_some() {
            self.wait_for_slaves(self.slaves.len());
        }
    }

    /// Waits until the master offers `count` slaves.
    pub fn wait_for_slaves(&self, count: usize) {
        let client = self.client();
        // Who is spoken to in the clear alone is asked so.
        let never = OsString::from("never");
        let is_clear = self.setup.master_options.contains(&never);
        let tls = if is_clear { "never" } else { "auto" };
        wait_until(&format!("{count} slaves to be up"), PATIENCE, || {
            let master = self.address().to_string();
            let answer = client.run_exactly(["--json", "--tls", tls, &master, "slaves"]);
            let up = |line: &&str| line.replace(' ', "").contains("\"state\":\"up\"");
            answer.stdout.lines().filter(up).count() == count
        });
    }

    /// Runs a command of `ftpmaster` beside the running master, with the same options.
    pub fn operator<S: Into<OsString>>(&self, words: impl IntoIterator<Item = S>) -> Finished {
        let mut command = Command::new(master_binary());
        private_environment(&mut command, &self.home());
        let port = self.address().port().to_string();
        command
            .args(self.common_arguments())
            .args(["--port", &port])
            .args(words.into_iter().map(Into::into));
        Client::new("nobody").finish(command, b"")
    }

    /// An invitation for one slave.
    pub fn invite(&self) -> String {
        let invited = self.operator(["invite"]);
        invited.succeeded().stdout.trim_end().to_owned()
    }

    fn start_master(&mut self) {
        let mut arguments = self.common_arguments();
        arguments.extend(self.setup.master_options.iter().cloned());
        if self.setup.shape == Shape::Static {
            arguments.extend(
                self.slaves
                    .iter()
                    .map(|slave| slave.address.port().to_string().into()),
            );
        }
        arguments.push("--port".into());
        self.master = Some(Server::start(
            "ftpmaster".to_owned(),
            master_binary(),
            arguments,
            self.home(),
        ));
    }

    fn common_arguments(&self) -> Vec<OsString> {
        let ip = self.setup.ip.to_string();
        vec![
            "--state".into(),
            self.state().into(),
            "--bind".into(),
            ip.into(),
        ]
    }

    fn home(&self) -> PathBuf {
        self.directory.path().join("home")
    }
}

/// Runs `ftpmaster user` over a state directory, with a line on stdin.
pub fn user_command<S: Into<OsString>>(
    state: &Path,
    words: impl IntoIterator<Item = S>,
    line: &str,
) -> Finished {
    let mut command = Command::new(master_binary());
    private_environment(&mut command, state);
    command
        .arg("--state")
        .arg(state)
        .arg("user")
        .args(words.into_iter().map(Into::into));
    let input = format!("{line}\n");
    Client::new("nobody").finish(command, input.as_bytes())
}

/// A loopback address of its own for each cluster: the port of a server that a test has killed must not become that of
/// another test's server, to which its clients would then come back.
fn next_address() -> Ipv4Addr {
    static CLUSTERS: AtomicU32 = AtomicU32::new(0);
    let cluster = CLUSTERS.fetch_add(1, Relaxed);
    let [.., high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, 1 + high % 254, low, 1 + (cluster % 254) as u8)
}

/// A server and the port it keeps when it is started again.
#[derive(Debug)]
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its process: of a slave, the supervisor.
    pub process: Process,
    label: String,
    program: PathBuf,
    arguments: Vec<OsString>,
    home: PathBuf,
}

impl Server {
    /// Starts `program`, whose last argument is the port, and waits until it can accept.
    pub fn start(label: String, program: &Path, arguments: Vec<OsString>, home: PathBuf) -> Self {
        Self::start_at(0, label, program, (arguments, home))
    }

    /// The same, at a port of the test's choice; its home is where it runs.
    pub fn start_at(
        port: u16,
        label: String,
        program: &Path,
        (arguments, home): (Vec<OsString>, PathBuf),
    ) -> Self {
        let (process, address) = launch(&label, program, &arguments, port, &home);
        Self {
            address,
            process,
            label,
            program: program.to_owned(),
            arguments,
            home,
        }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Its processes: the supervisor first, then its children. Nobody, once it was seen to have ended.
    pub fn family(&self) -> Vec<u32> {
        if !self.process.keeps_its_number() {
            return Vec::new();
        }
        let mut family = vec![self.pid()];
        family.extend(descendants(self.pid()));
        family
    }

    /// Of a slave: the processes that serve.
    pub fn workers(&self) -> Vec<u32> {
        let is_worker = |pid: &u32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.split(|byte| *byte == 0)
                .any(|word| word == b"--pool-worker")
        };
        let children = self.children().into_iter();
        children.filter(is_worker).collect()
    }

    /// Of a slave: the process that registers it with the masters; `None` while there is none.
    pub fn registrar(&self) -> Option<u32> {
        let workers = self.workers();
        let other = |pid: &u32| !workers.contains(pid);
        self.children().into_iter().find(other)
    }

    fn children(&self) -> Vec<u32> {
        match self.process.keeps_its_number() {
            true => children(self.pid()),
            false => Vec::new(),
        }
    }

    /// Sends a signal to every process of it.
    pub fn signal_all(&self, signal: Signal) {
        self.family()
            .into_iter()
            .for_each(|pid| signal_pid(pid, signal));
    }

    /// Kills every process of it, as if its machine were gone.
    pub fn kill(&mut self) {
        // The supervisor first: it would replace a killed child.
        let family = self.family();
        self.signal_all(Signal::KILL);
        self.process.kill();
        wait_until("the killed to be gone", PATIENCE, || {
            !family.iter().any(|pid| is_alive(*pid))
        });
    }

    /// Puts an argument before all others, from the next start on.
    pub fn add_argument(&mut self, argument: impl Into<OsString>) {
        self.arguments.insert(0, argument.into());
    }

    /// Starts it again on the same port; what still runs of it is killed first.
    pub fn restart(&mut self) {
        if self.process.is_running() {
            self.process.kill();
        }
        let port = self.address.port();
        (self.process, self.address) = launch(
            &self.label,
            &self.program,
            &self.arguments,
            port,
            &self.home,
        );
    }
}

fn launch(
    label: &str,
    program: &Path,
    arguments: &[OsString],
    port: u16,
    home: &Path,
) -> (Process, SocketAddr) {
    let mut command = Command::new(program);
    private_environment(&mut command, home);
    command
        .args(arguments)
        .arg(port.to_string())
        .current_dir(home);
    let process = Process::spawn(label, &mut command);
    let line = process.wait_for_line("listening on ", Duration::from_secs(20));
    let address = line.rsplit("listening on ").next().unwrap_or_default();
    let address = address.split_whitespace().next().unwrap_or_default();
    let address = address
        .parse()
        .unwrap_or_else(|_| panic!("no address in '{line}'"));
    (process, address)
}
