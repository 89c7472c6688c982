//! vsftpd for anonymous users, who need no entry in the system's password rules.

use std::process::Command;

use super::{Peer, Room};

pub const PEER: Peer = Peer {
    name: "vsftpd",
    program: "vsftpd",
    package: "vsftpd",
    login: ("anonymous", "bench"),
    version: "\"$0\" -v 0>&1", // it speaks on its input
    configure,
};

fn configure(room: &Room<'_>) -> Command {
    let empty = room.folder.join("empty");
    std::fs::create_dir(&empty).unwrap();
    let mut text = format!(
        "listen=YES\nbackground=NO\nlisten_address={}\nlisten_port={}\nanonymous_enable=YES\nlocal_enable=NO\n\
         anon_root={}\nsecure_chroot_dir={}\nwrite_enable=YES\nanon_upload_enable=YES\nanon_mkdir_write_enable=YES\n\
         anon_other_write_enable=YES\nanon_world_readable_only=NO\nanon_umask=022\nconnect_from_port_20=NO\n\
         xferlog_enable=NO\nuse_sendfile=YES\nmax_clients=0\nmax_per_ip=0\nsession_support=NO\nseccomp_sandbox=NO\n",
        room.address.ip(),
        room.address.port(),
        room.root.display(),
        empty.display(),
    );
    text += &match &room.account {
        Some(account) => format!("ftp_username={}\n", account.name),
        None => "run_as_launching_user=YES\n".to_owned(),
    };
    let mut command = Command::new(&room.program);
    command.arg(room.write("vsftpd.conf", &text));
    command
}
