//! Telling whoever started a server how it fares: a line for people and scripts, a word for systemd (`sd_notify(3)`).

use std::net::SocketAddr;

use sd_notify::NotifyState;
use tracing::warn;

/// The server accepts at `address`. The line comes under `-q` too: scripts that asked for port 0 read it.
pub fn listening(program: &str, address: SocketAddr) {
    crate::say(program, &format!("listening on {address}"));
    notify(&[NotifyState::Ready]);
}

/// A new configuration is being taken over, until [`reloaded`].
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(error) => warn!("cannot read the clock for systemd: {error}"),
    }
}

/// The new configuration counts.
pub fn reloaded() {
    notify(&[NotifyState::Ready]);
}

/// The server is shutting down.
pub fn stopping() {
    notify(&[NotifyState::Stopping]);
}

/// Does nothing where nobody listens.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!("cannot notify systemd: {error}");
    }
}
