//! Pure-FTPd with one virtual user in a database of its own.

use std::process::Command;

use super::{Peer, Room, find};

pub const PEER: Peer = Peer {
    name: "pure-ftpd",
    program: "pure-ftpd",
    package: "pure-ftpd",
    login: ("bench", "bench"),
    version: "\"$0\" --help",
    configure,
};

/// `openssl passwd -1 bench`: the cheapest that it knows, so that logging in measures no hash.
const PASSWORD: &str = "$1$benchmrk$N.xc2WQ8jTQ63Ovz98CbJ.";

fn configure(room: &Room<'_>) -> Command {
    let (user, group) = room.account.as_ref().map_or_else(
        || {
            (
                rustix::process::geteuid().as_raw(),
                rustix::process::getegid().as_raw(),
            )
        },
        |account| (account.user, account.group),
    );
    let line = format!(
        "bench:{PASSWORD}:{user}:{group}::{}/./::::::::::::\n",
        room.root.display()
    );
    let (users, database) = (room.write("users", &line), room.folder.join("users.pdb"));
    if let Some(tool) = find("pure-pw") {
        let mut make = Command::new(tool);
        make.arg("mkdb").arg(&database).arg("-f").arg(users);
        make.output().unwrap();
    }
    let mut command = Command::new(&room.program);
    command
        .arg("-S")
        .arg(format!("{},{}", room.address.ip(), room.address.port()))
        .args([
            "-4", "-E", "-H", "-A", "-u", "1", "-c", "6000", "-C", "6000",
        ])
        .args(["-L", "1000000:20", "-Y", "0", "-f", "none", "-l"])
        .arg(format!("puredb:{}", database.display()))
        .arg("-g")
        .arg(room.folder.join("pid"));
    command
}
