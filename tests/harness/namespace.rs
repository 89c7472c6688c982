//! Networks of our own: namespaces without a name, gone with the last process in them.
//!
//! What a thread starts is born into the thread's network, so no program has to be told.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// A network namespace, or the one that we were started in.
pub struct Place(Option<File>);

/// The network that we were started in.
pub static HERE: Place = Place(None);

impl Place {
    /// A new network with nothing but loopback.
    pub fn new() -> Result<Self, String> {
        // `cat` answers once it runs, and it runs in the new network.
        let mut holder = Command::new("unshare")
            .args(["--net", "cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("unshare (util-linux): {error}"))?;
        let mut stdin = holder.stdin.take().unwrap();
        stdin.write_all(b"\n").ok(); // where it could not start, the answer is missing
        let mut answer = String::new();
        let mut stdout = BufReader::new(holder.stdout.take().unwrap());
        stdout.read_line(&mut answer).unwrap();
        let link = File::open(format!("/proc/{}/ns/net", holder.id()));
        drop(stdin);
        let ended = holder.wait().unwrap();
        if answer.is_empty() || !ended.success() {
            return Err("network namespaces take the superuser".to_owned());
        }
        let place = Self(Some(link.map_err(|error| error.to_string())?));
        place.ip("link set lo up")?;
        Ok(place)
    }

    /// Two new networks with a line between them, in which their addresses are 10.97.0.1 and 10.97.0.2.
    pub fn pair() -> Result<[Self; 2], String> {
        let places = [Self::new()?, Self::new()?];
        let far = places[1].path();
        places[0].ip(&format!(
            "link add line type veth peer name line netns {}",
            far.display()
        ))?;
        for (place, address) in places.iter().zip(["10.97.0.1", "10.97.0.2"]) {
            place.ip(&format!("addr add {address}/24 dev line"))?;
            place.ip("link set line up")?;
        }
        Ok(places)
    }

    /// A new network whose loopback uses this congestion control whatever the machine's default is.
    pub fn with_congestion_control(name: &str) -> Result<Self, String> {
        let place = Self::new()?;
        for range in ["127.0.0.0/8", "127.0.0.1"] {
            place.ip(&format!(
                "route replace table local local {range} dev lo proto kernel scope host src 127.0.0.1 congctl {name}"
            ))?;
        }
        Ok(place)
    }

    /// Does `work` in this network: what it connects, binds and starts is there.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let Some(link) = &self.0 else {
            return work();
        };
        let moved = || {
            move_into_link_name_space(link.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            work()
        };
        let result = thread::scope(|scope| scope.spawn(moved).join());
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// `ip` with these words, in this network.
    pub fn ip(&self, words: &str) -> Result<(), String> {
        self.tool("ip", words)
    }

    /// A program of iproute2 with these words, in this network.
    pub fn tool(&self, program: &str, words: &str) -> Result<(), String> {
        let words: Vec<&str> = words.split_whitespace().collect();
        self.tool_of(program, &words).map(drop)
    }

    /// Sends nothing by this device any more, until [`Self::unmute`]: what is on the way to here still comes.
    pub fn mute(&self, device: &str) -> Result<(), String> {
        const DROP: &str = "1,6 0 0 2,"; // one instruction of tc-bpf(8): return TC_ACT_SHOT
        self.tool("tc", &format!("qdisc add dev {device} clsact"))?;
        let filter = format!("filter add dev {device} egress bpf da bytecode");
        let words: Vec<&str> = filter.split(' ').chain([DROP]).collect();
        self.tool_of("tc", &words).map(drop)
    }

    /// Sends by this device again.
    pub fn unmute(&self, device: &str) -> Result<(), String> {
        self.tool("tc", &format!("qdisc del dev {device} clsact"))
    }

    /// As [`Self::tool`], with words that may hold spaces; what it says.
    pub fn tool_of(&self, program: &str, words: &[&str]) -> Result<String, String> {
        let output = self.run(|| Command::new(program).args(words).output());
        let output = output.map_err(|error| format!("{program} (iproute2): {error}"))?;
        let [said, complaint] =
            [&output.stdout, &output.stderr].map(|stream| String::from_utf8_lossy(stream));
        match output.status.success() {
            true => Ok(said.into_owned()),
            false => Err(format!(
                "{program} {}: {}",
                words.join(" "),
                complaint.trim()
            )),
        }
    }

    /// How `ip` names this network when it moves a device there.
    pub fn path(&self) -> PathBuf {
        let link = self.0.as_ref().expect("a network of our own");
        PathBuf::from(format!(
            "/proc/{}/fd/{}",
            std::process::id(),
            link.as_raw_fd()
        ))
    }
}
