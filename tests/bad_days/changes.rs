//! Files that change while they are read, and files that many write: one version or another, never half of each.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use super::MEBIBYTE;
use crate::harness::{
    Client, Cluster, PATIENCE, Process, Setup, allocated, random_bytes, staged, wait_until,
    write_file,
};

const SIZE: usize = 8 * MEBIBYTE;

/// A slow download of the file `a.bin`, some of which has arrived.
fn begin(cluster: &Cluster) -> (Client, Process) {
    let client = cluster.client().options(["--limit-rate", "4M"]);
    let download = client.spawn(["get", "a.bin"]);
    let part = client.path(".a.bin.part");
    wait_until("the download to be under way", PATIENCE, || {
        allocated(&part) > MEBIBYTE as u64
    });
    (client, download)
}

/// Fails the test unless the download has the new content, or has given up with the right words.
#[track_caller]
fn assert_new_or_refused(client: &Client, mut download: Process, new: &[u8]) {
    match download.wait_code(PATIENCE) {
        0 => assert!(client.read("a.bin") == new, "half of each"),
        code => {
            assert_eq!(code, 1);
            let said = download.stderr();
            assert!(said.contains("the file changed meanwhile"), "{said}");
            assert!(!client.path("a.bin").exists());
        }
    }
}

#[test]
fn a_file_that_shrinks_while_it_is_read_is_fetched_anew_or_refused() {
    let cluster = Cluster::start(1);
    let content = random_bytes(1, SIZE);
    cluster.write("a.bin", &content);
    let (client, download) = begin(&cluster);
    File::options()
        .write(true)
        .open(cluster.path("a.bin"))
        .unwrap()
        .set_len(3_000_000)
        .unwrap();
    assert_new_or_refused(&client, download, &content[..3_000_000]);
}

#[test]
fn a_file_that_is_changed_in_place_while_it_is_read_is_fetched_anew_or_refused() {
    let cluster = Cluster::start(1);
    let mut content = random_bytes(2, SIZE);
    cluster.write("a.bin", &content);
    let (client, download) = begin(&cluster);
    let file = File::options()
        .write(true)
        .open(cluster.path("a.bin"))
        .unwrap();
    for offset in [0, SIZE / 2, SIZE - 1] {
        content[offset] ^= 0xff;
        file.write_all_at(&content[offset..=offset], offset as u64)
            .unwrap();
    }
    assert_new_or_refused(&client, download, &content);
}

#[test]
fn a_file_that_is_replaced_while_it_is_read_arrives_whole_old_or_new() {
    let cluster = Cluster::start(1);
    let (old, new) = (random_bytes(3, SIZE), random_bytes(4, SIZE));
    cluster.write("a.bin", &old);
    let (client, mut download) = begin(&cluster);
    cluster.write("b.bin", &new);
    fs::rename(cluster.path("b.bin"), cluster.path("a.bin")).unwrap();
    assert_eq!(download.wait_code(PATIENCE), 0);
    let content = client.read("a.bin");
    assert!(content == old || content == new, "half of each");
}

#[test]
fn a_file_that_is_removed_while_it_is_read_arrives_whole() {
    let cluster = Cluster::start(1);
    let content = random_bytes(5, SIZE);
    cluster.write("a.bin", &content);
    let (client, mut download) = begin(&cluster);
    cluster.client().run(["rm", "a.bin"]).succeeded();
    assert_eq!(download.wait_code(PATIENCE), 0);
    assert!(client.read("a.bin") == content);
}

/// Somebody writes to the file all the time: no version stands still long enough to be sent.
#[test]
fn a_file_that_never_stands_still_is_refused() {
    const SIZE: usize = 4 * MEBIBYTE;
    // Slow enough that many writes fall into every try, also beside other tests: at the slave, whose kernel would take all of it
    // at once from one that may send as it likes.
    let slowly = ["--limit-session-rate", "6M"];
    let cluster = Setup::new(1).slave_options(slowly).start();
    cluster.write("a.bin", &random_bytes(6, SIZE));
    let over = AtomicBool::new(false);
    let is_written = AtomicBool::new(false);
    let scribble = || {
        let path = cluster.path("a.bin");
        let file = File::options().write(true).open(path).unwrap();
        for count in 0_u64.. {
            if over.load(SeqCst) {
                break;
            }
            let place = count * 4099 % (SIZE as u64 - 8);
            file.write_all_at(&count.to_be_bytes(), place).unwrap();
            is_written.store(true, SeqCst);
            thread::sleep(Duration::from_millis(1));
        }
    };
    let client = cluster.client();
    let finished = thread::scope(|threads| {
        thread::Builder::new()
            .spawn_scoped(threads, scribble)
            .unwrap();
        wait_until("somebody to write", PATIENCE, || is_written.load(SeqCst));
        let finished = client.run(["get", "a.bin"]);
        over.store(true, SeqCst);
        finished
    });
    finished.failed(1, "cannot get '/a.bin': the file changed meanwhile");
    assert!(!client.path("a.bin").exists());
}

#[test]
fn a_local_file_that_changes_while_it_is_sent_is_sent_anew_or_refused() {
    let cluster = Cluster::start(1);
    let client = cluster.client().options(["--limit-rate", "4M"]);
    let mut content = random_bytes(7, SIZE);
    client.write("a.bin", &content);
    let mut upload = client.spawn(["put", "a.bin"]);
    wait_until("the upload to be under way", PATIENCE, || {
        staged(&cluster.root())
            .iter()
            .any(|path| allocated(path) > MEBIBYTE as u64)
    });
    let file = File::options()
        .write(true)
        .open(client.path("a.bin"))
        .unwrap();
    for offset in [0, SIZE - 1] {
        content[offset] ^= 0xff;
        file.write_all_at(&content[offset..=offset], offset as u64)
            .unwrap();
    }
    match upload.wait_code(PATIENCE) {
        0 => assert!(
            fs::read(cluster.path("a.bin")).unwrap() == content,
            "half of each"
        ),
        code => {
            assert_eq!(code, 1);
            assert!(upload.stderr().contains("changed"), "{}", upload.stderr());
            assert!(!cluster.path("a.bin").exists());
        }
    }
}

#[test]
fn uploads_of_many_to_one_name_never_mix() {
    const WRITERS: u64 = 16;
    let cluster = Setup::new(2).start();
    // Some are sent in one frame, some in many.
    let contents: Vec<Vec<u8>> = (0..WRITERS)
        .map(|writer| {
            random_bytes(
                writer,
                if writer % 4 == 0 {
                    40_000
                } else {
                    MEBIBYTE + 7
                },
            )
        })
        .collect();
    let clients: Vec<Client> = contents.iter().map(|_| cluster.client()).collect();
    for (client, content) in clients.iter().zip(&contents) {
        write_file(&client.path("a.bin"), content);
    }
    for _ in 0..2 {
        let mut uploads: Vec<Process> = clients
            .iter()
            .map(|client| client.spawn(["put", "-f", "a.bin"]))
            .collect();
        while uploads.iter_mut().any(Process::is_running) {
            if let Ok(content) = fs::read(cluster.path("a.bin")) {
                assert!(contents.contains(&content), "half of two");
            }
        }
        for upload in &mut uploads {
            assert_eq!(upload.wait_code(PATIENCE), 0);
        }
        assert!(contents.contains(&fs::read(cluster.path("a.bin")).unwrap()));
        assert_eq!(staged(&cluster.root()), Vec::<PathBuf>::new());
    }
}

#[test]
fn of_many_uploads_that_may_not_overwrite_one_wins_and_the_others_hear_exists() {
    const WRITERS: u64 = 6;
    let cluster = Setup::new(2).start();
    let contents: Vec<Vec<u8>> = (0..WRITERS)
        .map(|writer| random_bytes(writer, 2_000_000))
        .collect();
    let clients: Vec<Client> = contents.iter().map(|_| cluster.client()).collect();
    for (client, content) in clients.iter().zip(&contents) {
        write_file(&client.path("a.bin"), content);
    }
    let mut uploads: Vec<Process> = clients
        .iter()
        .map(|client| client.spawn(["put", "a.bin"]))
        .collect();
    let codes: Vec<i32> = uploads
        .iter_mut()
        .map(|upload| upload.wait_code(PATIENCE))
        .collect();
    let winner = codes.iter().position(|code| *code == 0).unwrap();
    assert_eq!(
        codes.iter().filter(|code| **code == 1).count(),
        codes.len() - 1,
        "{codes:?}"
    );
    assert!(fs::read(cluster.path("a.bin")).unwrap() == contents[winner]);
    for (index, upload) in uploads.iter().enumerate() {
        assert!(
            index == winner || upload.stderr().contains("exists"),
            "{}",
            upload.stderr()
        );
    }
    assert_eq!(staged(&cluster.root()), Vec::<PathBuf>::new());
}

#[test]
fn two_downloads_into_one_folder_do_not_disturb_each_other() {
    let cluster = Cluster::start(2);
    let content = random_bytes(8, SIZE);
    cluster.write("a.bin", &content);
    let client = cluster.client().options(["--limit-rate", "8M"]);
    let mut downloads = [
        client.spawn(["get", "a.bin"]),
        client.spawn(["get", "a.bin"]),
    ];
    for download in &mut downloads {
        assert_eq!(download.wait_code(PATIENCE), 0, "{}", download.stderr());
    }
    assert!(client.read("a.bin") == content);
    assert_eq!(client.names(), ["a.bin"]);
    let told = downloads.map(|download| download.stdout());
    assert_eq!(
        told.iter()
            .filter(|line| line.contains("unchanged"))
            .count(),
        1,
        "{told:?}"
    );
}

#[test]
fn two_uploads_of_one_file_do_not_disturb_each_other() {
    let cluster = Cluster::start(2);
    let content = random_bytes(9, SIZE);
    let client = cluster.client().options(["--limit-rate", "8M"]);
    client.write("a.bin", &content);
    let mut uploads = [
        client.spawn(["put", "a.bin"]),
        client.spawn(["put", "a.bin"]),
    ];
    for upload in &mut uploads {
        assert_eq!(upload.wait_code(PATIENCE), 0, "{}", upload.stderr());
    }
    assert!(fs::read(cluster.path("a.bin")).unwrap() == content);
    assert_eq!(staged(&cluster.root()), Vec::<PathBuf>::new());
}
