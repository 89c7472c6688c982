//! Unpredictable bytes, from the kernel alone: a generator kept in the process would repeat itself after a fork.

use std::io;

use protocol::{Nonce, Secret};

/// A number to be used once in a challenge.
///
/// # Errors
/// The kernel has no randomness to give.
pub fn fresh_nonce() -> io::Result<Nonce> {
    random_bytes().map(Nonce)
}

/// A secret for one client at one slave.
///
/// # Errors
/// The kernel has no randomness to give.
pub fn fresh_secret() -> io::Result<Secret> {
    random_bytes().map(Secret)
}

/// `N` bytes that nobody can guess.
pub(crate) fn random_bytes<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_are_the_same() {
        assert_ne!(fresh_nonce().unwrap(), fresh_nonce().unwrap());
        assert_ne!(fresh_secret().unwrap(), fresh_secret().unwrap());
    }
}
