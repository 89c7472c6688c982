//! The servers and clients that others use for the same work: found, configured in a temporary folder, started, ended.

pub mod clients;
pub mod nginx;
mod pure_ftpd;
mod rsync;
mod ssh;
mod vsftpd;
mod xrootd;

use std::fs;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::harness::Process;
use crate::limits::netcat::free_port;
use crate::load::ftp::Login;
use crate::report::Report;
use crate::settings::Settings;

/// A server that others use.
pub struct Peer {
    /// How it is shown.
    pub name: &'static str,
    /// Its program.
    pub program: &'static str,
    /// The Debian package that holds it.
    pub package: &'static str,
    /// Who logs in, where one must.
    pub login: Login,
    /// What a shell runs to have it say its version; `$0` is the program.
    version: &'static str,
    /// The command that runs it in the foreground.
    configure: fn(&Room<'_>) -> Command,
}

/// Every server that this benchmark knows.
pub const SERVERS: [&Peer; 6] = [
    &vsftpd::PEER,
    &pure_ftpd::PEER,
    &nginx::PEER,
    &rsync::PEER,
    &ssh::PEER,
    &xrootd::PEER,
];

/// What a server is given.
struct Room<'a> {
    /// Its program.
    program: PathBuf,
    /// For its configuration and whatever it writes down.
    folder: &'a Path,
    /// What it serves.
    root: &'a Path,
    /// Where it listens.
    address: SocketAddr,
    /// Who it becomes, where it was started by the superuser.
    account: Option<Account>,
}

impl Room<'_> {
    /// Writes a file of its configuration.
    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.join(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// Makes a folder that the server may write to.
    fn make_folder(&self, name: &str) -> PathBuf {
        let path = self.folder.join(name);
        fs::create_dir_all(&path).unwrap();
        give_away(&path);
        path
    }
}

/// Who a server becomes that must not be the superuser.
#[derive(Clone, Debug)]
pub struct Account {
    pub name: String,
    pub user: u32,
    pub group: u32,
}

impl Account {
    /// That account, for the superuser: one whose home exists, which vsftpd insists on and Debian's `nobody` does not have.
    fn to_become() -> Option<Self> {
        let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let entry = |name| passwd.lines().find_map(|line| Self::parse(line, name));
        let account = ["nobody", "daemon", "bin"].into_iter().find_map(entry);
        account.filter(|_| rustix::process::geteuid().is_root())
    }

    /// The account in a line of passwd(5), if it is the one of that name.
    fn parse(line: &str, name: &str) -> Option<Self> {
        let fields: Vec<&str> = line.split(':').collect();
        let [this, _, user, group, _, home, ..] = *fields.as_slice() else {
            return None;
        };
        (this == name && Path::new(home).is_dir()).then_some(Self {
            name: name.to_owned(),
            user: user.parse().ok()?,
            group: group.parse().ok()?,
        })
    }
}

/// Makes a folder the property of the account that servers run under.
pub fn give_away(folder: &Path) {
    if let Some(account) = Account::to_become() {
        chown(folder, Some(account.user), Some(account.group)).unwrap();
    }
}

/// A server that serves, until dropped.
pub struct Served {
    /// Which.
    pub peer: &'static Peer,
    /// Where.
    pub address: SocketAddr,
    /// What.
    pub root: PathBuf,
    /// Its process; the others stem from it.
    pub process: Process,
    folder: TempDir,
}

impl Served {
    /// Starts it over `root` in the network of this thread.
    pub fn start(peer: &'static Peer, root: &Path, ip: IpAddr) -> Result<Self, String> {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let address = SocketAddr::new(ip, free_port());
        let room = Room {
            program: find(peer.program).ok_or("it is not installed")?,
            folder: folder.path(),
            root,
            address,
            account: Account::to_become(),
        };
        let mut process = Process::spawn(peer.name, &mut (peer.configure)(&room));
        let end = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(address).is_err() {
            if !process.is_running() || Instant::now() > end {
                let log = fs::read_to_string(folder.path().join("bench/log"));
                let said = log.unwrap_or_else(|_| process.stderr());
                let said = said.lines().last().unwrap_or_default();
                return Err(format!("{} does not start: {said}", peer.name));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(Self {
            peer,
            address,
            root: root.to_owned(),
            process,
            folder,
        })
    }

    /// The folder with its configuration.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// The servers that are there and wanted; the others are named in the report.
pub fn present(settings: &Settings, report: &mut Report) -> Vec<&'static Peer> {
    let mut found = Vec::new();
    for peer in SERVERS {
        if !settings.wants_peer(peer.name) {
            continue;
        }
        match find(peer.program) {
            Some(program) => {
                report.version(format!(
                    "{}: {}",
                    peer.name,
                    version(&program, peer.version)
                ));
                found.push(peer);
            }
            None => report.note(missing(peer.name, peer.package)),
        }
    }
    found
}

/// The sentence about a program that is not there.
fn missing(name: &str, package: &str) -> String {
    format!("{name} is not installed (Debian: apt install {package}); its figures are left out")
}

/// The first line that a program says of its version.
fn version(program: &Path, script: &str) -> String {
    let output = Command::new("sh")
        .arg("-c")
        .arg(script)
        .arg(program)
        .output();
    let text = output.map_or_else(
        |error| error.to_string(),
        |output| String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
    );
    text.lines().next().unwrap_or_default().trim().to_owned()
}

/// A program by its name; servers are often where a normal user's shell does not look.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin:/usr/local/sbin";
    let mut files = path
        .split(':')
        .map(|folder| Path::new(folder).join(program));
    files.find(|file| file.is_file())
}
