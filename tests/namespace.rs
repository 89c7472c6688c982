//! Names in the storage: listing, moving, removing, folders, facts.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::{Duration, UNIX_EPOCH};

use crate::harness::{Cluster, Setup, digest_of, skipped, without_privileges, write_file};

/// A master and a slave over a few files in folders.
fn furnished() -> Cluster {
    let cluster = Cluster::start(1);
    cluster.write("b.txt", b"bb");
    cluster.write("a.txt", b"a");
    cluster.write(".hidden", b"");
    cluster.write("docs/deep/c.txt", b"ccc");
    cluster.write("docs/d.txt", b"dddd");
    cluster
}

fn lines(text: &str) -> Vec<&str> {
    text.lines().collect()
}

#[test]
fn ls_sorts_names_and_hides_dotfiles_unless_asked() {
    let cluster = furnished();
    let client = cluster.client();
    assert_eq!(
        lines(&client.run(["ls"]).succeeded().stdout),
        ["a.txt", "b.txt", "docs"]
    );
    assert_eq!(
        lines(&client.run(["ls", "-a"]).succeeded().stdout),
        [".hidden", "a.txt", "b.txt", "docs"]
    );
    assert_eq!(
        lines(&client.run(["dir", "docs"]).succeeded().stdout),
        ["d.txt", "deep"]
    );
    let below = client.run(["ls", "-R"]).succeeded().stdout.clone();
    assert_eq!(
        lines(&below),
        [
            "a.txt",
            "b.txt",
            "docs",
            "docs/d.txt",
            "docs/deep",
            "docs/deep/c.txt"
        ]
    );
}

#[test]
fn ls_l_adds_type_size_and_time() {
    let cluster = furnished();
    let stdout = cluster
        .client()
        .run(["ls", "-l", "docs"])
        .succeeded()
        .stdout
        .clone();
    let file = lines(&stdout)
        .into_iter()
        .find(|line| line.ends_with("d.txt"))
        .unwrap();
    assert!(file.starts_with('-') || file.starts_with("file"), "{file}");
    assert!(file.split_whitespace().any(|word| word == "4"), "{file}");
}

#[test]
fn ls_json_gives_an_object_an_entry() {
    let cluster = furnished();
    let odd = OsStr::from_bytes(b"odd\xff");
    cluster.write(odd, b"12345");
    symlink("a.txt", cluster.path("link")).unwrap();
    let time = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    fs::File::options()
        .write(true)
        .open(cluster.path("b.txt"))
        .unwrap()
        .set_modified(time)
        .unwrap();
    let records = cluster
        .client()
        .options(["--json"])
        .run(["ls"])
        .succeeded()
        .json();
    let of = |name: &str| {
        records
            .iter()
            .find(|record| record["name"] == name)
            .unwrap()
    };
    assert_eq!(
        (&of("b.txt")["type"], &of("b.txt")["size"]),
        (&"file".into(), &2.into())
    );
    assert!(
        of("b.txt")["modified"]
            .as_str()
            .unwrap()
            .starts_with("2023-11-14T22:13:20")
    );
    assert_eq!(of("docs")["type"], "dir");
    assert_eq!(of("link")["type"], "link");
    let odd = records.iter().find(|record| record["size"] == 5).unwrap();
    assert_eq!(odd["name_base64"], "b2Rk/w==");
}

#[test]
fn what_the_slaves_keep_for_themselves_is_shown_to_nobody() {
    let cluster = furnished();
    assert!(cluster.path(".mini-ftp/storage-id").exists());
    let client = cluster.client();
    assert!(
        !client
            .run(["ls", "-a", "-R"])
            .succeeded()
            .stdout
            .contains("mini-ftp")
    );
    client
        .run(["ls", ".mini-ftp"])
        .failed(1, "cannot list '/.mini-ftp'");
    client
        .run(["get", ".mini-ftp/storage-id"])
        .failed(1, "storage-id");
    client.run(["rm", "-r", ".mini-ftp"]).failed(1, ".mini-ftp");
    client.write("x", b"x");
    client
        .run(["put", "x", ".mini-ftp.x"])
        .failed(1, ".mini-ftp.x");
    assert!(cluster.path(".mini-ftp/storage-id").exists());
}

#[test]
fn folders_are_made_and_removed() {
    let cluster = furnished();
    let client = cluster.client();
    client.run(["mkdir", "new"]).succeeded();
    assert!(cluster.path("new").is_dir());
    client
        .run(["mkdir", "new"])
        .failed_exactly(1, "ftpclient: cannot make '/new': exists");
    client.run(["mkdir", "x/y/z"]).failed(1, "no such file");
    client.run(["mkdir", "-p", "x/y/z"]).succeeded();
    client.run(["mkdir", "-p", "x/y/z"]).succeeded();
    client
        .run(["rmdir", "x/y"])
        .failed(1, "directory not empty");
    client.run(["rmdir", "x/y/z"]).succeeded();
    assert!(cluster.path("x/y").is_dir() && !cluster.path("x/y/z").exists());
    client.run(["rmdir", "a.txt"]).failed(1, "not a directory");
}

#[test]
fn rm_removes_files_and_with_r_folders() {
    let cluster = furnished();
    let client = cluster.client();
    client.run(["rm", "a.txt", "b.txt"]).succeeded();
    assert!(!cluster.path("a.txt").exists() && !cluster.path("b.txt").exists());
    client
        .run(["rm", "a.txt"])
        .failed_exactly(1, "ftpclient: cannot remove '/a.txt': no such file");
    client.run(["rm", "-f", "a.txt"]).succeeded();
    client.run(["rm", "docs"]).failed(1, "is a directory");
    client.run(["rm", "-r", "docs"]).succeeded();
    assert!(!cluster.path("docs").exists());
    for name in ["a", "b", "c1", "c2"] {
        cluster.write(name, b"x");
    }
    client
        .run(["rm", "gone", "a", "g*", "c*", "b", "a"])
        .failed_exactly(
            1,
            "ftpclient: cannot remove '/gone': no such file\n\
             ftpclient: cannot remove 'g*': no such file\n\
             ftpclient: cannot remove '/a': no such file",
        );
    assert_eq!(client.run(["ls"]).succeeded().stdout, "");
    client.run(["rm", "-f", "gone", "g*"]).succeeded();
}

#[test]
fn rm_and_rmdir_refuse_dots_behind_whatever() {
    let cluster = furnished();
    cluster.write("docs/deep/x", b"x");
    let client = cluster.client();
    for doomed in ["docs/..", "doc*/..", "docs/.", "docs/deep/../", ".", ".."] {
        for command in [&["rm", "-r"] as &[_], &["rmdir"]] {
            let words = [command, &[doomed]].concat();
            client.run(words).failed(1, "are not removed");
        }
    }
    client.run(["rm", "-r", "docs/../docs/deep"]).succeeded();
    assert!(cluster.path("docs/d.txt").exists() && cluster.path("a.txt").exists());
    assert!(!cluster.path("docs/deep").exists());
}

#[test]
fn rm_of_a_link_removes_the_link_alone() {
    let cluster = furnished();
    symlink("docs", cluster.path("link")).unwrap();
    cluster.client().run(["rm", "-r", "link"]).succeeded();
    assert!(!cluster.path("link").is_symlink());
    assert!(cluster.path("docs/d.txt").exists());
}

/// Files beside folders, links to both, and a file whose name is the pattern itself.
fn builds() -> Cluster {
    let cluster = Cluster::start(1);
    for name in [
        "build1/x",
        "build2/sub/x",
        "build3/sub",
        "build.log",
        "build*",
    ] {
        cluster.write(name, b"x");
    }
    for (target, link) in [
        ("build1", "build-link"),
        ("build.log", "build-log"),
        ("no", "build-no"),
    ] {
        symlink(target, cluster.path(link)).unwrap();
    }
    cluster
}

#[test]
fn wildcards_before_a_slash_name_folders_only() {
    let cluster = builds();
    let client = cluster.client();
    let shown = |pattern| client.run(["ls", pattern]).succeeded().stdout.clone();
    assert_eq!(shown("build*/"), "build-link/\nbuild1/\nbuild2/\nbuild3/\n");
    assert_eq!(shown("build*/sub"), "build2/sub\nbuild3/sub\n");
    assert_eq!(shown("build?/sub/"), "x\n");
    assert_eq!(shown("*/*/"), "x\n");
    client
        .run(["get", "build.*/"])
        .failed_exactly(1, "ftpclient: cannot get 'build.*/': no such file");
    client.run(["get", "-r", "build*/"]).succeeded();
    assert!(client.path("build2/sub/x").exists() && !client.path("build.log").exists());
    client.run(["rm", "build*/"]).failed(1, "is a directory");
    assert!(cluster.path("build1/x").exists());
    // A link that is named as the folder it leads to is neither: as a shell has it.
    client
        .run(["rm", "-r", "build*/"])
        .failed_exactly(1, "ftpclient: cannot remove '/build-link': not a directory");
    let left = client.run(["ls"]).succeeded().stdout.clone();
    let expected = ["build*", "build-link", "build-log", "build-no", "build.log"];
    assert_eq!(lines(&left), expected);
}

#[test]
fn local_wildcards_before_a_slash_name_folders_only() {
    let cluster = Cluster::start(1);
    let client = cluster.client();
    for name in ["p1/x", "p2/x", "pfile"] {
        client.write(name, b"x");
    }
    client.run(["put", "-r", "p*/"]).succeeded();
    assert_eq!(client.run(["ls"]).succeeded().stdout, "p1\np2\n");
    client.run(["put", "pf*/"]).failed(1, "no such file");
    client.run(["put", "pfile/"]).failed(1, "not a directory");
}

#[test]
fn a_file_is_not_what_ends_in_a_slash() {
    let cluster = builds();
    let client = cluster.client();
    for (command, verb) in [
        (&["rm"] as &[&str], "remove"),
        (&["rm", "-r"], "remove"),
        (&["rm", "-rf"], "remove"),
        (&["rmdir"], "remove"),
        (&["sum"], "sum"),
        (&["cat"], "cat"),
        (&["get"], "get"),
        (&["ls"], "list"),
    ] {
        for typed in ["build.log/", "build.log/.", "build-log/"] {
            let path = typed.trim_end_matches(['/', '.']);
            let finished = client.run(command.iter().chain([&typed]));
            let sentence = format!("ftpclient: cannot {verb} '/{path}': not a directory");
            finished.failed_exactly(1, &sentence);
        }
    }
    client
        .run([
            "rm",
            "-r",
            "build1/",
            "build-link/",
            "gone/",
            "build3/sub/",
            "build2/",
        ])
        .failed_exactly(
            1,
            "ftpclient: cannot remove '/build-link': not a directory\n\
             ftpclient: cannot remove '/gone': no such file\n\
             ftpclient: cannot remove '/build3/sub': not a directory",
        );
    client.run(["rm", "-f", "gone/"]).succeeded();
    let left = client.run(["ls", "-R"]).succeeded().stdout.clone();
    let files = ["build*", "build-link", "build-log", "build-no", "build.log"];
    assert_eq!(
        lines(&left),
        [&files as &[_], &["build3", "build3/sub"]].concat()
    );
}

#[test]
fn mv_renames_as_in_a_shell_and_with_n_overwrites_nothing() {
    let cluster = furnished();
    let client = cluster.client();
    client.run(["mv", "a.txt", "docs/moved.txt"]).succeeded();
    assert_eq!(fs::read(cluster.path("docs/moved.txt")).unwrap(), b"a");
    client
        .run(["mv", "-n", "b.txt", "docs/moved.txt"])
        .failed(1, "exists");
    assert_eq!(fs::read(cluster.path("docs/moved.txt")).unwrap(), b"a");
    client.run(["mv", "b.txt", "docs"]).succeeded();
    assert_eq!(fs::read(cluster.path("docs/b.txt")).unwrap(), b"bb");
    client
        .run(["mv", "docs/b.txt", "docs/moved.txt"])
        .succeeded();
    assert_eq!(fs::read(cluster.path("docs/moved.txt")).unwrap(), b"bb");
    client
        .run(["mv", "docs", "docs/deep"])
        .failed(1, "cannot move");
    client.run(["mv", "nothing", "x"]).failed(1, "no such file");
}

#[test]
fn mv_and_stat_take_a_name_with_a_slash_for_a_folder() {
    let cluster = furnished();
    let client = cluster.client();
    symlink("docs", cluster.path("way")).unwrap();
    client.run(["stat", "docs/"]).succeeded();
    let facts = client
        .run(["--json", "stat", "way/"])
        .succeeded()
        .stdout
        .clone();
    assert!(facts.contains(r#""type":"dir""#), "{facts}");
    client
        .run(["stat", "a.txt/"])
        .failed(1, "cannot stat '/a.txt': not a directory");
    client.run(["stat", "gone/"]).failed(1, "no such file");
    for (from, to, why) in [
        ("a.txt/", "x", "cannot move '/a.txt': not a directory"),
        ("a.txt", "x/", "cannot move to '/x': not a directory"),
        (
            "a.txt",
            "b.txt/",
            "cannot move to '/b.txt': not a directory",
        ),
        ("docs", "b.txt/", "cannot move to '/b.txt': not a directory"),
        ("way/", "x", "cannot move '/way': not a directory"),
        ("gone", "x/", "cannot move '/gone'"),
    ] {
        client.run(["mv", from, to]).failed(1, why);
    }
    assert_eq!(fs::read(cluster.path("a.txt")).unwrap(), b"a");
    client.run(["mv", "docs/", "new/"]).succeeded();
    client.run(["mv", "a.txt", "new/"]).succeeded();
    assert_eq!(fs::read(cluster.path("new/a.txt")).unwrap(), b"a");
}

#[test]
fn cd_resolves_by_the_text_and_stops_at_the_root() {
    let cluster = furnished();
    let client = cluster.client();
    let finished =
        client.run_script("pwd\ncd docs/deep\npwd\ncd ..\npwd\ncd ../../..\npwd\ncd docs\nls\n");
    assert_eq!(
        lines(&finished.succeeded().stdout),
        ["/", "/docs/deep", "/docs", "/", "d.txt", "deep"]
    );
    client.run_script("cd nowhere\n").failed(1, "nowhere");
    client.run_script("cd a.txt\n").failed(1, "not a directory");
}

#[test]
fn stat_sum_cat_and_df_tell_facts() {
    let cluster = furnished();
    let client = cluster.client();
    assert_eq!(client.run(["cat", "docs/d.txt"]).succeeded().raw, b"dddd");
    let sum = client
        .run(["sum", "docs/d.txt", "a.txt"])
        .succeeded()
        .stdout
        .clone();
    assert!(
        sum.contains(&digest_of(b"dddd")) && sum.contains(&digest_of(b"a")),
        "{sum}"
    );
    assert!(
        client
            .run(["stat", "docs/d.txt"])
            .succeeded()
            .stdout
            .contains('4')
    );
    let some = client.run(["sum", "missing", "a.txt", "no*", "docs", "docs/d.*", "gone"]);
    some.failed_exactly(
        1,
        "ftpclient: cannot sum '/missing': no such file\n\
         ftpclient: cannot sum 'no*': no such file\n\
         ftpclient: cannot sum '/docs': is a directory\n\
         ftpclient: cannot sum '/gone': no such file",
    );
    let (a, d) = (digest_of(b"a"), digest_of(b"dddd"));
    assert_eq!(some.stdout, format!("{a}  a.txt\n{d}  docs/d.txt\n"));
    let facts = cluster
        .client()
        .options(["--json"])
        .run(["stat", "docs/d.txt"])
        .succeeded()
        .json();
    assert_eq!(facts[0]["size"], 4);
    assert!(!client.run(["df"]).succeeded().stdout.is_empty());
}

#[test]
fn links_that_lead_out_are_listed_and_refused() {
    let cluster = furnished();
    let outside = cluster.state().join("secret");
    write_file(&outside, b"secret");
    symlink(&outside, cluster.path("out")).unwrap();
    symlink("..", cluster.path("up")).unwrap();
    let client = cluster.client();
    assert!(client.run(["ls"]).succeeded().stdout.contains("out\n"));
    client.run(["get", "out"]).failed(1, "symbolic link");
    client
        .run(["get", "up/state/secret"])
        .failed(1, "symbolic link");
    client.write("x", b"x");
    client.run(["put", "x", "up/x"]).failed(1, "symbolic link");
    assert!(!client.path("out").exists());
    assert_eq!(fs::read(&outside).unwrap(), b"secret");
}

#[test]
fn control_characters_in_names_are_raw_in_a_pipe_and_kept_on_disk() {
    let cluster = Cluster::start(1);
    let name = OsStr::from_bytes(b"red\x1b[31m");
    cluster.write(name, b"x");
    let client = cluster.client();
    assert_eq!(client.run(["ls"]).succeeded().raw, b"red\x1b[31m\n");
    let finished = client.run([OsStr::new("get"), name]);
    assert!(
        !finished.succeeded().stdout.contains('\x1b'),
        "{}",
        finished.stdout
    );
    assert_eq!(client.read(name), b"x");
}

#[test]
fn a_large_listing_comes_whole() {
    let cluster = Cluster::start(1);
    fs::create_dir(cluster.path("many")).unwrap();
    let mut names: Vec<String> = (0..5000)
        .map(|n| format!("a-rather-long-name-to-fill-frames-{n}"))
        .collect();
    names
        .iter()
        .for_each(|name| fs::write(cluster.path("many").join(name), b"").unwrap());
    names.sort();
    assert_eq!(
        lines(&cluster.client().run(["ls", "many"]).succeeded().stdout),
        names
    );
}

#[test]
fn a_matched_folder_that_cannot_be_read_spoils_no_listing() {
    let Some(helper) = without_privileges() else {
        return;
    };
    let cluster = Setup::new(1).behind(helper).start();
    for name in ["d1/x", "d2/x", "d3/x"] {
        cluster.write(name, b"x");
    }
    let closed = fs::Permissions::from_mode(0o000);
    fs::set_permissions(cluster.path("d2"), closed).unwrap();
    let finished = cluster.client().run(["ls", "-R", "d*"]);
    finished.failed_exactly(1, "ftpclient: cannot list '/d2': permission denied");
    assert_eq!(lines(&finished.stdout), ["d1", "d1/x", "d2", "d3", "d3/x"]);
    fs::set_permissions(cluster.path("d2"), fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_folder_that_cannot_be_read_spoils_no_listing() {
    if rustix::process::geteuid().is_root() {
        skipped("the superuser reads everything");
        return;
    }
    let cluster = furnished();
    let closed = fs::Permissions::from_mode(0o000);
    fs::set_permissions(cluster.path("docs/deep"), closed).unwrap();
    let finished = cluster.client().run(["ls", "-R"]);
    assert!(finished.stdout.contains("docs/d.txt"));
    assert!(finished.stderr.contains("docs/deep"), "{}", finished.stderr);
    fs::set_permissions(cluster.path("docs/deep"), fs::Permissions::from_mode(0o755)).unwrap();
}
