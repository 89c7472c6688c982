//! The digest that is kept beside a file, in an extended attribute, with the size, modification time and inode that it
//! was computed for. Never fatal: without it the next reader hashes again.

use std::os::fd::AsFd;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use protocol::Digest;
use rustix::fs::XattrFlags;

use super::facts::Facts;

const NAME: &str = "user.mini-ftp.blake3";

/// First byte of the attribute, so that a later layout is never taken for this one.
const LAYOUT: u8 = 1;

/// Layout, digest, and the identity of the content.
const LENGTH: usize = 1 + 32 + 24;

/// Two writes within one tick of the clock may leave the same modification time; a content younger than this is not
/// vouched for. Ticks are at most 10 ms (100 Hz).
const SETTLED_NS: i64 = 20_000_000;

const SECOND_NS: i64 = 1_000_000_000;

/// How far ahead of ours the clock of a file server may be: what is further in the future was set by hand.
const MOST_AHEAD_NS: i64 = 600 * SECOND_NS;

/// What the attribute holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptDigest {
    /// Of the content.
    pub digest: Digest,
    /// Which content: size, modification time and inode of its file, each as 64 bits, big-endian.
    pub identity: [u8; 24],
}

impl KeptDigest {
    /// What a value says; `None` for what was not written by [`encode`](Self::encode).
    #[must_use]
    pub fn decode(value: &[u8]) -> Option<Self> {
        let (&[LAYOUT], rest) = value.split_first_chunk()? else {
            return None;
        };
        let (&digest, identity) = rest.split_first_chunk()?;
        Some(Self {
            digest: Digest(digest),
            identity: identity.try_into().ok()?,
        })
    }

    /// The value of the attribute.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        [[LAYOUT].as_slice(), &self.digest.0, &self.identity].concat()
    }
}

/// The kept digest, if it was computed for exactly this content.
pub(crate) fn recall(file: impl AsFd, facts: &Facts) -> Option<Digest> {
    let mut value = [0; LENGTH + 1];
    let length = rustix::fs::fgetxattr(file, NAME, value.as_mut_slice()).ok()?;
    let kept = KeptDigest::decode(value.get(..length)?)?;
    (kept.identity == facts.identity()).then_some(kept.digest)
}

/// Whether whatever is done from now on has another time than this.
pub(crate) fn has_settled(time_ns: i64) -> bool {
    settles_in(time_ns).is_zero()
}

/// How long until whatever is done from then on has another time than this.
pub(crate) fn settles_in(time_ns: i64) -> Duration {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|elapsed| i64::try_from(elapsed.as_nanos()).ok());
    let now = now.unwrap_or(time_ns);
    let age = now.saturating_sub(time_ns);
    // Some file systems know whole seconds only.
    let tick = match time_ns % SECOND_NS {
        0 => SECOND_NS,
        _ => 0,
    };
    match age < -MOST_AHEAD_NS {
        true => Duration::ZERO,
        false => Duration::from_nanos((tick + SETTLED_NS - age).max(0).unsigned_abs()),
    }
}

/// Keeps a digest that was computed over a file nobody else can write to yet, or that had [settled](has_settled) before it was
/// read.
pub(crate) fn attach(file: impl AsFd, facts: &Facts, digest: &Digest) {
    let kept = KeptDigest {
        digest: *digest,
        identity: facts.identity(),
    };
    if let Err(error) = rustix::fs::fsetxattr(file, NAME, &kept.encode(), XattrFlags::empty()) {
        tracing::trace!(%error, "the digest is not kept beside the file");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_settles_once_whatever_is_done_has_another_one() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let now = i64::try_from(now.as_nanos()).unwrap();
        let second = now / SECOND_NS * SECOND_NS;
        let fraction = |time| time + i64::from(time % SECOND_NS == 0);
        for (time, longest_ms) in [
            (fraction(now - 2 * SETTLED_NS), 0),
            (second - 2 * SECOND_NS, 0),
            (i64::MIN, 0),
            (now + 2 * MOST_AHEAD_NS, 0), // set by hand
            (fraction(now), 20),
            (fraction(now + SECOND_NS), 1020), // by a file server's clock
            (second, 1020),                    // where there is nothing finer
        ] {
            let settles_in = settles_in(time);
            assert!(settles_in <= Duration::from_millis(longest_ms), "{time}");
            // On a busy machine it may have settled by now.
            let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            let is_late = i64::try_from(elapsed.as_nanos()).unwrap() - now >= SETTLED_NS / 2;
            assert!(
                is_late || settles_in.is_zero() == (longest_ms == 0),
                "{time}"
            );
        }
    }
}
