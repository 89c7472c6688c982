//! A client that stays: commands are typed into it one by one, as a person would.

use std::net::SocketAddr;

use super::client::Client;
use super::process::Process;
use super::wait::{PATIENCE, wait_until};

/// An open session of the client program, in its first folder. It ends with the first command that fails.
#[derive(Debug)]
pub struct Session {
    /// The running program.
    pub process: Process,
    asked: usize,
}

impl Session {
    /// Starts the client and returns once a slave serves it.
    pub fn start(client: &Client) -> Self {
        let mut session = Self::begin(client);
        session.ask("ls");
        session
    }

    /// Starts the client, which may have to wait for a slave.
    pub fn begin(client: &Client) -> Self {
        Self {
            process: client.spawn::<&str>([]),
            asked: 0,
        }
    }

    /// Types a command and waits until it has been carried out; fails the test if it was not.
    pub fn ask(&mut self, command: &str) {
        self.asked += 1;
        self.process.type_line(command);
        self.process.type_line("pwd");
        // It ends at the first failure: then nothing is said any more.
        wait_until(&format!("the end of '{command}'"), PATIENCE, || {
            let said = self.process.stdout();
            said.lines().filter(|line| *line == "/").count() == self.asked
                || !self.process.is_running()
        });
        assert!(self.process.is_running(), "'{command}' failed");
    }

    /// Which of the connections accepted at `server` is this session's.
    pub fn connection_to(&self, server: SocketAddr) -> Option<SocketAddr> {
        super::peers_of(server)
            .into_iter()
            .find(|peer| super::owner_of_connection(*peer, server, &[self.process.pid()]).is_some())
    }

    /// Ends the session; its exit code.
    pub fn end(&mut self) -> i32 {
        self.process.close_stdin();
        self.process.wait_code(PATIENCE)
    }
}
