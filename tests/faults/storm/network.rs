//! The storm's network: a router, and around it a namespace for each machine, with a line of its own.
//!
//! What is cut, is cut at the router: neither end hears anything of it, and each direction can be cut alone.

use std::fs;
use std::net::Ipv4Addr;

use crate::harness::Place;

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

/// Machines that are cut off together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    One(Machine),
    Masters,
    Clients,
}

impl Machine {
    /// A network of its own for each (10.98.N.0/24): the servers' limits by source and network see them apart.
    fn network(self) -> u8 {
        match self {
            Self::Master(index) => 1 + index as u8,
            Self::Slave(index) => 16 + index as u8,
            Self::Stranger => 32,
            Self::Client(index) => 128 + index as u8,
        }
    }

    pub(super) fn ip(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 98, self.network(), 2)
    }

    /// The router's end of its line.
    fn line(self) -> String {
        format!("to{}", self.network())
    }
}

impl Side {
    fn range(self) -> String {
        match self {
            Self::One(machine) => format!("{}/32", machine.ip()),
            Self::Masters => "10.98.0.0/20".to_owned(),
            Self::Clients => "10.98.128.0/17".to_owned(),
        }
    }
}

/// The machines, gone with whatever runs on them.
pub(super) struct Network {
    router: Place,
    places: Vec<(Machine, Place)>,
}

impl Network {
    /// Lays a line to each machine; why not, where that is not allowed.
    pub(super) fn lay(machines: impl IntoIterator<Item = Machine>) -> Result<Self, String> {
        let router = Place::new()?;
        router
            .run(|| {
                let settings = "/proc/sys/net/ipv4";
                fs::write(format!("{settings}/ip_forward"), "1")?;
                // An answer may come by a way on which the question would be lost.
                fs::write(format!("{settings}/conf/all/rp_filter"), "0")?;
                fs::write(format!("{settings}/conf/default/rp_filter"), "0")
            })
            .map_err(|error| format!("/proc/sys: {error}"))?;
        let mut network = Self {
            router,
            places: Vec::new(),
        };
        for machine in machines {
            network.connect(machine)?;
        }
        Ok(network)
    }

    fn connect(&mut self, machine: Machine) -> Result<(), String> {
        let place = Place::new()?;
        let (line, subnet) = (machine.line(), machine.network());
        let far = place.path();
        let far = far.display();
        let router = &self.router;
        router.ip(&format!(
            "link add name {line} type veth peer name line netns {far}"
        ))?;
        router.ip(&format!("addr add 10.98.{subnet}.1/24 dev {line}"))?;
        router.ip(&format!("link set {line} up"))?;
        place.ip(&format!("addr add {}/24 dev line", machine.ip()))?;
        place.ip("link set line up")?;
        place.ip(&format!("route add default via 10.98.{subnet}.1"))?;
        self.places.push((machine, place));
        Ok(())
    }

    /// Where the programs of a machine run.
    pub(super) fn place(&self, machine: Machine) -> &Place {
        let found = self.places.iter().find(|(name, _)| *name == machine);
        &found.expect("every machine has a line").1
    }

    /// Nothing that `from` sends arrives at `to`, until dropped.
    pub(super) fn cut(&self, from: Side, to: Side) -> Result<Undone<'_>, String> {
        let rule = format!("from {} to {} blackhole", from.range(), to.range());
        self.router.ip(&format!("rule add {rule}"))?;
        Ok(self.undone("ip", format!("rule del {rule}")))
    }

    /// A tenth of what goes to and from the machine is lost, until dropped.
    pub(super) fn lose(&self, machine: Machine) -> Result<Undone<'_>, String> {
        let line = machine.line();
        self.router
            .tool("tc", &format!("qdisc add dev {line} clsact"))?;
        let undone = self.undone("tc", format!("qdisc del dev {line} clsact"));
        for direction in ["ingress", "egress"] {
            let filter = format!("filter add dev {line} {direction} bpf da bytecode");
            let mut words: Vec<&str> = filter.split_whitespace().collect();
            words.push(A_TENTH);
            self.router.tool_of("tc", &words)?;
        }
        Ok(undone)
    }

    /// The machine can be sent so many megabits a second, until dropped.
    pub(super) fn narrow(&self, machine: Machine, megabits: u64) -> Result<Undone<'_>, String> {
        let line = machine.line();
        let shape = format!("dev {line} root tbf rate {megabits}mbit burst 32k latency 50ms");
        self.router.tool("tc", &format!("qdisc add {shape}"))?;
        Ok(self.undone("tc", format!("qdisc del dev {line} root")))
    }

    /// Breaks the connections that the machine has accepted at `port`: their peers are reset.
    pub(super) fn reset(&self, machine: Machine, port: u16) -> Result<(), String> {
        let place = self.place(machine);
        place.tool("ss", &format!("-K state established sport = :{port}"))
    }

    /// What is wrong with the network still; nothing, once all is healed.
    pub(super) fn wounds(&self) -> String {
        let show = |program: &str, words: &[&str]| {
            let said = self.router.tool_of(program, words);
            said.unwrap_or_else(|error| error)
        };
        let rules = show("ip", &["rule", "show"]);
        let queues = show("tc", &["qdisc", "show"]);
        let is_wound = |line: &&str| {
            ["blackhole", "clsact", "tbf"]
                .iter()
                .any(|word| line.contains(word))
        };
        let wounds: Vec<&str> = rules
            .lines()
            .chain(queues.lines())
            .filter(is_wound)
            .collect();
        wounds.join("\n")
    }

    fn undone(&self, program: &'static str, words: String) -> Undone<'_> {
        Undone {
            router: &self.router,
            program,
            words,
        }
    }
}

/// Something done to the network, until dropped.
pub(super) struct Undone<'a> {
    router: &'a Place,
    program: &'static str,
    words: String,
}

impl Drop for Undone<'_> {
    fn drop(&mut self) {
        // What could not be undone is a wound, which whoever heals looks for.
        self.router.tool(self.program, &self.words).ok();
    }
}
