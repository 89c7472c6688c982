//! Sizes as people write and read them, in binary units.

use std::fmt;
use std::str::FromStr;

/// Units from the second on: each is 1024 of the one before.
const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// Shows as `512 B` or `2.0 GiB`.
#[must_use]
pub const fn human_size(bytes: u64) -> HumanSize {
    HumanSize(bytes)
}

/// A number of bytes for people; see [`human_size`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HumanSize(u64);

impl fmt::Display for HumanSize {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < 1024 {
            return formatter.pad(&format!("{} B", self.0));
        }
        let mut unit = 1024_u128;
        let mut name = "KiB";
        for next in UNITS.iter().skip(1) {
            if tenths(self.0, unit) < 10_240 {
                break;
            }
            unit *= 1024;
            name = next;
        }
        let tenths = tenths(self.0, unit);
        formatter.pad(&format!("{}.{} {name}", tenths / 10, tenths % 10))
    }
}

/// Tenths of `unit`, rounded to the nearest.
fn tenths(bytes: u64, unit: u128) -> u128 {
    (u128::from(bytes) * 10 + unit / 2) / unit
}

/// A text that is no size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SizeError {
    problem: &'static str,
}

impl fmt::Display for SizeError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let problem = self.problem;
        write!(
            formatter,
            "{problem}; write it like 10M, 1.5G, 200k or 4096 (bytes)"
        )
    }
}

impl std::error::Error for SizeError {}

/// Bytes from a text like `10M`, `1.5G`, `200k`, `4096`, `2GiB`; a unit is 1024 of the one below it.
///
/// # Errors
/// The text is none of these, or means more than 64 bits hold; the message says how to write it.
pub fn parse_size(text: &str) -> Result<u64, SizeError> {
    let failed = |problem| Err(SizeError { problem });
    let text = text.trim();
    let split = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let Some(unit) = unit_of(unit.trim_start()) else {
        return failed("unknown unit");
    };
    let (Ok(whole), Ok(tail)) = (u128::from_str(whole), u128::from_str(fraction)) else {
        return failed("not a size");
    };
    let Some(scale) = u32::try_from(fraction.len())
        .ok()
        .and_then(|digits| 10_u128.checked_pow(digits))
    else {
        return failed("too many digits");
    };
    let part = tail.checked_mul(unit).map(|part| part / scale);
    let bytes = whole
        .checked_mul(unit)
        .zip(part)
        .and_then(|(whole, part)| whole.checked_add(part));
    match bytes.map(u64::try_from) {
        Some(Ok(bytes)) => Ok(bytes),
        _ => failed("too large"),
    }
}

/// Bytes a second, from a text as [`parse_size`] takes, with or without `/s`.
///
/// # Errors
/// As [`parse_size`]; and a rate of nothing, at which nothing would ever arrive.
pub fn parse_rate(text: &str) -> Result<u64, SizeError> {
    let text = text.trim();
    match parse_size(text.strip_suffix("/s").unwrap_or(text))? {
        0 => Err(SizeError {
            problem: "a rate cannot be 0",
        }),
        rate => Ok(rate),
    }
}

/// Bytes in a unit: none, `B`, `k`, `kB`, `KiB` and so on, in either case.
fn unit_of(text: &str) -> Option<u128> {
    let lower = text.to_ascii_lowercase();
    let letter = lower
        .strip_suffix("ib")
        .or_else(|| lower.strip_suffix('b'))
        .unwrap_or(&lower);
    let power = match letter {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        "e" => 6,
        _ => return None,
    };
    // `ib` alone is no unit.
    (power > 0 || !lower.ends_with("ib")).then(|| 1024_u128.pow(power))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_read_well() {
        for (bytes, shown) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (1024 * 1024 - 1, "1.0 MiB"),
            (1023 * 1024, "1023.0 KiB"),
            (2 << 30, "2.0 GiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(human_size(bytes).to_string(), shown);
        }
        assert_eq!(format!("{:>8}", human_size(5)), "     5 B");
    }

    #[test]
    fn people_s_ways_of_writing_are_understood() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("200k", 200 << 10),
            ("10M", 10 << 20),
            ("1.5G", 3 << 29),
            ("2 GiB", 2 << 30),
            ("1kb", 1024),
            ("7B", 7),
            ("0.1k", 102),
            ("15E", 15 << 60),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        assert_eq!(parse_rate("10M/s"), Ok(10 << 20));
    }

    #[test]
    fn others_are_refused_with_a_way_to_mend_them() {
        for text in [
            "",
            "M",
            ".",
            "1.",
            ".5",
            "-1",
            "+1",
            "1.5.5M",
            "1x",
            "1ib",
            "1 0",
            "16E",
            "1e3",
            "0x10",
            "１",
            "99999999999999999999999999999999999999999999",
            "1.00000000000000000000000000000000000000001",
        ] {
            let refusal = parse_size(text).unwrap_err().to_string();
            assert!(refusal.contains("like 10M"), "{text}: {refusal}");
        }
        assert!(parse_rate("0").is_err());
    }

    proptest! {
        #[test]
        fn no_text_is_too_much(text: String) {
            parse_size(&text).unwrap_or_default();
        }

        #[test]
        fn plain_bytes_are_exact(bytes: u64) {
            prop_assert_eq!(parse_size(&bytes.to_string()), Ok(bytes));
        }

        #[test]
        fn what_is_shown_is_nearly_what_was_meant(bytes: u64) {
            let shown = human_size(bytes).to_string();
            if let Ok(back) = parse_size(&shown) {
                prop_assert!(back.abs_diff(bytes) <= bytes / 20 + 1, "{shown}");
            }
        }
    }
}
