//! nginx, two workers; WebDAV for uploads.

use std::process::Command;

use super::{Peer, Room};

pub const PEER: Peer = Peer {
    name: "nginx",
    program: "nginx",
    package: "nginx-light",
    login: ("", ""),
    version: "\"$0\" -v",
    configure,
};

/// The same over TLS, with a certificate made for this run.
pub const OVER_TLS: Peer = Peer {
    name: "nginx over TLS",
    configure: configure_tls,
    ..PEER
};

fn configure(room: &Room<'_>) -> Command {
    configure_with(room, "")
}

fn configure_tls(room: &Room<'_>) -> Command {
    let identity = auth::tls::Identity::generate(&["localhost".to_owned()]).unwrap();
    let pem = String::from_utf8(identity.to_pem()).unwrap();
    let pem = room.write("tls.pem", &pem);
    let pem = pem.display();
    let lines = format!(
        "ssl_certificate {pem};\nssl_certificate_key {pem};\nssl_protocols TLSv1.2 TLSv1.3;\n"
    );
    configure_with(room, &lines)
}

fn configure_with(room: &Room<'_>, tls: &str) -> Command {
    let user = match &room.account {
        Some(account) => format!("user {} {};\n", account.name, group_name(account.group)),
        None => String::new(),
    };
    let folder = room.make_folder("work");
    let folder = folder.display();
    let text = format!(
        "{user}worker_processes 2;\ndaemon off;\npid {folder}/pid;\nerror_log {folder}/error.log;\n\
         worker_rlimit_nofile 16384;\nevents {{ worker_connections 8192; multi_accept on; }}\n\
         http {{\n access_log off;\n sendfile on;\n sendfile_max_chunk 2m;\n tcp_nopush on;\n\
         keepalive_requests 1000000000;\n client_max_body_size 0;\n client_body_buffer_size 1m;\n\
         client_body_temp_path {folder}/body;\n proxy_temp_path {folder}/proxy;\n fastcgi_temp_path {folder}/fastcgi;\n\
         uwsgi_temp_path {folder}/uwsgi;\n scgi_temp_path {folder}/scgi;\n\
         default_type application/octet-stream;\n autoindex on;\n\
         server {{\n listen {address}{ssl} backlog=4096;\n{tls} root {root};\n\
         location / {{ dav_methods PUT; create_full_put_path on; }}\n }}\n}}\n",
        root = room.root.display(),
        ssl = if tls.is_empty() { "" } else { " ssl" },
        address = room.address,
    );
    let mut command = Command::new(&room.program);
    command
        .arg("-e")
        .arg(room.folder.join("error.log"))
        .arg("-c")
        .arg(room.write("nginx.conf", &text));
    command
}

fn group_name(id: u32) -> String {
    let groups = std::fs::read_to_string("/etc/group").unwrap_or_default();
    let named = groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse::<u32>().ok()? == id).then(|| name.to_owned())
    });
    named.unwrap_or_else(|| id.to_string())
}
