//! The storm's network: a router, and around it a namespace for each machine, with a line of its own.
//!
//! What is cut, is cut at the router's end of a line: neither machine hears anything of it, each direction can be cut alone, and
//! the packets that are lost are counted.

use std::net::Ipv4Addr;

use crate::harness::{Place, Router};

/// Drops a tenth of the packets: classic BPF over the kernel's random numbers (bpf(8), tc-bpf(8)).
const A_TENTH: &str = "4,32 0 0 4294963256,53 0 1 3865470566,6 0 0 2,6 0 0 0,";

/// Whoever has a line of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Machine {
    Master(usize),
    Slave(usize),
    /// A slave of another storage.
    Stranger,
    Client(usize),
}

/// Machines that somebody is cut off from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peers {
    Masters,
    Clients,
}

impl Machine {
    /// A line of its own for each: the servers' limits by source and network see them apart.
    fn line(self) -> u8 {
        match self {
            Self::Master(index) => 1 + index as u8,
            Self::Slave(index) => 16 + index as u8,
            Self::Stranger => 32,
            Self::Client(index) => 128 + index as u8,
        }
    }

    pub(super) fn ip(self) -> Ipv4Addr {
        Router::ip(self.line())
    }
}

impl Peers {
    /// Drops what comes from or goes to these: classic BPF over a frame of Ethernet (bpf(8), tc-bpf(8)).
    fn dropped(self, course: Course) -> String {
        let (network, mask) = match self {
            Self::Masters => (Ipv4Addr::new(10, 98, 0, 0), 0xffff_f000_u32),
            Self::Clients => (Ipv4Addr::new(10, 98, 128, 0), 0xffff_8000),
        };
        let offset = match course {
            Course::Out => 30, // the destination
            Course::In => 26,  // the source
        };
        let network = u32::from(network);
        format!(
            "7,40 0 0 12,21 0 4 2048,32 0 0 {offset},84 0 0 {mask},21 0 1 {network},6 0 0 2,6 0 0 0,"
        )
    }
}

/// Which way packets go, as the machine at the end of the line has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Course {
    Out,
    In,
}

/// The machines, gone with whatever runs on them.
pub(super) struct Network {
    router: Router,
    places: Vec<(Machine, Place)>,
}

impl Network {
    /// Lays a line to each machine; why not, where that is not allowed.
    pub(super) fn lay(machines: impl IntoIterator<Item = Machine>) -> Result<Self, String> {
        let router = Router::new()?;
        let places = machines
            .into_iter()
            .map(|machine| Ok((machine, router.join(machine.line())?)));
        let places = places.collect::<Result<_, String>>()?;
        Ok(Self { router, places })
    }

    /// Where the programs of a machine run.
    pub(super) fn place(&self, machine: Machine) -> &Place {
        let found = self.places.iter().find(|(name, _)| *name == machine);
        &found.expect("every machine has a line").1
    }

    /// Nothing that the machine sends to these peers, or is sent by them, passes its line, until dropped. The line must be
    /// whole.
    pub(super) fn cut(
        &self,
        machine: Machine,
        peers: Peers,
        courses: &[Course],
    ) -> Result<Undone<'_>, String> {
        let programs = courses
            .iter()
            .map(|course| (*course, peers.dropped(*course)));
        self.filter(machine, &programs.collect::<Vec<_>>())
    }

    /// A tenth of what goes to and from the machine is lost, until dropped. The line must be whole.
    pub(super) fn lose(&self, machine: Machine) -> Result<Undone<'_>, String> {
        let both = [Course::Out, Course::In].map(|course| (course, A_TENTH.to_owned()));
        self.filter(machine, &both)
    }

    /// Has programs decide which packets pass the machine's line.
    fn filter(
        &self,
        machine: Machine,
        programs: &[(Course, String)],
    ) -> Result<Undone<'_>, String> {
        let near = (self.router.place(), Router::line(machine.line()));
        let undone = Undone::add(near, "clsact", "clsact")?;
        for (course, program) in programs {
            let side = match course {
                Course::Out => "ingress",
                Course::In => "egress",
            };
            let filter = format!("filter add dev {} {side} bpf da bytecode", undone.device);
            let words = filter.split(' ').chain([program.as_str()]);
            undone.place.tool_of("tc", &words.collect::<Vec<_>>())?;
        }
        Ok(undone)
    }

    /// So many megabits a second pass its line each way, until dropped. The line must be whole.
    pub(super) fn narrow(
        &self,
        machine: Machine,
        megabits: u64,
    ) -> Result<[Undone<'_>; 2], String> {
        let shape = format!("root tbf rate {megabits}mbit burst 32k latency 50ms");
        let near = (self.router.place(), Router::line(machine.line()));
        let far = (self.place(machine), "line".to_owned());
        Ok([
            Undone::add(near, "root", &shape)?,
            Undone::add(far, "root", &shape)?,
        ])
    }

    /// Breaks the connections that the machine has accepted at `port`: their peers are reset. How many there were.
    pub(super) fn reset(&self, machine: Machine, port: u16) -> Result<u64, String> {
        let words = format!("-HnK state established sport = :{port}");
        let words: Vec<&str> = words.split(' ').collect();
        let said = self.place(machine).tool_of("ss", &words)?;
        Ok(said.lines().filter(|line| !line.is_empty()).count() as u64)
    }

    /// What is wrong with the network still; nothing, once all is healed.
    pub(super) fn wounds(&self) -> String {
        let places = self.places.iter().map(|(_, place)| place);
        let places = places.chain([self.router.place()]);
        let queues = places.map(|place| {
            let queues = place.tool_of("tc", &["qdisc", "show"]);
            queues.unwrap_or_else(|error| format!("tbf? {error}"))
        });
        let queues: String = queues.collect();
        let is_wound = |line: &&str| ["clsact", "tbf"].iter().any(|word| line.contains(word));
        let wounds: Vec<&str> = queues.lines().filter(is_wound).collect();
        wounds.join("\n")
    }
}

/// Something done to a line, until dropped.
pub(super) struct Undone<'a> {
    place: &'a Place,
    device: String,
    /// How tc(8) names what was added to the device.
    handle: &'static str,
}

impl<'a> Undone<'a> {
    fn add(
        (place, device): (&'a Place, String),
        handle: &'static str,
        discipline: &str,
    ) -> Result<Self, String> {
        place.tool("tc", &format!("qdisc add dev {device} {discipline}"))?;
        Ok(Self {
            place,
            device,
            handle,
        })
    }

    /// Packets that were lost so far, or that had to wait: a narrow line counts those, too.
    pub(super) fn hits(&self) -> u64 {
        let words = ["-s", "qdisc", "show", "dev", &self.device, self.handle];
        let said = self.place.tool_of("tc", &words).unwrap_or_default();
        ["dropped ", "overlimits "]
            .iter()
            .filter_map(|name| {
                let (_, figure) = said.split_once(name)?;
                let end = figure.find(|letter: char| !letter.is_ascii_digit())?;
                figure[..end].parse::<u64>().ok()
            })
            .sum()
    }
}

impl Drop for Undone<'_> {
    fn drop(&mut self) {
        // What could not be undone is a wound, which whoever heals looks for.
        let words = format!("qdisc del dev {} {}", self.device, self.handle);
        self.place.tool("tc", &words).ok();
    }
}

#[test]
fn a_line_that_is_cut_loses_what_it_is_to_lose_and_nothing_else() {
    if done_as_superuser() {
        return;
    }
    use std::net::UdpSocket;
    use std::time::Duration;

    use crate::harness::{PATIENCE, done_as_superuser, skipped, wait_until};

    let [slave, client] = [Machine::Slave(0), Machine::Client(0)];
    let network = match Network::lay([slave, client, Machine::Master(0)]) {
        Ok(network) => network,
        Err(reason) => return skipped(reason),
    };
    let socket = |machine: Machine| {
        let bind = || UdpSocket::bind((machine.ip(), 9)).unwrap();
        (machine, network.place(machine).run(bind))
    };
    let sockets = [slave, client, Machine::Master(0)].map(socket);
    let ways = [(0, 1), (1, 0), (0, 2), (2, 0)];
    let must_arrive = |expected: [bool; 4]| {
        for ((from, to), is_expected) in ways.into_iter().zip(expected) {
            let ((_, from), (machine, to)) = (&sockets[from], &sockets[to]);
            from.send_to(b"there?", (machine.ip(), 9)).unwrap();
            let patience = match is_expected {
                true => PATIENCE,
                false => Duration::from_millis(100),
            };
            to.set_read_timeout(Some(patience)).unwrap();
            let arrives = to.recv(&mut [0; 16]).is_ok();
            assert_eq!(arrives, is_expected, "to {machine:?}");
        }
    };
    must_arrive([true; 4]);
    for (courses, left) in [
        (&[Course::Out][..], [false, true, true, true]),
        (&[Course::In], [true, false, true, true]),
        (&[Course::Out, Course::In], [false, false, true, true]),
    ] {
        let cut = network.cut(slave, Peers::Clients, courses).unwrap();
        assert_eq!(cut.hits(), 0);
        must_arrive(left);
        assert_eq!(cut.hits(), courses.len() as u64);
        assert_ne!(network.wounds(), "");
    }
    assert_eq!(network.wounds(), "");
    for (from, to) in [(slave, client), (client, slave)] {
        let narrow = network.narrow(slave, 1).unwrap();
        let hits = || narrow.iter().map(Undone::hits).sum::<u64>();
        assert_eq!(hits(), 0);
        let (_, socket) = sockets
            .iter()
            .find(|(machine, _)| *machine == from)
            .unwrap();
        // More than passes at once, and no more than may wait.
        for _ in 0..50 {
            socket.send_to(&[0; 1000], (to.ip(), 10)).unwrap();
        }
        wait_until("the line to be too narrow", PATIENCE, || hits() > 0);
        assert_ne!(network.wounds(), "");
    }
    assert_eq!(network.wounds(), "");
    must_arrive([true; 4]);
}
