//! What a client tells its caller while it works: lines for a person, figures for a progress bar.

use std::fmt;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use protocol::{Fingerprint, RemotePath};

/// Whoever watches a client. Called from the thread that works: answer quickly.
pub trait Observer: Send + Sync {
    /// Something happened that a person should know.
    fn notice(&self, notice: &Notice);

    /// A transfer moved on: several times a second at most for one file.
    fn progress(&self, progress: &Progress);
}

/// Watches nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {
    fn notice(&self, _: &Notice) {}

    fn progress(&self, _: &Progress) {}
}

/// Something that a person should know. Displayed as one line; names in it have their control characters escaped.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// The slave that served is gone.
    SlaveLost {
        /// Which one.
        slave: SocketAddr,
        /// What was seen of it last.
        cause: String,
        /// Who goes on; `None` where nobody was found at once.
        next: Option<SocketAddr>,
    },
    /// A server that nobody vouches for is met for the first time: from now on it is known by its key. Whoever looks has to be
    /// told, since nobody else can know whether it is the right one.
    NewServer {
        /// As the user named it.
        server: String,
        /// By what it is known.
        key: Fingerprint,
        /// Where that is remembered.
        file: PathBuf,
    },
    /// Nobody serves now; the client tries again for a while.
    Waiting {
        /// Why nobody does.
        why: String,
    },
    /// What had been received of a file is of no use: it begins again.
    Restarted {
        /// The file.
        remote: RemotePath,
        /// Why.
        why: String,
    },
    /// Blocks of a file arrived damaged and are fetched again.
    Damaged {
        /// The file.
        remote: RemotePath,
        /// How many blocks; 0 where the whole is moved again.
        blocks: u64,
        /// The slave that served them, where that is known.
        slave: Option<SocketAddr>,
    },
    /// What arrived is not what the file held when it was sent before, although its times are those of then.
    Reread {
        /// The file.
        remote: RemotePath,
    },
    /// A folder in which a mirror removes nothing.
    Kept {
        /// Its path.
        name: Vec<u8>,
        /// Why.
        why: String,
    },
    /// A name that is not transferred.
    Skipped {
        /// Its path.
        name: Vec<u8>,
        /// Why.
        why: String,
    },
}

/// How far a transfer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of this file that are there, those of earlier tries included.
    pub bytes: u64,
    /// Bytes of the whole file.
    pub total: u64,
    /// The remote path.
    pub name: Vec<u8>,
}

impl fmt::Display for Notice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SlaveLost {
                slave,
                cause,
                next: Some(next),
            } => write!(
                formatter,
                "slave {slave} lost ({cause}), going on with {next}"
            ),
            Self::SlaveLost {
                slave,
                cause,
                next: None,
            } => write!(
                formatter,
                "slave {slave} lost ({cause}), looking for another"
            ),
            Self::NewServer { server, key, file } => write!(
                formatter,
                "{} is new: {key}, remembered in '{}'",
                shown(server.as_bytes()),
                shown(file.as_os_str().as_bytes())
            ),
            Self::Waiting { why } => write!(formatter, "{why}, waiting"),
            Self::Restarted { remote, why } => {
                write!(
                    formatter,
                    "{}: {why}, starting again",
                    shown(remote.as_bytes())
                )
            }
            Self::Damaged {
                remote,
                blocks,
                slave,
            } => formatter.write_str(&damaged(remote, *blocks, *slave)),
            Self::Reread { remote } => {
                let remote = shown(remote.as_bytes());
                write!(
                    formatter,
                    "{remote}: not what was read before, reading and sending again"
                )
            }
            Self::Kept { name, why } => {
                write!(formatter, "{}: {why}, nothing is removed", shown(name))
            }
            Self::Skipped { name, why } => write!(formatter, "{}: {why}, skipped", shown(name)),
        }
    }
}

fn damaged(remote: &RemotePath, blocks: u64, slave: Option<SocketAddr>) -> String {
    let remote = shown(remote.as_bytes());
    let blocks = match blocks {
        0 => return format!("{remote}: damaged on the way, sending again"),
        1 => "1 block".to_owned(),
        _ => format!("{blocks} blocks"),
    };
    match slave {
        Some(slave) => format!("{remote}: {blocks} from {slave} damaged, fetching again"),
        None => format!("{remote}: damaged on the way, fetching {blocks} again"),
    }
}

/// A name as it may stand on a terminal: control characters and what is not UTF-8 escaped.
pub(crate) fn shown(name: &[u8]) -> String {
    let mut text = String::new();
    for chunk in name.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character.is_control() || is_direction_mark(character) {
                text.extend(character.escape_default());
            } else {
                text.push(character);
            }
        }
        text.push_str(&chunk.invalid().escape_ascii().to_string());
    }
    text
}

/// Marks that make a terminal show text in another order than it stands in.
const fn is_direction_mark(character: char) -> bool {
    matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_is_one_harmless_line() {
        let notice = Notice::Skipped {
            name: b"/a\n\x1b[2J\xff\xe2\x80\xaeb".to_vec(),
            why: "a symbolic link".to_owned(),
        };
        assert_eq!(
            notice.to_string(),
            "/a\\n\\u{1b}[2J\\xff\\u{202e}b: a symbolic link, skipped"
        );
    }
}
