//! Name servers that are silent, that are not there, and that know no such name.

use std::ffi::OsString;
use std::net::UdpSocket;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::harness::{
    AT_ITS_TERMINAL, Client, PATIENCE, Terminal, among_neighbours, done_as_superuser, skipped,
    write_file,
};

const SERVER: &str = "10.9.9.9";
const ITS_PORT: u16 = 53;

/// What stands before a program so that it asks that server for names, patiently, and no other; `None`, and a line that says so,
/// where that is not allowed.
fn asking(folder: &Path) -> Option<Vec<OsString>> {
    let settings = folder.join("resolv.conf");
    let lines = format!("nameserver {SERVER}\noptions timeout:30 attempts:5\n");
    write_file(&settings, lines.as_bytes());
    let script = r#"mount --bind "$0" /etc/resolv.conf && exec "$@""#;
    let mut words = ["unshare", "--mount", "sh", "-c", script]
        .map(OsString::from)
        .to_vec();
    words.push(settings.into());
    let mut works = Command::new(&words[0]);
    works.args(&words[1..]).arg("true");
    let works = works.output().is_ok_and(|output| output.status.success());
    if !works {
        skipped("setting a name server takes the superuser");
    }
    works.then_some(words)
}

/// Does `work` in a network where nothing but that server would be asked, with what [`asking`] says.
fn far_from_names(work: impl FnOnce(Vec<OsString>) + Send) {
    let folder = tempfile::tempdir().unwrap();
    if let Some(helper) = asking(folder.path()) {
        among_neighbours(|| work(helper));
    }
}

#[test]
fn ctrl_c_ends_a_session_s_wait_for_a_name_server_that_is_silent() {
    if done_as_superuser() {
        return;
    }
    far_from_names(|helper| {
        let server = UdpSocket::bind((SERVER, ITS_PORT)).unwrap();
        server.set_read_timeout(Some(PATIENCE)).unwrap();
        let helper = AT_ITS_TERMINAL
            .map(OsString::from)
            .into_iter()
            .chain(helper);
        let client = Client::new("one.example,other.example").behind(helper.collect());
        let mut terminal = Terminal::start(client.command::<OsString>([]));
        server.recv(&mut [0; 512]).unwrap();
        let begun = Instant::now();
        terminal.type_text("\u{3}");
        let (code, shown) = terminal.finish();
        assert_eq!(code, 130, "{shown}");
        assert!(begun.elapsed() < Duration::from_secs(5), "{shown}");
    });
}

#[test]
fn a_name_that_nobody_can_look_up_is_told_from_one_that_is_not_there() {
    if done_as_superuser() {
        return;
    }
    far_from_names(|helper| {
        let client = Client::new("one.example").behind(helper);
        let unknown = client.run(["ls"]);
        unknown.failed(3, "its name cannot be looked up now");
        let server = UdpSocket::bind((SERVER, ITS_PORT)).unwrap();
        server
            .set_read_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        let mut run = client.spawn(["ls"]);
        let mut question = [0; 512];
        while run.is_running() {
            if let Ok((length, client)) = server.recv_from(&mut question) {
                // Its header becomes an answer's: recursion was available, and there is no such name.
                question[2..4].copy_from_slice(&[0x81, 0x83]);
                server.send_to(&question[..length], client).unwrap();
            }
        }
        assert_eq!(run.wait_code(PATIENCE), 3);
        assert!(run.stderr().contains("no such host"), "{}", run.stderr());
    });
}
