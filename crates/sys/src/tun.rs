//! Network devices that a process carries the packets of (`TUNSETIFF`): only for measuring over lines that do not exist.

use std::ffi::{c_int, c_short};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;

/// Bytes before each packet: `struct virtio_net_hdr_v1`, which says what segmentation is left to do.
pub const HEADER: usize = 12;

/// Longest packet, its header included.
pub const LONGEST: usize = HEADER + 64 * 1024;

/// `struct ifreq` as this request reads it.
#[repr(C)]
struct Request {
    name: [u8; libc::IFNAMSIZ],
    flags: c_short,
    unused: [u8; 22],
}

/// Makes the device `name` in the network of this thread; it is gone once the file is closed.
///
/// A read is a packet that the kernel sent through it, a write one that it receives, both behind [`HEADER`] bytes that must go
/// along unchanged. Large packets are handed over whole, unsegmented and without checksums, as to a network card that would do
/// both. Reads and writes do not wait.
///
/// # Errors
/// `InvalidInput` for a name that is too long; `EPERM` without the right to; what the kernel says.
pub fn open(name: &str) -> io::Result<File> {
    let mut request = Request {
        name: [0; libc::IFNAMSIZ],
        flags: 0,
        unused: [0; 22],
    };
    let place = request.name.get_mut(..name.len());
    match place.filter(|place| place.len() < libc::IFNAMSIZ) {
        Some(place) => place.copy_from_slice(name.as_bytes()),
        None => return Err(io::ErrorKind::InvalidInput.into()),
    }
    let flags = libc::IFF_TUN | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
    request.flags = c_short::try_from(flags).map_err(io::Error::other)?;
    let device = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open("/dev/net/tun")?;
    // SAFETY: the request reads (and writes back) one `struct ifreq`, where the pointer is to.
    succeeded(unsafe { libc::ioctl(device.as_raw_fd(), libc::TUNSETIFF, &raw mut request) })?;
    let header = c_int::try_from(HEADER).map_err(io::Error::other)?;
    // SAFETY: the request reads one int, where the pointer is to.
    succeeded(unsafe {
        libc::ioctl(device.as_raw_fd(), libc::TUNSETVNETHDRSZ, &raw const header)
    })?;
    let offload = libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6;
    // SAFETY: the request takes its argument by value.
    succeeded(unsafe { libc::ioctl(device.as_raw_fd(), libc::TUNSETOFFLOAD, offload) })?;
    Ok(device)
}

fn succeeded(result: c_int) -> io::Result<()> {
    match result {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_the_kernel_could_not_end_is_refused() {
        let refused = open("sixteen-bytes-xx").unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn the_request_has_the_size_of_the_kernels() {
        assert_eq!(size_of::<Request>(), size_of::<libc::ifreq>());
    }
}
