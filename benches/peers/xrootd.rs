//! XRootD's data server with its own defaults.

use std::process::Command;

use super::{Peer, Room, give_away};

pub const PEER: Peer = Peer {
    name: "xrootd",
    program: "xrootd",
    package: "xrootd-server",
    login: ("", ""),
    version: "\"$0\" -v",
    configure,
};

fn configure(room: &Room<'_>) -> Command {
    let (admin, run) = (room.make_folder("admin"), room.make_folder("run"));
    let text = format!(
        "all.export / nolock\noss.localroot {}\nall.adminpath {}\nall.pidpath {}\nxrd.port {}\n",
        room.root.display(),
        admin.display(),
        run.display(),
        room.address.port(),
    );
    give_away(room.folder);
    let mut command = Command::new(&room.program);
    command
        .arg("-c")
        .arg(room.write("xrootd.cf", &text))
        .arg("-s")
        .arg(run.join("pid")) // else it writes a file into /tmp
        .arg("-l")
        .arg(room.folder.join("log"))
        .args(["-n", "bench", "-I", "v4"])
        .current_dir(room.folder);
    if let Some(account) = &room.account {
        command.args(["-R", &account.name]);
    }
    command
}
