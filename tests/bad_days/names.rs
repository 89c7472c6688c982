//! Names that are missing, of the wrong kind, forbidden, too long, or no text.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::{
    Client, Cluster, Finished, Setup, digest_of, random_bytes, staged, without_privileges,
    write_file,
};

/// Fails the test unless the command ended with status 1 and one line that says so.
#[track_caller]
fn assert_refused(finished: &Finished, sentence: &str) {
    finished.failed(1, sentence);
    assert_eq!(finished.stderr.lines().count(), 1, "{}", finished.stderr);
    assert!(
        finished.stderr.starts_with("ftpclient: cannot "),
        "{}",
        finished.stderr
    );
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_file_that_is_not_there_is_named_with_the_reason() {
    let cluster = Cluster::start(1);
    let client = cluster.client();
    let finished = client.run(["get", "a.bin"]);
    assert_refused(&finished, "cannot get '/a.bin': no such file");
    assert_eq!(client.names(), Vec::<OsString>::new());
    for command in ["stat", "sum", "cat", "rm", "rmdir"] {
        assert_refused(&client.run([command, "a.bin"]), "'/a.bin': no such file");
    }
    assert_refused(&client.run(["ls", "nowhere"]), "'/nowhere': no such file");
    assert_refused(&client.run(["mv", "a.bin", "b.bin"]), "no such file");
    assert_refused(&client.run(["put", "mine.bin"]), "no such file");
    assert_refused(&client.run(["get", "folder/a.bin"]), "no such file");
}

#[test]
fn a_folder_where_a_file_is_meant_is_refused() {
    let cluster = Cluster::start(1);
    cluster.write("folder/a.bin", b"content");
    let client = cluster.client();
    client.write("mine/b.bin", b"content");
    for command in ["get", "cat", "sum"] {
        assert_refused(
            &client.run([command, "folder"]),
            "'/folder': is a directory",
        );
    }
    assert_refused(&client.run(["rm", "folder"]), "'/folder': is a directory");
    assert_refused(&client.run(["put", "mine"]), "is a directory");
    assert!(cluster.path("folder/a.bin").exists());
    assert_eq!(client.names(), [OsString::from("mine")]);
}

#[test]
fn a_file_where_a_folder_is_meant_is_refused() {
    let cluster = Cluster::start(1);
    cluster.write("a.bin", b"content");
    let client = cluster.client();
    client.write("b.bin", b"mine");
    for command in ["cd", "rmdir"] {
        assert_refused(&client.run([command, "a.bin"]), "not a directory");
    }
    assert_refused(&client.run(["get", "a.bin/inside"]), "not a directory");
    assert_refused(&client.run(["mkdir", "a.bin/inside"]), "not a directory");
    assert_refused(&client.run(["put", "b.bin", "a.bin/"]), "not a directory");
    assert_eq!(fs::read(cluster.path("a.bin")).unwrap(), b"content");
}

#[test]
fn a_file_in_the_place_of_a_folder_of_a_tree_is_neither_kept_beside_nor_overwritten() {
    let cluster = Cluster::start(1);
    cluster.write("t/sub", b"theirs");
    let client = cluster.client();
    client.write("t/sub/inside", b"mine");
    client.write("t/a", b"mine");
    for options in ["-r", "-rf", "-rn"] {
        let finished = client.run(["put", options, "t", "."]);
        finished.failed_exactly(
            1,
            "ftpclient: cannot put 't/sub': not a directory\n\
             ftpclient: cannot put 't/sub/inside': not a directory",
        );
        assert_eq!(fs::read(cluster.path("t/sub")).unwrap(), b"theirs");
        assert_eq!(fs::read(cluster.path("t/a")).unwrap(), b"mine");
    }
}

#[test]
fn what_the_slave_may_not_read_or_write_is_refused() {
    let Some(helper) = without_privileges() else {
        return;
    };
    let cluster = Setup::new(1).behind(helper).start();
    let client = cluster.client();
    cluster.write("secret.bin", b"secret");
    cluster.write("locked/a.bin", b"content");
    client.write("b.bin", b"mine");
    set_mode(&cluster.path("secret.bin"), 0o000);
    set_mode(&cluster.path("locked"), 0o555);
    for command in ["get", "cat", "sum"] {
        assert_refused(
            &client.run([command, "secret.bin"]),
            "'/secret.bin': permission denied",
        );
    }
    assert_refused(
        &client.run(["put", "b.bin", "locked/b.bin"]),
        "permission denied",
    );
    assert_refused(&client.run(["rm", "locked/a.bin"]), "permission denied");
    assert_refused(&client.run(["mkdir", "locked/new"]), "permission denied");
    set_mode(&cluster.path("locked"), 0o000);
    assert_refused(&client.run(["ls", "locked"]), "permission denied");
    set_mode(&cluster.path("locked"), 0o755);
    assert_eq!(client.names(), [OsString::from("b.bin")]);
    assert_eq!(staged(&cluster.root()), Vec::<PathBuf>::new());
}

#[test]
fn what_the_client_may_not_read_or_write_is_refused() {
    let Some(helper) = without_privileges() else {
        return;
    };
    let cluster = Cluster::start(1);
    cluster.write("a.bin", b"content");
    let client = cluster.client().behind(helper);
    client.write("secret.bin", b"secret");
    client.write("locked/b.bin", b"mine");
    set_mode(&client.path("secret.bin"), 0o000);
    set_mode(&client.path("locked"), 0o555);
    assert_refused(&client.run(["put", "secret.bin"]), "permission denied");
    assert_refused(
        &client.run(["get", "a.bin", "locked/"]),
        "permission denied",
    );
    assert!(!cluster.path("secret.bin").exists());
    set_mode(&client.path("locked"), 0o755);
}

/// Links, a pipe, a socket and what nobody may read, in the midst of files that are well.
fn fill_with_oddities(root: &Path) {
    for number in 0..100 {
        write_file(&root.join(format!("tree/{number}")), b"content");
    }
    symlink("1", root.join("tree/link")).unwrap();
    let made = Command::new("mkfifo").arg(root.join("tree/pipe")).status();
    assert!(made.unwrap().success());
    drop(UnixListener::bind(root.join("tree/socket")).unwrap());
    write_file(&root.join("tree/secret"), b"secret");
    set_mode(&root.join("tree/secret"), 0o000);
    write_file(&root.join("tree/closed/a"), b"content");
    set_mode(&root.join("tree/closed"), 0o000);
}

/// Each oddity has a line of its own, all else is there.
#[track_caller]
fn assert_all_but_oddities(finished: &Finished, target: &Path) {
    assert_eq!(finished.code, 1, "{finished:?}");
    let names = ["link", "pipe", "socket", "secret", "closed"];
    assert_eq!(finished.stderr.lines().count(), names.len(), "{finished:?}");
    for name in names {
        let mut lines = finished.stderr.lines();
        assert!(
            lines.any(|line| line.contains(&format!("tree/{name}"))),
            "{name}: {finished:?}"
        );
    }
    for number in 0..100 {
        assert_eq!(
            fs::read(target.join(number.to_string())).unwrap(),
            b"content"
        );
    }
    for name in ["link", "pipe", "socket", "secret", "closed/a"] {
        assert!(!target.join(name).exists(), "{name}");
    }
}

#[test]
fn get_of_a_tree_names_what_it_skips_and_what_may_not_be_read_and_does_the_rest() {
    let Some(helper) = without_privileges() else {
        return;
    };
    let cluster = Setup::new(2).behind(helper).start();
    fill_with_oddities(&cluster.root());
    let client = cluster.client().options(["--streams", "2"]);
    let finished = client.run(["get", "-r", "tree"]);
    assert_all_but_oddities(&finished, &client.path("tree"));
    set_mode(&cluster.path("tree/closed"), 0o755);
}

#[test]
fn put_of_a_tree_names_what_it_skips_and_what_may_not_be_read_and_does_the_rest() {
    let Some(helper) = without_privileges() else {
        return;
    };
    let cluster = Cluster::start(2);
    let client = cluster.client().behind(helper).options(["--streams", "2"]);
    fill_with_oddities(&client.folder());
    let finished = client.run(["put", "-r", "tree"]);
    assert_all_but_oddities(&finished, &cluster.path("tree"));
    set_mode(&client.path("tree/closed"), 0o755);
}

#[test]
fn a_name_that_is_too_long_is_refused_and_the_longest_works_both_ways() {
    let cluster = Cluster::start(1);
    let client = cluster.client();
    client.write("a.bin", b"content");
    let (longest, too_long) = ("n".repeat(255), "n".repeat(256));
    assert_refused(&client.run(["put", "a.bin", &too_long]), "name too long");
    assert_refused(&client.run(["get", &too_long]), "name too long");
    assert_refused(&client.run(["mkdir", &too_long]), "name too long");
    let deep = "folder/".repeat(1000);
    assert_refused(&client.run(["stat", &deep]), "name too long");

    client.run(["put", "a.bin", &longest]).succeeded();
    client.run(["get", &longest]).succeeded();
    assert_eq!(client.read(&longest), b"content");
    assert_eq!(client.names().len(), 2);
}

#[test]
fn a_name_that_is_no_text_works_both_ways() {
    let cluster = Cluster::start(1);
    let client = cluster.client();
    let name = OsStr::from_bytes(b"caf\xe9 \xff.bin");
    let content = random_bytes(1, 100_000);
    client.write(name, &content);
    client.run([OsStr::new("put"), name]).succeeded();
    assert!(fs::read(cluster.path(name)).unwrap() == content);
    assert_eq!(client.run(["ls"]).raw, [name.as_bytes(), b"\n"].concat());
    let other = Client::new(cluster.address().to_string());
    other.run([OsStr::new("get"), name]).succeeded();
    assert_eq!(other.names(), [name.to_owned()]);
    assert!(other.read(name) == content);
    let second = OsStr::from_bytes(b"\xfe");
    other.run([OsStr::new("mv"), name, second]).succeeded();
    other.run([OsStr::new("rm"), second]).succeeded();
    assert!(!cluster.path(name).exists() && !cluster.path(second).exists());
}

#[test]
fn what_is_no_file_and_in_the_way_is_not_told_as_the_other_side_s() {
    let cluster = Cluster::start(1);
    cluster.write("a.txt", b"hello\n");
    cluster.write("pub/b.txt", b"b");
    let client = cluster.client();
    fs::create_dir(client.path("a.txt")).unwrap();
    client.run(["get", "a.txt"]).failed_exactly(
        1,
        "ftpclient: cannot get '/a.txt' as 'a.txt': is a directory",
    );
    client.write("pub", b"mine");
    client
        .run(["put", "pub", "/"])
        .failed_exactly(1, "ftpclient: cannot put 'pub' as '/pub': is a directory");
    symlink("/dev/null", client.path("sink")).unwrap();
    client.run(["get", "-f", "a.txt", "sink"]).failed_exactly(
        1,
        "ftpclient: cannot get '/a.txt' as 'sink': not a regular file (cat writes to one)",
    );
    assert!(client.path("sink").is_symlink());
}

#[test]
fn sums_are_a_line_each_whatever_the_names() {
    let cluster = Cluster::start(1);
    for name in ["a\nb", r"a\n"] {
        cluster.write(name, b"content");
    }
    let digest = digest_of(b"content");
    let sums = cluster.client().run(["sum", "a*"]);
    let lines = [format!(r"\{digest}  a\nb"), format!(r"\{digest}  a\\n")];
    assert!(sums.succeeded().stdout.lines().eq(lines), "{sums:?}");
}
