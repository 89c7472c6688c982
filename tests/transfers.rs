//! Getting and putting when nothing goes wrong: sizes, trees, names, destinations that exist, and what is reported.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

use crate::harness::{
    Client, Cluster, Finished, PATIENCE, digest_of, random_bytes, skipped, staged, tree,
};

/// Around every border of the protocol: empty, one byte, inline content, one frame, one block, several of them.
const SIZES: [usize; 10] = [
    0,
    1,
    1023,
    57_344,
    57_345,
    65_536,
    1_048_575,
    1_048_576,
    1_048_577,
    3 * 1_048_576 + 17,
];

fn statuses(finished: &Finished) -> Vec<String> {
    finished
        .json()
        .iter()
        .map(|record| record["status"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn get_fetches_files_of_every_size() {
    let cluster = Cluster::start(1);
    let client = cluster.client();
    for size in SIZES {
        let name = format!("{size}.bin");
        let content = random_bytes(size as u64, size);
        cluster.write(&name, &content);
        client.run(["get", &name]).succeeded();
        assert!(client.read(&name) == content, "{size} bytes");
    }
    assert_eq!(client.names().len(), SIZES.len(), "{:?}", client.names());
}

#[test]
fn put_stores_files_of_every_size() {
    let cluster = Cluster::start(1);
    let client = cluster.client();
    for size in SIZES {
        let name = format!("{size}.bin");
        let content = random_bytes(size as u64, size);
        client.write(&name, &content);
        client.run(["put", &name]).succeeded();
        assert!(
            fs::read(cluster.path(&name)).unwrap() == content,
            "{size} bytes"
        );
    }
    assert!(staged(&cluster.root()).is_empty());
}

#[test]
fn time_and_permission_bits_travel_both_ways() {
    let cluster = Cluster::start(1);
    let client = cluster.client();
    cluster.write("tool.sh", b"#!/bin/sh\n");
    let time = UNIX_EPOCH + Duration::new(1_700_000_000, 123_456_789);
    let file = fs::File::options()
        .write(true)
        .open(cluster.path("tool.sh"))
        .unwrap();
    file.set_modified(time).unwrap();
    file.set_permissions(fs::Permissions::from_mode(0o750))
        .unwrap();
    client.run(["get", "tool.sh"]).succeeded();
    client.run(["put", "tool.sh", "copy.sh"]).succeeded();
    for path in [client.path("tool.sh"), cluster.path("copy.sh")] {
        let facts = fs::metadata(&path).unwrap();
        assert_eq!(facts.modified().unwrap(), time, "{}", path.display());
        assert_eq!(facts.mode() & 0o700, 0o700, "{}", path.display());
    }
}

#[test]
fn one_line_follows_a_transfer_and_a_total_several() {
    let cluster = Cluster::start(1);
    cluster.write("a.bin", &random_bytes(1, 2048));
    cluster.write("b.bin", &random_bytes(2, 1024));
    let client = cluster.client();
    let stdout = client.run(["get", "a.bin"]).succeeded().stdout.clone();
    assert_eq!(stdout.lines().count(), 1, "{stdout}");
    let slave = cluster.slaves[0].address.to_string();
    for part in ["a.bin: 2.0 KiB in ", " s (", "/s), verified, from ", &slave] {
        assert!(stdout.contains(part), "{stdout}");
    }
    let several = cluster
        .client()
        .run(["get", "a.bin", "b.bin", "."])
        .succeeded()
        .stdout
        .clone();
    assert_eq!(several.lines().count(), 3, "{several}");
    let quiet = cluster
        .client()
        .options(["-q"])
        .run(["get", "a.bin"])
        .succeeded()
        .stdout
        .clone();
    assert_eq!(quiet, "");
}

#[test]
fn json_reports_everything_of_a_transfer() {
    let cluster = Cluster::start(1);
    let content = random_bytes(1, 100_000);
    cluster.write("a.bin", &content);
    let client = cluster.client().options(["--json"]);
    let record = client.run(["get", "a.bin"]).succeeded().json().remove(0);
    for (key, value) in [
        ("op", "get"),
        ("remote", "/a.bin"),
        ("local", "a.bin"),
        ("blake3", &digest_of(&content)),
        ("slave", &cluster.slaves[0].address.to_string()),
        ("status", "done"),
    ] {
        assert_eq!(record[key], value, "{record}");
    }
    assert_eq!(
        (&record["bytes"], &record["resumed_at"]),
        (&100_000.into(), &0.into())
    );
    assert_eq!(record["verified"], true);
    assert!(record["seconds"].as_f64().unwrap() > 0.0);
}

#[test]
fn a_failed_transfer_is_reported_in_json_with_its_code() {
    let cluster = Cluster::start(1);
    let finished = cluster.client().options(["--json"]).run(["get", "nothing"]);
    finished.failed(1, "no such file");
    let record = finished.json().remove(0);
    assert_eq!(
        (&record["status"], &record["code"]),
        (&"failed".into(), &"not-found".into())
    );
    assert!(record["error"].as_str().unwrap().contains("no such file"));
}

/// A client that has `local` as `a.txt`, of a cluster that has `remote` under that name.
fn both(remote: &[u8], local: &[u8]) -> (Cluster, Client) {
    let cluster = Cluster::start(1);
    cluster.write("a.txt", remote);
    let client = cluster.client();
    client.write("a.txt", local);
    (cluster, client)
}

#[test]
fn the_same_content_is_left_alone() {
    let (_cluster, client) = both(b"same", b"same");
    let client = client.options(["--json"]);
    assert_eq!(
        statuses(client.run(["get", "a.txt"]).succeeded()),
        ["unchanged"]
    );
    assert_eq!(
        statuses(client.run(["put", "a.txt"]).succeeded()),
        ["unchanged"]
    );
}

#[test]
fn another_content_is_never_overwritten_silently() {
    let (cluster, client) = both(b"theirs", b"mine");
    client.run(["get", "a.txt"]).failed(1, "exists");
    assert_eq!(client.read("a.txt"), b"mine");
    client.run(["put", "a.txt"]).failed(1, "exists");
    assert_eq!(fs::read(cluster.path("a.txt")).unwrap(), b"theirs");
}

#[test]
fn f_overwrites() {
    let (cluster, client) = both(b"theirs", b"mine");
    client.run(["put", "-f", "a.txt"]).succeeded();
    assert_eq!(fs::read(cluster.path("a.txt")).unwrap(), b"mine");
    cluster.write("a.txt", b"newer");
    client.run(["get", "-f", "a.txt"]).succeeded();
    assert_eq!(client.read("a.txt"), b"newer");
}

#[test]
fn n_stores_beside_under_a_new_name() {
    let (cluster, client) = both(b"theirs", b"mine");
    let client = client.options(["--json"]);
    assert_eq!(
        statuses(client.run(["get", "-n", "a.txt"]).succeeded()),
        ["renamed"]
    );
    assert_eq!(
        (client.read("a.txt"), client.read("newa.txt")),
        (b"mine".to_vec(), b"theirs".to_vec())
    );
    assert_eq!(
        statuses(client.run(["put", "-n", "a.txt"]).succeeded()),
        ["renamed"]
    );
    assert_eq!(fs::read(cluster.path("a.txt")).unwrap(), b"theirs");
    assert_eq!(fs::read(cluster.path("newa.txt")).unwrap(), b"mine");
}

#[test]
fn n_stores_the_same_content_beside_only_once() {
    let (cluster, client) = both(b"theirs", b"mine");
    let client = client.options(["--json"]);
    let runs = |verb| {
        [0; 3].map(|_| {
            let finished = client.run([verb, "-n", "a.txt"]);
            statuses(finished.succeeded()).remove(0)
        })
    };
    for verb in ["get", "put"] {
        assert_eq!(runs(verb), ["renamed", "unchanged", "unchanged"], "{verb}");
    }
    let said = client.run(["get", "-n", "a.txt"]).json().remove(0);
    assert!(said["local"].as_str().unwrap().ends_with("newa.txt"));
    let said = client.run(["put", "-n", "a.txt"]).json().remove(0);
    assert_eq!(said["remote"], "/newa.txt");
    // Another content is stored under the next name.
    cluster.write("a.txt", b"theirs again");
    client.write("a.txt", b"mine again");
    for verb in ["get", "put"] {
        assert_eq!(runs(verb), ["renamed", "unchanged", "unchanged"], "{verb}");
    }
    assert_eq!(client.read("newnewa.txt"), b"theirs again");
    assert_eq!(
        fs::read(cluster.path("newnewa.txt")).unwrap(),
        b"mine again"
    );
    assert!(!client.path("newnewnewa.txt").exists());
}

#[test]
fn two_names_are_a_file_and_its_target_or_a_folder() {
    let cluster = Cluster::start(1);
    cluster.write("a.txt", b"a");
    let client = cluster.client();
    client.run(["get", "a.txt", "b.txt"]).succeeded();
    assert_eq!(client.read("b.txt"), b"a");
    fs::create_dir(client.path("folder")).unwrap();
    client.run(["get", "a.txt", "folder"]).succeeded();
    assert_eq!(client.read("folder/a.txt"), b"a");
    client.run(["put", "b.txt", "c.txt"]).succeeded();
    assert_eq!(fs::read(cluster.path("c.txt")).unwrap(), b"a");
    fs::create_dir(cluster.path("up")).unwrap();
    client.run(["put", "b.txt", "up/"]).succeeded();
    assert_eq!(fs::read(cluster.path("up/b.txt")).unwrap(), b"a");
}

#[test]
fn put_of_two_local_files_is_refused_with_a_hint() {
    let cluster = Cluster::start(1);
    let client = cluster.client();
    client.write("a1", b"1");
    client.write("a2", b"2");
    let finished = client.run(["put", "a1", "a2"]);
    assert_ne!(finished.code, 0, "{}", finished.stdout);
    assert!(!cluster.path("a2").exists());
}

#[test]
fn wildcards_match_on_both_sides() {
    let cluster = Cluster::start(1);
    for name in ["a.txt", "b.txt", "c.bin"] {
        cluster.write(name, name.as_bytes());
    }
    let client = cluster.client();
    client.run(["get", "*.txt", "."]).succeeded();
    assert_eq!(client.names(), ["a.txt", "b.txt"]);
    fs::create_dir(cluster.path("up")).unwrap();
    client.run(["put", "?.txt", "up/"]).succeeded();
    assert_eq!(tree(&cluster.path("up")).len(), 2);
    client.run(["get", "*.nothing"]).failed(1, "*.nothing");
}

#[test]
fn what_several_names_stand_for_is_moved_together_each_for_itself() {
    let cluster = Cluster::start(2);
    for n in 0..50_usize {
        cluster.write(format!("a/f{n:02}"), &random_bytes(n as u64, n * 97));
    }
    cluster.write("b/f00", b"of another folder");
    cluster.write("a/large", &random_bytes(1, 9_000_000));
    symlink("f01", cluster.path("a/link")).unwrap();
    fs::create_dir(cluster.path("a/folder")).unwrap();
    let client = cluster.client();
    client.write("f02", b"mine");
    let finished = client.run(["get", "a/*", "b/f00", "a/gone", "."]);
    finished.failed(1, "'/a/f02'");
    for refused in ["'/a/folder'", "'/b/f00'", "'/a/gone'"] {
        assert!(finished.stderr.contains(refused), "{}", finished.stderr);
    }
    for name in (0..50)
        .map(|n| format!("f{n:02}"))
        .chain(["large".to_owned()])
    {
        let expected = match name.as_str() {
            "f02" => b"mine".to_vec(),
            _ => fs::read(cluster.path(format!("a/{name}"))).unwrap(),
        };
        assert!(client.read(&name) == expected, "{name}");
    }
    assert_eq!(client.read("link"), client.read("f01"));
    assert_eq!(client.names().len(), 52);

    for _ in 0..2 {
        client.run(["get", "-n", "a/f0*", "."]).succeeded();
        assert_eq!(client.names().len(), 53, "once beside the other");
    }
    fs::remove_file(client.path("newf02")).unwrap();

    fs::create_dir_all(client.path("c/folder")).unwrap();
    client.write("c/f03", b"of another folder");
    fs::create_dir(cluster.path("up")).unwrap();
    let finished = client.run(["put", "*", "c/f03", "up"]);
    finished.failed(1, "'c'");
    assert!(finished.stderr.contains("c/f03"), "{}", finished.stderr);
    for name in client.names().iter().filter(|name| *name != "c") {
        let stored = fs::read(cluster.path("up").join(name)).unwrap();
        assert!(stored == fs::read(client.path("").join(name)).unwrap());
    }
    let again = client.run(["put", "f*", "up"]);
    again.succeeded();
    assert_eq!(fs::read_dir(cluster.path("up")).unwrap().count(), 52);

    let listed = client.run(["ls", "up/f*"]);
    listed.succeeded();
    assert_eq!(listed.stdout.lines().count(), 50);
    client.run(["rm", "up/f*", "up/gone"]).failed(1, "up/gone");
    assert_eq!(fs::read_dir(cluster.path("up")).unwrap().count(), 2);
}

/// Folders in folders, an empty one among them, an empty file, and files of several sizes.
fn plant(root: &std::path::Path) {
    for n in 0..40_usize {
        let path = root.join(format!("d{}/e{}/f{n}.bin", n % 3, n % 2));
        crate::harness::write_file(&path, &random_bytes(n as u64, n * 997));
    }
    crate::harness::write_file(&root.join("large.bin"), &random_bytes(99, 2_500_000));
    crate::harness::write_file(&root.join("empty.bin"), b"");
    fs::create_dir_all(root.join("nothing/in/here")).unwrap();
}

#[test]
fn get_r_fetches_a_tree() {
    let cluster = Cluster::start(2);
    plant(&cluster.path("tree"));
    let client = cluster.client();
    client.run(["get", "tree"]).failed(1, "is a directory");
    client.run(["get", "-r", "tree"]).succeeded();
    assert_eq!(tree(&client.path("tree")), tree(&cluster.path("tree")));
    client.run(["get", "-r", "tree", "copy"]).succeeded();
    assert_eq!(tree(&client.path("copy")), tree(&cluster.path("tree")));
    client.run(["get", "-r", "tree", "copy"]).succeeded();
    assert_eq!(tree(&client.path("copy/tree")), tree(&cluster.path("tree")));
}

#[test]
fn put_r_stores_a_tree() {
    let cluster = Cluster::start(2);
    let client = cluster.client();
    plant(&client.path("tree"));
    client.run(["put", "tree"]).failed(1, "is a directory");
    client.run(["put", "-r", "tree"]).succeeded();
    assert_eq!(tree(&cluster.path("tree")), tree(&client.path("tree")));
    client.run(["put", "-r", "tree", "copy"]).succeeded();
    assert_eq!(tree(&cluster.path("copy")), tree(&client.path("tree")));
    assert!(staged(&cluster.root()).is_empty());
}

#[test]
fn a_tree_that_is_there_already_is_unchanged() {
    let cluster = Cluster::start(1);
    plant(&cluster.path("tree"));
    let client = cluster.client().options(["--json"]);
    client.run(["get", "-r", "tree", "."]).succeeded();
    let again = client.run(["get", "-r", "tree", "."]);
    assert!(
        statuses(again.succeeded())
            .iter()
            .all(|status| status == "unchanged"),
        "{}",
        again.stdout
    );
}

#[test]
fn r_skips_links_with_a_line() {
    let cluster = Cluster::start(1);
    cluster.write("tree/a.txt", b"a");
    symlink("a.txt", cluster.path("tree/link")).unwrap();
    let client = cluster.client();
    let finished = client.run(["get", "-r", "tree"]);
    assert!(
        finished.succeeded().stderr.contains("link"),
        "{}",
        finished.stderr
    );
    assert_eq!(tree(&client.path("tree")).len(), 1);
}

#[test]
fn two_clients_download_and_upload_at_the_same_time_and_touch_only_their_own_files() {
    let cluster = Cluster::start(2);
    let clients = [cluster.client(), cluster.client()];
    let names = ["one", "two"];
    for (n, (client, name)) in clients.iter().zip(names).enumerate() {
        cluster.write(format!("{name}.down"), &random_bytes(n as u64, 5_000_000));
        client.write(
            format!("{name}.up"),
            &random_bytes(10 + n as u64, 5_000_000),
        );
    }
    let mut running = Vec::new();
    for (client, name) in clients.iter().zip(names) {
        running.push(client.spawn(["get".to_owned(), format!("{name}.down")]));
        running.push(client.spawn(["put".to_owned(), format!("{name}.up")]));
    }
    for process in &mut running {
        assert_eq!(process.wait_code(PATIENCE), 0, "{}", process.stderr());
    }
    for (n, (client, name)) in clients.iter().zip(names).enumerate() {
        assert!(client.read(format!("{name}.down")) == random_bytes(n as u64, 5_000_000));
        let stored = fs::read(cluster.path(format!("{name}.up"))).unwrap();
        assert!(stored == random_bytes(10 + n as u64, 5_000_000));
        assert_eq!(client.names().len(), 2, "{:?}", client.names());
    }
    assert_eq!(tree(&cluster.root()).len(), 4);
}

#[test]
fn a_rate_limit_is_kept() {
    let cluster = Cluster::start(1);
    cluster.write("a.bin", &random_bytes(1, 600_000));
    let client = cluster.client().options(["--json", "--limit-rate", "300K"]);
    let record = client.run(["get", "a.bin"]).succeeded().json().remove(0);
    assert!(record["seconds"].as_f64().unwrap() > 1.0, "{record}");
}

#[test]
fn without_verification_a_file_still_comes() {
    let cluster = Cluster::start(1);
    let content = random_bytes(1, 300_000);
    cluster.write("a.bin", &content);
    let client = cluster.client().options(["--json", "--no-verify"]);
    let record = client.run(["get", "a.bin"]).succeeded().json().remove(0);
    assert_eq!(record["verified"], false);
    assert!(client.read("a.bin") == content);
}

#[test]
fn a_client_written_from_the_specification_alone_lists_gets_and_puts() {
    if Command::new("python3").arg("--version").output().is_err() {
        skipped("there is no python3");
        return;
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/protocol_client.py");
    for cluster in [
        Cluster::start(2),
        crate::harness::Setup::new(1).without_master().start(),
    ] {
        let client = cluster.client();
        let host = cluster.address().to_string();
        let run = |arguments: &[&str]| {
            let mut python = Command::new("python3");
            python
                .args(["-B", script, &host])
                .args(arguments)
                .current_dir(client.folder());
            client.finish(python, b"")
        };
        let (down, up) = (random_bytes(1, 100_001), random_bytes(2, 1_048_577));
        cluster.write("docs/down.bin", &down);
        client.write("up.bin", &up);
        assert_eq!(
            run(&["list", "/docs"]).succeeded().stdout,
            "down.bin file 100001\n"
        );
        run(&["get", "/docs/down.bin", "down.bin"]).succeeded();
        assert!(client.read("down.bin") == down);
        run(&["put", "up.bin", "/docs/up.bin"]).succeeded();
        assert!(fs::read(cluster.path("docs/up.bin")).unwrap() == up);
        run(&["get", "/nothing", "nothing"]).failed(1, "error 20");
    }
}
