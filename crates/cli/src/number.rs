//! Whole numbers on the command line, refused in words that say which would do.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// Reads a whole number of `range`; for clap's `value_parser`.
pub fn number<N>(
    range: RangeInclusive<N>,
) -> impl Fn(&str) -> Result<N, String> + Clone + Send + Sync + 'static
where
    N: FromStr + PartialOrd + Display + Clone + Send + Sync + 'static,
{
    move |text| {
        let number = text.parse().ok().filter(|number| range.contains(number));
        number.ok_or_else(|| {
            format!(
                "write a whole number from {} to {}",
                range.start(),
                range.end()
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_such_number_hears_which_are() {
        let port = number::<u16>(1..=65535);
        assert_eq!((port("1"), port("65535")), (Ok(1), Ok(65535)));
        for wrong in ["", "x", "0", "65536", "-1", "1.5", " 1"] {
            assert_eq!(
                port(wrong),
                Err("write a whole number from 1 to 65535".to_owned()),
                "{wrong}"
            );
        }
    }
}
