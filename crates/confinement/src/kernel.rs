//! What this kernel can forbid: the sandbox promises that, says what is missing, and nothing is skipped in silence.

use std::fmt;

/// The guards of the running kernel, as far as whoever started this process lets it use them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kernel {
    landlock: u32,
    filters: bool,
}

impl Kernel {
    /// Asks it.
    #[must_use]
    pub fn ask() -> Self {
        Self {
            landlock: sys::kernel_guard::landlock_version(),
            filters: sys::kernel_guard::has_call_filters() && crate::filter::knows_processor(),
        }
    }

    pub(crate) const fn restricts_files(self) -> bool {
        self.landlock >= 2
    }

    pub(crate) const fn restricts_ports(self) -> bool {
        self.landlock >= 4
    }

    pub(crate) const fn restricts_calls(self) -> bool {
        self.filters
    }

    /// What a sandbox cannot forbid here, in words; `None` where it can do everything.
    #[must_use]
    pub fn missing(self) -> Option<Missing> {
        let known = [
            (self.restricts_files(), "files (Landlock, Linux 5.19)"),
            (self.landlock >= 3, "truncating files (Linux 6.2)"),
            (self.restricts_ports(), "TCP ports (Linux 6.7)"),
            (
                self.landlock >= 6,
                "signals to other processes (Linux 6.12)",
            ),
            (self.filters, "system calls (seccomp)"),
        ];
        let missing: Vec<&'static str> = known
            .into_iter()
            .filter_map(|(is_there, guard)| (!is_there).then_some(guard))
            .collect();
        (!missing.is_empty()).then_some(Missing(missing))
    }
}

/// Guards that the kernel does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing(Vec<&'static str>);

impl fmt::Display for Missing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        let missing = |landlock, filters| {
            let missing = Kernel { landlock, filters }.missing();
            missing.map(|missing| missing.to_string())
        };
        assert_eq!(missing(6, true), None);
        assert_eq!(
            missing(4, false).unwrap(),
            "signals to other processes (Linux 6.12), system calls (seccomp)"
        );
        assert!(missing(1, true).unwrap().starts_with("files (Landlock"));
    }
}
