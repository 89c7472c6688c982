//! A disk whose power can be cut: ext4 on a loop device, mounted where nobody else can hold it.

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::harness::{PATIENCE, wait_until};

/// Room for what the ledgers' keepers store; the journal takes a part of it.
const MEBIBYTES: u64 = 256;

/// Ext4 writes the content of a file that replaces another one soon by itself; here it must not, lest that hide a flush
/// that is missing.
const OPTIONS: &str = "noauto_da_alloc";

/// Where the image lies, if there is such a folder.
const MEMORY: &str = "/dev/shm";

/// A file system that is mounted in a namespace of its own: a namespace that another program makes meanwhile would keep
/// a dead mount of it alive.
pub(super) struct Disk {
    /// Lives in the namespace until its input ends.
    holder: Child,
    device: String,
    mount: PathBuf,
    _image: TempDir,
}

impl Disk {
    /// Makes one to be mounted over `mount`, or says why there can be none.
    pub(super) fn new(mount: &Path) -> Result<Self, String> {
        let folder = match Path::new(MEMORY).is_dir() {
            true => TempDir::new_in(MEMORY),
            false => TempDir::new(),
        };
        let folder = folder.map_err(|error| format!("no place for a disk: {error}"))?;
        let image = folder.path().join("power-cuts.ext4");
        let sized = File::create(&image).and_then(|file| file.set_len(MEBIBYTES * 1024 * 1024));
        sized.map_err(|error| format!("no room for a disk: {error}"))?;
        let image = image.display().to_string();
        said(Command::new("mkfs.ext4").args(["-q", "-F", "-E", "lazy_itable_init=0", &image]))?;
        let holder = namespace()?;
        let device = said(Command::new("losetup").args(["--find", "--show", &image]));
        let mut disk = Self {
            holder,
            device: String::new(),
            mount: mount.to_owned(),
            _image: folder,
        };
        disk.device = device?.trim().to_owned();
        disk.mount()?;
        Ok(disk)
    }

    /// What stands before a program so that it sees the disk.
    pub(super) fn helper(&self) -> Vec<OsString> {
        let namespace = format!("--mount=/proc/{}/ns/mnt", self.holder.id());
        ["nsenter", &namespace, "--"].map(OsString::from).to_vec()
    }

    /// The root of the file system, as it is seen from here.
    pub(super) fn root(&self) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.id()));
        root.join(self.mount.strip_prefix("/").unwrap())
    }

    /// From now on nothing more reaches the device.
    pub(super) fn cut_power(&self) {
        sys::power::cut(File::open(self.root()).unwrap()).unwrap();
    }

    /// Takes the dead file system off once nobody holds it, and mounts what is on the device.
    pub(super) fn start_again(&self) {
        let mut refused = String::new();
        wait_until("the dead file system to be let go", PATIENCE, || {
            let mount = self.mount.as_os_str();
            match said(self.inside("umount").arg(mount)) {
                Ok(_) => return true,
                Err(error) => refused = error,
            }
            assert!(refused.contains("busy"), "{refused}");
            false
        });
        self.mount().unwrap();
    }

    fn mount(&self) -> Result<(), String> {
        let mut mount = self.inside("mount");
        mount.args(["-t", "ext4", "-o", OPTIONS, &self.device]);
        said(mount.arg(&self.mount)).map(drop)
    }

    fn inside(&self, program: &str) -> Command {
        let [nsenter, options @ ..] = &self.helper()[..] else {
            unreachable!("a program is named");
        };
        let mut command = Command::new(nsenter);
        command.args(options).arg(program);
        command
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // The mount ends with the namespace, and that with the last one in it.
        drop(self.holder.stdin.take());
        self.holder.wait().ok();
        if !self.device.is_empty() {
            said(Command::new("losetup").args(["--detach", &self.device])).ok();
        }
    }
}

/// Somebody who lives in a mount namespace of their own, and answers once they do.
fn namespace() -> Result<Child, String> {
    let mut holder = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("unshare (util-linux): {error}"))?;
    let input = holder.stdin.as_mut().unwrap();
    input.write_all(b"\n").ok(); // where it could not start, the answer is missing
    let mut answer = String::new();
    let output = BufReader::new(holder.stdout.as_mut().unwrap()).read_line(&mut answer);
    match output {
        Ok(1..) => Ok(holder),
        _ => {
            holder.wait().ok();
            Err("mount namespaces take the superuser".to_owned())
        }
    }
}

/// What a program that succeeds writes to its standard output.
fn said(command: &mut Command) -> Result<String, String> {
    let output = command
        .output()
        .map_err(|error| format!("{command:?}: {error}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => {
            let why = String::from_utf8_lossy(&output.stderr);
            Err(format!("{command:?}: {}", why.trim()))
        }
    }
}
