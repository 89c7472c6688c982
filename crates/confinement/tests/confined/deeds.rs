//! What a confined process tries.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, XattrFlags, fsetxattr};
use rustix::net::{
    AddressFamily, SendFlags, Shutdown, SocketType, connect, ipproto, sendto, shutdown, socket,
};

/// Where parents tell their child which ports are listened at: one that it may connect to, one that it may not.
pub(crate) const PORTS: &str = "CONFINED_PORTS";

/// What a socket of the parent is called, in the folder.
pub(crate) const NAMED: &str = "socket";

/// Those ports.
pub(crate) fn ports() -> [u16; 2] {
    let ports = std::env::var(PORTS).unwrap_or_default();
    let mut ports = ports.split(',').map(|port| port.parse().unwrap_or(0));
    [ports.next().unwrap_or(0), ports.next().unwrap_or(0)]
}

/// Does it, or says why not.
pub(crate) fn try_it(deed: &str, folder: &Path, listener: &TcpListener) -> io::Result<()> {
    let outside = folder.with_file_name("outside");
    let file = folder.join("file");
    match deed {
        "read outside" => fs::read(outside.join("file")).map(drop),
        "read the status" => fs::read("/proc/self/status").map(drop),
        "list outside" => fs::read_dir(&outside).map(drop),
        "write outside" => fs::write(outside.join("new"), "x"),
        "overwrite outside" => fs::write(outside.join("file"), "x"),
        "move outside" => fs::rename(&file, outside.join("moved")),
        "move inside" => fs::rename(outside.join("file"), folder.join("moved")),
        "remove outside" => fs::remove_file(outside.join("file")),
        "read" => fs::read(&file).map(drop),
        "list" => fs::read_dir(folder).map(drop),
        "write" => fs::write(folder.join("new"), "x"),
        "remove" => fs::remove_file(&file),
        "serve" => serve(folder),
        "keep" => keep(folder),
        "make a link" => symlink("/etc/passwd", folder.join("link")),
        "make a pipe" => {
            let pipe = folder.join("pipe");
            Ok(rustix::fs::mknodat(
                CWD,
                pipe,
                FileType::Fifo,
                Mode::RUSR,
                0,
            )?)
        }
        _ => try_beyond_files(deed, folder, listener),
    }
}

/// What does not concern the files of the folder.
fn try_beyond_files(deed: &str, folder: &Path, listener: &TcpListener) -> io::Result<()> {
    let file = folder.join("file");
    match deed {
        "run a program" => Err(nix::unistd::execv(c"/bin/true", &[c"true"])
            .unwrap_err()
            .into()),
        "start a process" => Command::new("/bin/true").status().map(drop),
        "trace" => Ok(nix::sys::ptrace::traceme()?),
        "mount" => Ok(mount(
            Some("tmpfs"),
            folder,
            Some("tmpfs"),
            MsFlags::empty(),
            None::<&str>,
        )?),
        "unshare" => Ok(unshare(CloneFlags::CLONE_NEWUSER)?),
        "become root" => Ok(nix::unistd::setuid(nix::unistd::Uid::from_raw(0))?),
        "signal its parent" => Ok(nix::sys::signal::kill(nix::unistd::getppid(), None)?),
        "signal itself" => Ok(nix::sys::signal::kill(nix::unistd::getpid(), None)?),
        "ask the terminal" => rustix::termios::tcgetwinsize(File::open(&file)?)
            .map(drop)
            .map_err(Into::into),
        "run what was written" => match sys::kernel_guard::can_run_what_was_written()? {
            true => Ok(()),
            false => Err(io::Error::from_raw_os_error(libc::EACCES)),
        },
        "dump" => match rustix::process::dumpable_behavior()? {
            rustix::process::DumpableBehavior::Dumpable => Ok(()),
            _ => Err(io::Error::from_raw_os_error(libc::EPERM)),
        },
        "raise a limit" => {
            let none = rustix::process::Rlimit {
                current: Some(5),
                maximum: Some(5),
            };
            Ok(rustix::process::setrlimit(
                rustix::process::Resource::Nofile,
                none,
            )?)
        }
        "panic" => match std::thread::Builder::new()
            .spawn(|| panic!("on purpose"))?
            .join()
        {
            Ok(()) => Err(io::Error::from_raw_os_error(libc::EIO)),
            Err(_) => Ok(()),
        },
        "send to a named socket" => {
            let (socket, _other) = UnixDatagram::pair()?;
            socket.send_to(b"x", folder.join(NAMED)).map(drop)
        }
        _ => try_connections(deed, listener),
    }
}

/// What concerns sockets.
fn try_connections(deed: &str, listener: &TcpListener) -> io::Result<()> {
    match deed {
        "connect" => TcpStream::connect(("127.0.0.1", ports()[0])).map(drop),
        "connect elsewhere" => TcpStream::connect(("127.0.0.1", ports()[1])).map(drop),
        "listen" => TcpListener::bind(("127.0.0.1", 0)).map(drop),
        "look up a name" => ("localhost", 1).to_socket_addrs().map(drop),
        "connect elsewhere by sending" => {
            let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
            connect_by_sending(socket, ports()[1])
        }
        "connect elsewhere over MPTCP" => {
            let socket = socket(
                AddressFamily::INET,
                SocketType::STREAM,
                Some(ipproto::MPTCP),
            )?;
            let to = SocketAddrV4::new(Ipv4Addr::LOCALHOST, ports()[1]);
            Ok(connect(socket, &to)?)
        }
        "make a socket for SCTP" => {
            Ok(socket(AddressFamily::INET, SocketType::SEQPACKET, None).map(drop)?)
        }
        "make a raw socket" => Ok(socket(AddressFamily::INET, SocketType::RAW, None).map(drop)?),
        "connect the listener elsewhere" => {
            shutdown(listener, Shutdown::Read)?;
            connect_by_sending(listener, ports()[1])
        }
        _ => Err(io::Error::other("no such deed")),
    }
}

/// With TCP Fast Open: neither connect(2) nor what asks Landlock about the port has a part in it.
fn connect_by_sending(socket: impl AsFd, port: u16) -> io::Result<()> {
    let flags = SendFlags::from_bits_retain(libc::MSG_FASTOPEN.cast_unsigned());
    let to = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
    Ok(sendto(socket, b"x", flags, &to).map(drop)?)
}

/// All that a storage does with files.
fn serve(folder: &Path) -> io::Result<()> {
    let (one, two) = (folder.join("one"), folder.join("two"));
    fs::create_dir(&one)?;
    fs::create_dir(&two)?;
    let mut file = File::options()
        .create_new(true)
        .read(true)
        .write(true)
        .open(one.join("a"))?;
    file.write_all(b"content")?;
    file.set_len(3)?;
    file.sync_all()?;
    file.set_modified(std::time::SystemTime::UNIX_EPOCH)?;
    file.lock()?;
    rustix::fs::fchmod(&file, Mode::RUSR)?;
    // Not every file system has attributes.
    let attached = fsetxattr(&file, "user.test", b"x", XattrFlags::empty());
    attached.unwrap_or_default();
    fs::rename(one.join("a"), two.join("a"))?;
    if let Ok(nameless) = rustix::fs::openat(
        CWD,
        &one,
        OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC,
        Mode::RUSR,
    ) {
        let open = format!("/proc/self/fd/{}", nameless.as_raw_fd());
        rustix::fs::linkat(CWD, open, CWD, two.join("b"), AtFlags::SYMLINK_FOLLOW)?;
        fs::remove_file(two.join("b"))?;
    }
    let mut pipe = io::pipe()?;
    rustix::fs::copy_file_range(&file, Some(&mut 0), &file, Some(&mut 100), 1).or_else(
        |error| match error {
            rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::INVAL => Ok(0),
            error => Err(error),
        },
    )?;
    rustix::pipe::splice(
        &file,
        Some(&mut 0),
        &pipe.1,
        None,
        1,
        rustix::pipe::SpliceFlags::empty(),
    )?;
    pipe.0.read_exact(&mut [0])?;
    fs::rename(&two, one.join("two"))?;
    fs::remove_dir_all(&one)
}

/// All that a program does with its state.
fn keep(folder: &Path) -> io::Result<()> {
    fs::write(folder.join("draft"), "x")?;
    fs::rename(folder.join("draft"), folder.join("users.toml"))?;
    fs::read(folder.join("users.toml"))?;
    fs::remove_file(folder.join("users.toml"))
}
