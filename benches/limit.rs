//! What the machine can do without us: the yardsticks.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};

/// `cp` of a file.
pub fn copy(source: &Path, target: &Path) {
    assert!(
        Command::new("cp")
            .arg(source)
            .arg(target)
            .status()
            .unwrap()
            .success()
    );
}

/// `cp -r` of a folder.
pub fn copy_tree(source: &Path, target: &Path) {
    assert!(
        Command::new("cp")
            .arg("-r")
            .arg(source)
            .arg(target)
            .status()
            .unwrap()
            .success()
    );
}

/// What `ls -U` says of a folder.
pub fn list(folder: &Path) -> Vec<u8> {
    Command::new("ls")
        .arg("-U")
        .arg(folder)
        .output()
        .unwrap()
        .stdout
}

/// Whether the machine has a netcat that can be told to end with its input.
pub fn has_netcat() -> bool {
    Command::new("sh")
        .args(["-c", "nc -h 2>&1 | grep -q -- -N"])
        .status()
        .is_ok_and(|status| status.success())
}

/// `cat FILE | nc` into a file, over loopback; where there is no netcat, two threads that do what it does.
pub fn cat_through_socket(source: &Path, target: &Path, netcat: bool) {
    if netcat {
        netcats(source, target);
    } else {
        threads(source, target);
    }
}

fn netcats(source: &Path, target: &Path) {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
        .to_string();
    let mut receiver = Command::new("nc")
        .args(["-l", "127.0.0.1", &port])
        .stdin(Stdio::null())
        .stdout(File::create(target).unwrap())
        .spawn()
        .unwrap();
    let script = format!("until cat \"$0\" | nc -N 127.0.0.1 {port}; do sleep 0.01; done");
    assert!(
        Command::new("sh")
            .arg("-c")
            .arg(script)
            .arg(source)
            .status()
            .unwrap()
            .success()
    );
    assert!(receiver.wait().unwrap().success());
}

/// netcat-openbsd moves 16 KiB at a time.
fn threads(source: &Path, target: &Path) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut sender = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let mut receiver = listener.accept().unwrap().0;
    let (mut from, mut to) = (File::open(source).unwrap(), File::create(target).unwrap());
    std::thread::scope(|scope| {
        scope.spawn(move || move_all(&mut from, &mut sender).unwrap());
        move_all(&mut receiver, &mut to).unwrap();
    });
}

fn move_all(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(()),
            read => to.write_all(&buffer[..read])?,
        }
    }
}
