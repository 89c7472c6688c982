//! A session for tests of what needs no server.

use std::path::Path;
use std::sync::Arc;

use client::{Interrupt, Options, Target};
use protocol::RemotePath;

use crate::output::{Format, Output};
use crate::screen::Screen;
use crate::session::{Connection, Session};

/// In `local`; it would connect to nobody.
pub(crate) fn session(local: &Path) -> Session {
    let screen = Arc::new(Screen::new(false, false));
    let target = Target {
        host: "192.0.2.1".to_owned(),
        port: 9,
    };
    Session {
        folder: RemotePath::root(),
        local: local.to_owned(),
        connection: Connection::new(
            vec![target],
            Options::default(),
            Arc::clone(&screen),
            Interrupt::default(),
        ),
        output: Output::new(Format::Human, false, screen),
        person: None,
        is_interactive: false,
        is_over: false,
    }
}
