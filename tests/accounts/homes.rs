//! What an account sees of the served folder.

use std::fs;
use std::os::unix::fs::symlink;

use super::PASSWORD;
use crate::harness::{Client, Cluster, Setup};

fn at_home() -> (Cluster, Client) {
    let setup = Setup::new(1).account(["ada", "--home", "/home/ada"], PASSWORD);
    let cluster = setup.start();
    cluster.write("secret.txt", b"not yours\n");
    cluster.write("home/bob/his.txt", b"not yours\n");
    cluster.write("home/ada/mine.txt", b"mine\n");
    let client = cluster.client().with_login("ada", PASSWORD);
    (cluster, client)
}

#[test]
fn the_home_is_the_root_and_all_of_it() {
    let (cluster, client) = at_home();
    let listed = client.run(["ls", "-R", "/"]);
    assert_eq!(listed.succeeded().stdout, "mine.txt\n");
    client.run(["get", "/mine.txt"]).succeeded();
    client.write("tree/a/b.txt", b"new\n");
    client.run(["put", "-r", "tree"]).succeeded();
    client.run(["put", "mine.txt", "/tree/c.txt"]).succeeded();
    client.run(["mv", "/tree/a", "/moved"]).succeeded();
    assert_eq!(
        fs::read(cluster.path("home/ada/moved/b.txt")).unwrap(),
        b"new\n"
    );
    assert_eq!(
        fs::read(cluster.path("home/ada/tree/c.txt")).unwrap(),
        b"mine\n"
    );
    client.run(["rm", "-r", "/moved", "/tree"]).succeeded();
    client.run(["mirror", "/", "copy"]).succeeded();
    assert_eq!(client.read("copy/mine.txt"), b"mine\n");
}

#[test]
fn no_name_and_no_link_leads_out_of_it() {
    let (cluster, client) = at_home();
    let home = cluster.path("home/ada");
    for (link, target) in [
        ("up", ".."),
        ("file", "../../secret.txt"),
        ("absolute", cluster.path("secret.txt").to_str().unwrap()),
        ("folder", cluster.root().to_str().unwrap()),
    ] {
        symlink(target, home.join(link)).unwrap();
    }
    client.write("up.txt", b"mine\n");
    for name in [
        "/secret.txt",
        "../secret.txt",
        "../../secret.txt",
        "/home/ada/mine.txt",
        "../bob/his.txt",
        "/../../home/bob/his.txt",
    ] {
        client.run(["get", name]).failed(1, "no such file");
        client.run(["rm", name]).failed(1, "no such file");
    }
    for name in ["file", "absolute", "up/bob/his.txt", "folder/secret.txt"] {
        client
            .run(["get", name])
            .failed(1, "a symbolic link leads out");
        client
            .run(["cat", name])
            .failed(1, "a symbolic link leads out");
    }
    for command in [
        &["put", "up.txt", "up/x"][..],
        &["put", "up.txt", "folder/x"],
        &["mkdir", "up/x"],
        &["mv", "mine.txt", "up/x"],
        &["mv", "folder/secret.txt", "mine2.txt"],
        &["rm", "folder/secret.txt"],
        &["rm", "-r", "up/bob"],
        &["ls", "up"],
    ] {
        client
            .run(command.iter().copied())
            .failed(1, "a symbolic link leads out");
    }
    client.run(["rm", "-r", "/"]).failed(1, "");
    client.run(["mv", "/", "/x"]).failed(1, "");
    for kept in ["secret.txt", "home/bob/his.txt"] {
        assert_eq!(fs::read(cluster.path(kept)).unwrap(), b"not yours\n");
    }
    assert_eq!(fs::read_dir(cluster.path("home")).unwrap().count(), 2);
    assert!(home.join("mine.txt").exists() && !client.path("secret.txt").exists());
}

#[test]
fn a_home_that_is_not_there_is_named_as_what_is_wrong() {
    let setup = Setup::new(1).account(["ada", "--home", "/gone"], PASSWORD);
    let cluster = setup.start();
    let client = cluster.client().with_login("ada", PASSWORD);
    let finished = client.run(["ls"]);
    finished.failed(
        1,
        "the account's home cannot be used: no such file or folder",
    );
    fs::create_dir(cluster.path("gone")).unwrap();
    client.run(["ls"]).succeeded();
}
