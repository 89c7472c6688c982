//! A line with delay between two networks: a device in each, and a thread that carries the packets across, each of them late,
//! in order and without loss.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use sys::tun;

use crate::harness::Place;

const DEVICE: &str = "wan";

/// Packets taken from one side before the other is looked at.
const BURST: usize = 64;

/// Two networks at the ends of a line, until dropped.
pub struct Line {
    /// Where the servers are.
    pub server: Place,
    /// Where the clients are.
    pub client: Place,
    stop: Option<UnixStream>,
    carrier: Option<JoinHandle<()>>,
}

impl Line {
    /// The servers' address.
    pub const SERVER: [u8; 4] = [10, 99, 0, 1];

    /// A line on which a question and its answer take `round_trip`.
    pub fn new(round_trip: Duration) -> Result<Self, String> {
        let (server, client) = (Place::new()?, Place::new()?);
        let device = |place: &Place| place.run(|| tun::open(DEVICE));
        let devices = [device(&server), device(&client)];
        let [near, far] =
            devices.map(|opened| opened.map_err(|error| format!("/dev/net/tun: {error}")));
        let (near, far) = (near?, far?);
        for (place, own, peer) in [(&server, 1, 2), (&client, 2, 1)] {
            place.ip(&format!(
                "addr add 10.99.0.{own} peer 10.99.0.{peer} dev {DEVICE}"
            ))?;
            place.ip(&format!("link set {DEVICE} mtu 1500 txqueuelen 10000 up"))?;
        }
        let (stop, stopped) = UnixStream::pair().unwrap();
        let delay = round_trip / 2;
        let carrier = thread::Builder::new()
            .name("line".to_owned())
            .spawn(move || carry([&near, &far], delay, &stopped))
            .unwrap();
        Ok(Self {
            server,
            client,
            stop: Some(stop),
            carrier: Some(carrier),
        })
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.stop = None; // the carrier sees the other end close
        if let Some(carrier) = self.carrier.take() {
            carrier.join().ok();
        }
    }
}

struct Packet {
    due: Instant,
    bytes: Vec<u8>,
}

fn carry([one, other]: [&File; 2], delay: Duration, stopped: &UnixStream) {
    let mut ways = [(one, other, VecDeque::new()), (other, one, VecDeque::new())];
    let mut buffer = vec![0; tun::LONGEST];
    loop {
        let next = ways.iter().filter_map(|(_, _, late)| late.front());
        let wait = next.map(|packet: &Packet| packet.due).min().map(until);
        let mut ready = [
            PollFd::new(one, PollFlags::IN),
            PollFd::new(other, PollFlags::IN),
            PollFd::new(stopped, PollFlags::IN),
        ];
        retry_on_intr(|| poll(&mut ready, wait.as_ref())).unwrap();
        if !ready[2].revents().is_empty() {
            return;
        }
        for (from, to, late) in &mut ways {
            take(from, &mut buffer, |bytes| {
                let due = Instant::now() + delay;
                late.push_back(Packet {
                    due,
                    bytes: bytes.to_vec(),
                });
            });
            deliver(to, late);
        }
    }
}

fn until(due: Instant) -> Timespec {
    due.saturating_duration_since(Instant::now())
        .try_into()
        .unwrap()
}

fn take(mut from: &File, buffer: &mut [u8], mut packet: impl FnMut(&[u8])) {
    for _ in 0..BURST {
        match from.read(buffer) {
            Ok(length) => packet(&buffer[..length]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(error) => panic!("{DEVICE}: {error}"),
        }
    }
}

fn deliver(mut to: &File, late: &mut VecDeque<Packet>) {
    let now = Instant::now();
    while let Some(packet) = late.front().filter(|packet| packet.due <= now) {
        match to.write(&packet.bytes) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            _ => late.pop_front(), // a packet that the device refuses is lost, as on any line
        };
    }
}
