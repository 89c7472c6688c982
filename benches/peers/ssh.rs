//! OpenSSH's server, with a key made for this run.

use std::path::Path;
use std::process::Command;

use super::{Peer, Room};

pub const PEER: Peer = Peer {
    name: "sshd",
    program: "sshd",
    package: "openssh-server",
    login: ("", ""),
    version: "ssh -V",
    configure,
};

fn configure(room: &Room<'_>) -> Command {
    for name in ["host", "user"] {
        let mut make = Command::new("ssh-keygen");
        make.args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(room.folder.join(name));
        make.output().unwrap();
    }
    let folder = room.folder.display();
    let text = format!(
        "Port {}\nListenAddress {}\nHostKey {folder}/host\nPidFile {folder}/pid\nAuthorizedKeysFile {folder}/user.pub\n\
         StrictModes no\nUsePAM no\nPermitRootLogin prohibit-password\nPasswordAuthentication no\nUseDNS no\n\
         MaxStartups 1000\nPrintMotd no\nPrintLastLog no\nSubsystem sftp internal-sftp\n",
        room.address.port(),
        room.address.ip(),
    );
    let configuration = room.write("sshd_config", &text);
    let mut command = within_a_run_folder(&room.program);
    command.args(["-D", "-e", "-f"]).arg(configuration);
    command
}

/// It insists on `/run/sshd`, which a machine whose ssh service never ran does not have; then it gets a `/run` of its own.
fn within_a_run_folder(sshd: &Path) -> Command {
    if Path::new("/run/sshd").exists() {
        return Command::new(sshd);
    }
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-c"])
        .arg("mount -t tmpfs tmpfs /run && mkdir /run/sshd && exec \"$0\" \"$@\"")
        .arg(sshd);
    command
}
