//! Copies that share their blocks until one side changes: `FICLONE`, ioctl_ficlone(2).

use std::io;
use std::os::fd::AsFd;

use rustix::io::Errno;

/// Makes `target` an instant copy of `source`. `Ok(false)`: these two files cannot share blocks, copy the bytes.
///
/// # Errors
/// What is a failure and not a missing ability: no space, no permission, input/output errors.
pub fn clone_file(source: impl AsFd, target: impl AsFd) -> io::Result<bool> {
    match rustix::fs::ioctl_ficlone(target, source) {
        Ok(()) => Ok(true),
        // No reflinks here, another file system, or one whose ioctl table does not know the request.
        Err(Errno::OPNOTSUPP | Errno::XDEV | Errno::INVAL | Errno::NOTTY | Errno::NOSYS) => {
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn clone_is_equal_or_reported_as_impossible() {
        let (mut source, mut target) =
            (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        source.write_all(&[7; 10_000]).unwrap();
        let mut copy = Vec::new();
        if clone_file(&source, &target).unwrap() {
            target.read_to_end(&mut copy).unwrap();
            assert_eq!(copy, [7; 10_000]);
        } else {
            assert_eq!(target.read_to_end(&mut copy).unwrap(), 0);
        }
    }

    #[test]
    fn another_file_system_is_not_an_error() {
        let source = tempfile::tempfile().unwrap();
        let target = rustix::fs::memfd_create("target", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        assert!(!clone_file(&source, &target).unwrap());
    }
}
