//! The servers of the storm: two masters (one of them is away most of the time) and three slaves over one small disk.

use std::ffi::OsString;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use super::clocks::{Clock, Clocks};
use super::network::{Machine, Network};
use super::whole;
use crate::harness::{
    Client, Gauge, PATIENCE, Place, Proxy, Server, SmallDisk, master_binary, slave_binary,
    wait_until,
};

pub(super) const SLAVES: usize = 3;
const WORKERS: usize = 2;
const MASTER_PORT: u16 = 2121;
/// The slave that clients reach through a proxy, which can bend what passes.
pub(super) const BEHIND_PROXY: usize = SLAVES - 1;

/// A cluster. Whoever does something to a part of it holds its lock meanwhile.
pub(super) struct World<'a> {
    // The servers stand before the disk they work on: fields are dropped in this order.
    masters: [Mutex<Option<Server>>; 2],
    slaves: Vec<Mutex<Server>>,
    /// One thing at a time is done to a slave's line, the masters' lines, the disk.
    pub(super) slave_lines: [Mutex<()>; SLAVES],
    pub(super) master_lines: Mutex<()>,
    pub(super) whole_disk: Mutex<()>,
    pub(super) proxy: Proxy,
    pub(super) clocks: Vec<Clock>,
    pub(super) network: &'a Network,
    /// When connections are encrypted, as the option has it.
    pub(super) tls: &'static str,
    _disk: SmallDisk,
    folder: PathBuf,
}

impl<'a> World<'a> {
    /// Starts everything in `folder`, with a disk of so many mebibytes; `None` where the machine does not let us.
    pub(super) fn raise(
        network: &'a Network,
        folder: &Path,
        (mebibytes, tls): (u32, &'static str),
    ) -> Option<Self> {
        for name in ["state", "home", "disk", "other"] {
            fs::create_dir(folder.join(name)).unwrap();
        }
        let private = fs::Permissions::from_mode(0o700);
        fs::set_permissions(folder.join("state"), private).unwrap();
        let disk = SmallDisk::mount(&folder.join("disk"), mebibytes)?;
        fs::create_dir(folder.join("disk/root")).unwrap();
        let clocks = Clocks::in_folder(folder);
        let clock = |index| clocks.clock(&folder.join(format!("clock-{index}")));
        let behind = Machine::Slave(BEHIND_PROXY);
        let proxy = network.place(behind).run(|| Proxy::listen_at(behind.ip()));
        let mut world = Self {
            masters: [Mutex::new(None), Mutex::new(None)],
            slaves: Vec::new(),
            slave_lines: [const { Mutex::new(()) }; SLAVES],
            master_lines: Mutex::new(()),
            whole_disk: Mutex::new(()),
            proxy,
            clocks: (0..=SLAVES).map(clock).collect(),
            network,
            tls,
            _disk: disk,
            folder: folder.to_owned(),
        };
        *world.master(0) = Some(world.start_master(0));
        for index in 0..SLAVES {
            let slave = world.start_slave(index);
            world.slaves.push(Mutex::new(slave));
        }
        Some(world)
    }

    /// The served folder.
    pub(super) fn root(&self) -> PathBuf {
        self.folder.join("disk/root")
    }

    /// A place on the same disk that is not served.
    pub(super) fn beside_root(&self, name: &str) -> PathBuf {
        self.folder.join("disk").join(name)
    }

    /// What stands at a remote name.
    pub(super) fn path(&self, remote: &str) -> PathBuf {
        self.root().join(remote.trim_start_matches('/'))
    }

    /// Where clients ask: both masters, the `first` one first.
    pub(super) fn hosts(first: usize) -> String {
        let host = |index: usize| format!("{}:{MASTER_PORT}", Machine::Master(index).ip());
        format!("{},{}", host(first), host(1 - first))
    }

    pub(super) fn master(&self, index: usize) -> MutexGuard<'_, Option<Server>> {
        whole(&self.masters[index])
    }

    pub(super) fn slave(&self, index: usize) -> MutexGuard<'_, Server> {
        whole(&self.slaves[index])
    }

    pub(super) fn place(&self, machine: Machine) -> &Place {
        self.network.place(machine)
    }

    /// Starts a server again where it was, once its port is free.
    pub(super) fn restart(&self, machine: Machine, server: &mut Server) {
        self.place(machine).run(|| {
            wait_until("the port to be free", PATIENCE, || {
                TcpListener::bind(server.address).is_ok()
            });
            server.restart();
        });
    }

    pub(super) fn start_master(&self, index: usize) -> Server {
        let machine = Machine::Master(index);
        let mut arguments = self.common(machine.ip().to_string());
        arguments.extend(["--anonymous", "read-write", "--port"].map(OsString::from));
        self.start(
            (machine, MASTER_PORT),
            master_binary(),
            arguments,
            &self.clocks[0],
        )
    }

    fn start_slave(&self, index: usize) -> Server {
        let machine = Machine::Slave(index);
        // To a slave behind a proxy all clients are at one address: as neighbours on its own machine they have no limits.
        let bind = match index {
            BEHIND_PROXY => "0.0.0.0".to_owned(),
            _ => machine.ip().to_string(),
        };
        let mut arguments = self.common(bind);
        arguments.extend(["--root".into(), self.root().into()]);
        arguments.extend(["--workers".into(), WORKERS.to_string().into()]);
        arguments.extend((0..2).flat_map(registers_at));
        if index == BEHIND_PROXY {
            arguments.extend(["--advertise".into(), self.proxy.address.to_string().into()]);
        }
        let port = self.slave_port(index);
        let slave = self.start(
            (machine, port),
            slave_binary(),
            arguments,
            &self.clocks[1 + index],
        );
        if index == BEHIND_PROXY {
            self.proxy.forward_to(([127, 0, 0, 1], port).into());
        }
        slave
    }

    /// Ports differ, as they are part of who a slave is.
    fn slave_port(&self, index: usize) -> u16 {
        2122 + index as u16
    }

    /// Where clients reach a slave on its machine.
    pub(super) fn port_of(&self, slave: usize) -> u16 {
        match slave {
            BEHIND_PROXY => self.proxy.address.port(),
            _ => self.slave_port(slave),
        }
    }

    /// A slave over another folder that asks to be let in.
    pub(super) fn start_stranger(&self) -> Server {
        let machine = Machine::Stranger;
        let mut arguments = self.common(machine.ip().to_string());
        arguments.extend(["--root".into(), self.other_root().into()]);
        arguments.extend((0..2).flat_map(registers_at));
        let port = self.slave_port(SLAVES);
        self.start((machine, port), slave_binary(), arguments, &self.clocks[0])
    }

    /// What the stranger serves.
    pub(super) fn other_root(&self) -> PathBuf {
        self.folder.join("other")
    }

    fn start(
        &self,
        (machine, port): (Machine, u16),
        program: &Path,
        own: Vec<OsString>,
        clock: &Clock,
    ) -> Server {
        let mut arguments = clock.environment().to_vec();
        arguments.push(program.into());
        arguments.extend(own);
        let label = format!("{machine:?}");
        let home = self.folder.join("home");
        self.place(machine)
            .run(|| Server::start_at(port, label, Path::new("env"), (arguments, home)))
    }

    fn common(&self, bind: String) -> Vec<OsString> {
        let state = self.folder.join("state");
        let mut words = vec!["--state".into(), state.into(), "--bind".into(), bind.into()];
        words.extend(["-v", "--grace", "5", "--tls", self.tls].map(OsString::from));
        words
    }

    /// Waits until the first master offers every slave.
    pub(super) fn wait_for_slaves(&self) {
        let asker = Client::new(Self::hosts(0)).options(["--json", "--tls", self.tls]);
        wait_until("all slaves to be up", 4 * PATIENCE, || {
            let answer = self.place(Machine::Client(0)).run(|| asker.run(["slaves"]));
            let up = |line: &&str| line.replace(' ', "").contains("\"state\":\"up\"");
            answer.stdout.lines().filter(up).count() == SLAVES
        });
    }

    /// Its processes, but for those of the second master.
    pub(super) fn gauge(&self) -> Gauge {
        let master = self.master(0);
        let slaves: Vec<_> = (0..SLAVES).map(|index| self.slave(index)).collect();
        let master = master.iter().map(|server| ("master".to_owned(), server));
        let named = |(index, slave)| (format!("slave {index}"), slave);
        let slaves = slaves.iter().map(|slave| &**slave).enumerate();
        Gauge::of(master.chain(slaves.map(named)))
    }

    /// What each server has said.
    pub(super) fn logs(&self) -> Vec<(String, String)> {
        let mut logs = Vec::new();
        for index in 0..2 {
            let said = self
                .master(index)
                .as_ref()
                .map(|server| server.process.stderr());
            logs.extend(said.map(|said| (format!("master-{index}"), said)));
        }
        for index in 0..SLAVES {
            logs.push((format!("slave-{index}"), self.slave(index).process.stderr()));
        }
        logs
    }

    /// Asks every server to end; what is wrong with how they did.
    pub(super) fn end(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut end = |name: String, server: &mut Server| {
            let status = server.process.terminate(PATIENCE);
            if !status.success() {
                wrong.push(format!("{name} ended with {status}"));
            }
        };
        for index in 0..SLAVES {
            end(format!("slave {index}"), &mut self.slave(index));
        }
        for index in 0..2 {
            if let Some(server) = self.master(index).as_mut() {
                end(format!("master {index}"), server);
            }
        }
        wrong
    }
}

fn registers_at(master: usize) -> [OsString; 2] {
    let address = format!("{}:{MASTER_PORT}", Machine::Master(master).ip());
    ["--master".into(), address.into()]
}
