//! The clients that others use, and which server each is measured with.

use std::path::Path;
use std::process::{Command, Stdio};

use super::{Served, find, missing, version};
use crate::report::Report;

/// A command that moves a file or a tree: the server, the path below its root, the local path.
type Transfer = fn(&Served, &str, &Path) -> Command;

/// A server and the client it is measured with.
pub struct Pair {
    /// How it is shown.
    pub name: &'static str,
    /// The server's name.
    pub server: &'static str,
    /// The client's program.
    pub client: &'static str,
    package: &'static str,
    version: &'static str,
    pub get: Option<Transfer>,
    pub put: Option<Transfer>,
    pub get_tree: Option<Transfer>,
    pub put_tree: Option<Transfer>,
}

impl Pair {
    const fn new(name: &'static str, server: &'static str, client: &'static str) -> Self {
        Self {
            name,
            server,
            client,
            package: client,
            version: "\"$0\" --version",
            get: None,
            put: None,
            get_tree: None,
            put_tree: None,
        }
    }

    const fn curl(name: &'static str, server: &'static str) -> Self {
        Self {
            get: Some(|server, path, local| {
                let mut command = curl();
                command.arg("-o").arg(local).arg(server.url(path));
                command
            }),
            put: Some(|server, path, local| {
                let mut command = curl();
                command.arg("-T").arg(local).arg(server.url(path));
                command
            }),
            ..Self::new(name, server, "curl")
        }
    }

    const fn mirror(name: &'static str, server: &'static str) -> Self {
        Self {
            get_tree: Some(|server, path, local| {
                let local = local.display();
                lftp(
                    server,
                    &format!("mirror --parallel=8 --no-perms {path} {local}"),
                )
            }),
            put_tree: Some(|server, path, local| {
                let local = local.display();
                lftp(
                    server,
                    &format!("mirror -R --parallel=8 --no-perms {local} {path}"),
                )
            }),
            ..Self::new(name, server, "lftp")
        }
    }
}

/// The pair whose content is encrypted on the way. It takes any certificate: that one was made for the run.
pub const OVER_TLS: Pair = Pair {
    get: Some(|server, path, local| {
        let mut command = curl();
        command.args(["-k", "-o"]).arg(local).arg(server.url(path));
        command
    }),
    put: Some(|server, path, local| {
        let mut command = curl();
        command.args(["-k", "-T"]).arg(local).arg(server.url(path));
        command
    }),
    ..Pair::new("nginx https + curl", "nginx over TLS", "curl")
};

/// Every pair.
pub const PAIRS: [Pair; 10] = [
    Pair::curl("vsftpd + curl", "vsftpd"),
    Pair::curl("pure-ftpd + curl", "pure-ftpd"),
    Pair::curl("nginx + curl", "nginx"),
    Pair {
        get: Some(|server, path, local| {
            lftp(server, &format!("pget -n 8 {path} -o {}", local.display()))
        }),
        ..Pair::new("vsftpd + lftp pget -n 8", "vsftpd", "lftp")
    },
    Pair {
        get: Some(|server, path, local| aria2(&[server], path, local)),
        package: "aria2",
        ..Pair::new("nginx + aria2 -x4", "nginx", "aria2c")
    },
    Pair::mirror("vsftpd + lftp mirror, 8 connections", "vsftpd"),
    Pair::mirror("pure-ftpd + lftp mirror, 8 connections", "pure-ftpd"),
    Pair {
        get: Some(|server, path, local| rsync("-W", &[&server.url(path), text(local)])),
        put: Some(|server, path, local| rsync("-W", &[text(local), &server.url(path)])),
        get_tree: Some(|server, path, local| {
            rsync(
                "-rtW",
                &[&(server.url(path) + "/"), &format!("{}/", text(local))],
            )
        }),
        put_tree: Some(|server, path, local| {
            rsync(
                "-rtW",
                &[&format!("{}/", text(local)), &(server.url(path) + "/")],
            )
        }),
        ..Pair::new("rsync daemon + rsync", "rsync daemon", "rsync")
    },
    Pair {
        get: Some(|server, path, local| scp(server, &[&remote(server, path), text(local)])),
        put: Some(|server, path, local| scp(server, &[text(local), &remote(server, path)])),
        get_tree: Some(|server, path, local| {
            scp(server, &["-r", &remote(server, path), text(local)])
        }),
        put_tree: Some(|server, path, local| {
            scp(server, &["-r", text(local), &remote(server, path)])
        }),
        package: "openssh-client",
        version: "ssh -V",
        ..Pair::new("sshd + scp", "sshd", "scp")
    },
    Pair {
        get: Some(|server, path, local| xrdcp(&[&server.url(path), text(local)])),
        put: Some(|server, path, local| xrdcp(&[text(local), &server.url(path)])),
        get_tree: Some(|server, path, local| {
            std::fs::create_dir(local).unwrap(); // it insists on one
            xrdcp(&["-r", &server.url(path), &format!("{}/", text(local))])
        }),
        put_tree: Some(|server, path, local| {
            xrdcp(&["-r", "-p", text(local), &(server.url(path) + "/")])
        }),
        package: "xrootd-client",
        ..Pair::new("xrootd + xrdcp", "xrootd", "xrdcp")
    },
];

/// The pairs whose server serves here and whose client is installed, with that server.
pub fn pairs<'a>(served: &'a [Served], report: &mut Report) -> Vec<(&'static Pair, &'a Served)> {
    let mut found = Vec::new();
    for pair in &PAIRS {
        let Some(server) = served.iter().find(|server| server.peer.name == pair.server) else {
            continue;
        };
        match find(pair.client) {
            Some(program) => {
                report.version(format!(
                    "{}: {}",
                    pair.client,
                    version(&program, pair.version)
                ));
                found.push((pair, server));
            }
            None => report.note(missing(pair.client, pair.package)),
        }
    }
    found
}

impl Served {
    /// Where clients find a path below the root.
    pub fn url(&self, path: &str) -> String {
        let (address, (user, password)) = (self.address, self.peer.login);
        match self.peer.name {
            "nginx" => format!("http://{address}/{path}"),
            "nginx over TLS" => format!("https://{address}/{path}"),
            "rsync daemon" => format!("rsync://{address}/bench/{path}"),
            "xrootd" => format!("root://{address}//{path}"),
            _ => format!("ftp://{user}:{password}@{address}/{path}"),
        }
    }
}

/// One file from several servers at once, a connection to each.
pub fn aria2(servers: &[&Served], path: &str, local: &Path) -> Command {
    let streams = if servers.len() == 1 { 4 } else { servers.len() };
    let mut command = program("aria2c");
    command
        .args([
            "-q",
            "--no-conf",
            "--file-allocation=none",
            "--allow-overwrite=true",
        ])
        .args(["--auto-file-renaming=false", "-k", "1M", "-j", "16"])
        .args([
            format!("-x{}", streams / servers.len()),
            format!("-s{streams}"),
        ])
        .arg("-d")
        .arg(local.parent().unwrap())
        .arg("-o")
        .arg(local.file_name().unwrap())
        .args(servers.iter().map(|server| server.url(path)));
    command
}

/// One file from several XRootD servers at once, named by a metalink.
pub fn xrdcp_metalink(servers: &[&Served], path: &str, (size, local): (u64, &Path)) -> Command {
    let urls: String = servers
        .iter()
        .map(|server| format!("<url priority=\"1\">{}</url>", server.url(path)))
        .collect();
    let link = servers[0].folder().join("source.meta4");
    let metalink = format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?><metalink xmlns=\"urn:ietf:params:xml:ns:metalink\">\
         <file name=\"{path}\"><size>{size}</size>{urls}</file></metalink>"
    );
    std::fs::write(&link, metalink).unwrap();
    let sources = servers.len().to_string();
    let link = format!("root://localfile//{}", link.display());
    let mut command = xrdcp(&["-y", &sources, &link, text(local)]);
    command.env("XRD_LOCALMETALINKFILE", "1");
    command
}

/// A folder's names, or its names and facts, into nowhere.
pub fn list(server: &Served, path: &str, facts: bool) -> Option<Command> {
    let mut command = match server.peer.name {
        "vsftpd" | "pure-ftpd" => {
            let mut command = curl();
            command.args(if facts { None } else { Some("-l") });
            command
        }
        "nginx" if facts => curl(),
        "rsync daemon" if facts => {
            return Some(rsync("--list-only", &[&(server.url(path) + "/")]));
        }
        "xrootd" => {
            let mut command = program("xrdfs");
            command.arg(server.address.to_string()).arg("ls");
            command.args(facts.then_some("-l")).arg(format!("/{path}"));
            return Some(command);
        }
        _ => return None,
    };
    command.arg(server.url(path) + "/");
    Some(command)
}

fn curl() -> Command {
    let mut command = program("curl");
    command.args(["-sS", "-f"]);
    command
}

fn lftp(server: &Served, script: &str) -> Command {
    let (user, password) = server.peer.login;
    let mut command = program("lftp");
    command.args(["--norc", "-c"]).arg(format!(
        "set xfer:clobber yes; set cmd:fail-exit yes; set net:max-retries 3; set ftp:ssl-allow no; \
         open -u {user},{password} ftp://{}; {script}",
        server.address
    ));
    command
}

fn rsync(how: &str, words: &[&str]) -> Command {
    let mut command = program("rsync");
    command.arg(how).args(words);
    command
}

fn scp(server: &Served, words: &[&str]) -> Command {
    let mut command = program("scp");
    command
        .args([
            "-q",
            "-F",
            "none",
            "-o",
            "StrictHostKeyChecking=no",
            "-o",
            "LogLevel=ERROR",
        ])
        .args(["-o", "UserKnownHostsFile=/dev/null", "-i"])
        .arg(server.folder().join("user"))
        .arg("-P")
        .arg(server.address.port().to_string())
        .args(words);
    command
}

fn remote(server: &Served, path: &str) -> String {
    format!("{}:{}/{path}", server.address.ip(), server.root.display())
}

fn xrdcp(words: &[&str]) -> Command {
    let mut command = program("xrdcp");
    command.args(["-f", "-s", "-N"]).args(words);
    command
}

/// Clients show nothing, ask nothing, and know no settings of whoever runs the benchmark.
fn program(name: &str) -> Command {
    let mut command = Command::new(name);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
