//! Work on a thread of its own that nobody waits for.

use std::io;
use std::thread::Builder;

/// A handshake of TLS is the most that stands on it.
const STACK: usize = 256 * 1024;

/// Does `work`, which may end after what it is for does: whoever waits for a dead host is not waited for.
///
/// # Errors
/// No thread is to be had.
pub(crate) fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let builder = Builder::new().name(name.to_owned()).stack_size(STACK);
    builder.spawn(work).map(drop)
}
