//! rsync as a daemon.

use std::process::Command;

use super::{Peer, Room};

pub const PEER: Peer = Peer {
    name: "rsync daemon",
    program: "rsync",
    package: "rsync",
    login: ("", ""),
    version: "\"$0\" --version",
    configure,
};

fn configure(room: &Room<'_>) -> Command {
    let account = room.account.as_ref().map_or_else(String::new, |account| {
        format!("uid = {}\ngid = {}\n", account.user, account.group)
    });
    let text = format!(
        "pid file = {folder}/pid\nlog file = {folder}/log\nuse chroot = no\nreverse lookup = no\n\
         [bench]\npath = {root}\nread only = no\n{account}",
        folder = room.folder.display(),
        root = room.root.display(),
    );
    let mut command = Command::new(&room.program);
    command
        .args(["--daemon", "--no-detach", "--config"])
        .arg(room.write("rsyncd.conf", &text))
        .arg(format!("--address={}", room.address.ip()))
        .arg(format!("--port={}", room.address.port()));
    command
}
