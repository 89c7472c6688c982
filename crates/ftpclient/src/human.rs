//! The lines that tell a person how a transfer went.

use std::net::SocketAddr;
use std::time::Duration;

use cli::human_size;
use client::{MirrorSummary, Status, Transferred};

use crate::direction::Direction;

/// `a.bin: 2.0 GiB in 0.71 s (2.8 GiB/s), verified, from 127.0.0.1:2122`; `name` is what the file is called here.
pub(crate) fn statistics(direction: Direction, name: &[u8], transferred: &Transferred) -> String {
    let name = cli::name(name);
    if transferred.status == Status::Unchanged {
        return format!("{name}: unchanged");
    }
    let moved = transferred.bytes.saturating_sub(transferred.resumed_at);
    let mut line = format!(
        "{name}: {}",
        pace(transferred.bytes, moved, transferred.seconds)
    );
    if transferred.resumed_at > 0 {
        line += &format!(", resumed at {}", human_size(transferred.resumed_at));
    }
    line += if transferred.verified {
        ", verified"
    } else {
        ", not verified"
    };
    let slaves: Vec<_> = match (transferred.slave, transferred.slaves.as_slice()) {
        (Some(slave), []) => vec![slave.to_string()],
        (_, slaves) => slaves.iter().map(SocketAddr::to_string).collect(),
    };
    if !slaves.is_empty() {
        line += &format!(", {} {}", direction.preposition(), slaves.join(", "));
    }
    if transferred.status == Status::Renamed {
        let stored = direction.destination_name(transferred);
        line += &format!(", stored as '{}'", cli::name(&stored));
    }
    line
}

/// `mirror: 12 files, 3.4 MiB moved, 2 removed, 9,986 unchanged in 0.31 s`, with what else there was.
pub(crate) fn mirrored(summary: &MirrorSummary, dry_run: bool) -> String {
    let (name, moved, removed) = match dry_run {
        true => ("mirror (dry run)", "to move", "to remove"),
        false => ("mirror", "moved", "removed"),
    };
    let plural = if summary.files == 1 { "" } else { "s" };
    let mut line = format!(
        "{name}: {} file{plural}, {} {moved}, {} {removed}, {} unchanged",
        grouped(summary.files),
        human_size(summary.bytes),
        grouped(summary.removed),
        grouped(summary.unchanged),
    );
    for (count, what) in [
        (
            summary.times_set,
            if dry_run { "times to set" } else { "times set" },
        ),
        (summary.newer, "newer"),
        (summary.failed, "failed"),
    ] {
        if count > 0 {
            line += &format!(", {} {what}", grouped(count));
        }
    }
    line + &format!(" in {:.2} s", summary.seconds)
}

/// A number with a comma before every third digit from the right.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// What several transfers came to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    files: u64,
    bytes: u64,
    moved: u64,
    unchanged: u64,
    failed: u64,
}

impl Tally {
    /// Counts one that ended well.
    pub(crate) fn add(&mut self, transferred: &Transferred) {
        self.files += 1;
        self.bytes = self.bytes.saturating_add(transferred.bytes);
        if transferred.status == Status::Unchanged {
            self.unchanged += 1;
        } else {
            let moved = transferred.bytes.saturating_sub(transferred.resumed_at);
            self.moved = self.moved.saturating_add(moved);
        }
    }

    /// How many ended well.
    pub(crate) const fn files(&self) -> u64 {
        self.files
    }

    /// Counts one that failed.
    pub(crate) const fn add_failed(&mut self) {
        self.failed += 1;
    }

    /// `total: 3 files, 6.0 GiB in 2.13 s (2.8 GiB/s), 1 unchanged, 1 failed`; `None` where a line has said it all.
    pub(crate) fn line(&self, elapsed: Duration) -> Option<String> {
        if self.files + self.failed < 2 {
            return None;
        }
        let plural = if self.files == 1 { "" } else { "s" };
        let pace = pace(self.bytes, self.moved, elapsed.as_secs_f64());
        let mut line = format!("total: {} file{plural}, {pace}", self.files);
        for (count, word) in [(self.unchanged, "unchanged"), (self.failed, "failed")] {
            if count > 0 {
                line += &format!(", {count} {word}");
            }
        }
        Some(line)
    }
}

/// `2.0 GiB in 0.71 s (2.8 GiB/s)`; the rate is that of the bytes that moved.
fn pace(bytes: u64, moved: u64, seconds: f64) -> String {
    let time = format!("{} in {seconds:.2} s", human_size(bytes));
    let nanoseconds = Duration::try_from_secs_f64(seconds).map_or(0, |time| time.as_nanos());
    match (u128::from(moved) * 1_000_000_000).checked_div(nanoseconds) {
        Some(rate) if moved > 0 => {
            let rate = u64::try_from(rate).unwrap_or(u64::MAX);
            format!("{time} ({}/s)", human_size(rate))
        }
        _ => time,
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use protocol::RemotePath;

    use super::*;

    fn transferred() -> Transferred {
        Transferred {
            remote: RemotePath::try_from("/pub/a.bin").unwrap(),
            local: PathBuf::from("x/newa.bin"),
            bytes: 2 << 30,
            resumed_at: 0,
            seconds: 0.71,
            digest: None,
            verified: true,
            slave: Some("127.0.0.1:2122".parse().unwrap()),
            slaves: Vec::new(),
            status: Status::Done,
        }
    }

    fn line(direction: Direction, transferred: &Transferred) -> String {
        statistics(direction, b"a.bin", transferred)
    }

    #[test]
    fn the_line_is_the_promised_one() {
        assert_eq!(
            line(Direction::Get, &transferred()),
            "a.bin: 2.0 GiB in 0.71 s (2.8 GiB/s), verified, from 127.0.0.1:2122"
        );
        assert_eq!(
            line(Direction::Put, &transferred()),
            "a.bin: 2.0 GiB in 0.71 s (2.8 GiB/s), verified, to 127.0.0.1:2122"
        );
    }

    #[test]
    fn it_tells_what_was_special() {
        let resumed = Transferred {
            resumed_at: 1 << 30,
            seconds: 1.0,
            ..transferred()
        };
        assert_eq!(
            line(Direction::Get, &resumed),
            "a.bin: 2.0 GiB in 1.00 s (1.0 GiB/s), resumed at 1.0 GiB, verified, from 127.0.0.1:2122"
        );
        let striped = Transferred {
            slaves: vec![
                "127.0.0.1:2122".parse().unwrap(),
                "127.0.0.1:2123".parse().unwrap(),
            ],
            ..transferred()
        };
        assert_eq!(
            line(Direction::Get, &striped),
            "a.bin: 2.0 GiB in 0.71 s (2.8 GiB/s), verified, from 127.0.0.1:2122, 127.0.0.1:2123"
        );
        let renamed = Transferred {
            bytes: 0,
            verified: false,
            slave: None,
            status: Status::Renamed,
            ..transferred()
        };
        assert_eq!(
            line(Direction::Get, &renamed),
            "a.bin: 0 B in 0.71 s, not verified, stored as 'newa.bin'"
        );
        let unchanged = Transferred {
            status: Status::Unchanged,
            ..transferred()
        };
        assert_eq!(line(Direction::Get, &unchanged), "a.bin: unchanged");
        assert_eq!(
            statistics(Direction::Get, b"\x1b\n", &unchanged),
            r"\x1b\n: unchanged"
        );
    }

    #[test]
    fn no_time_at_all_gives_no_rate() {
        for seconds in [0.0, -1.0, f64::NAN] {
            let line = pace(5, 5, seconds);
            assert!(line.starts_with("5 B in") && line.ends_with(" s"), "{line}");
        }
    }

    #[test]
    fn a_mirror_is_summed_up_in_one_line() {
        let summary = MirrorSummary {
            files: 12,
            bytes: 3_565_158,
            removed: 2,
            unchanged: 9_986,
            seconds: 0.31,
            ..MirrorSummary::default()
        };
        assert_eq!(
            mirrored(&summary, false),
            "mirror: 12 files, 3.4 MiB moved, 2 removed, 9,986 unchanged in 0.31 s"
        );
        let rehearsed = MirrorSummary {
            files: 1,
            times_set: 1_234_567,
            newer: 999,
            failed: 1000,
            ..summary
        };
        assert_eq!(
            mirrored(&rehearsed, true),
            "mirror (dry run): 1 file, 3.4 MiB to move, 2 to remove, 9,986 unchanged, \
             1,234,567 times to set, 999 newer, 1,000 failed in 0.31 s"
        );
    }

    #[test]
    fn several_give_a_total() {
        let mut tally = Tally::default();
        tally.add(&transferred());
        assert_eq!(tally.line(Duration::from_secs(1)), None);
        tally.add(&Transferred {
            status: Status::Unchanged,
            ..transferred()
        });
        tally.add_failed();
        assert_eq!(
            tally.line(Duration::from_secs(1)).as_deref(),
            Some("total: 2 files, 4.0 GiB in 1.00 s (2.0 GiB/s), 1 unchanged, 1 failed")
        );
    }
}
