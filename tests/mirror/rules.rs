//! What takes part, what counts as the same, and what makes way for what.

use super::*;

#[test]
fn update_leaves_newer_files_alone() {
    for way in BOTH {
        let pair = Pair::new(way);
        for name in ["newer there", "newer here"] {
            write_file(&pair.source(name), b"source");
            write_file(&pair.target(name), b"the target's");
        }
        set_time(&pair.source("newer there"), 1);
        set_time(&pair.target("newer there"), 2);
        set_time(&pair.source("newer here"), 2);
        set_time(&pair.target("newer here"), 1);
        let sum = "mirror: 1 file, 6 B moved, 0 removed, 0 unchanged, 1 newer";
        assert_sum(pair.mirror(&["-u"]).succeeded(), sum);
        assert_eq!(
            fs::read(pair.target("newer there")).unwrap(),
            b"the target's"
        );
        assert_eq!(fs::read(pair.target("newer here")).unwrap(), b"source");
    }
}

#[test]
fn checksum_finds_a_difference_of_the_same_size_and_time() {
    for way in BOTH {
        let pair = Pair::new(way);
        fill(&pair.source(""));
        pair.mirror(&[]).succeeded();
        // The same file, written to in its place: the digest that is kept beside it is not believed either.
        fs::write(
            pair.source("small.txt"),
            crate::harness::random_bytes(9, 5_000),
        )
        .unwrap();
        set_time(&pair.source("small.txt"), 5_000);
        fs::write(pair.target("folder/middling"), vec![0; 300_000]).unwrap();
        set_time(&pair.target("folder/middling"), 300_000);
        let sum = "mirror: 0 files, 0 B moved, 0 removed, 5 unchanged";
        assert_sum(pair.mirror(&[]).succeeded(), sum);
        let rehearsed = pair.mirror(&["--checksum", "--dry-run"]);
        assert_eq!(rehearsed.succeeded().stdout.lines().count(), 3);
        let sum = "mirror: 2 files, 297.9 KiB moved, 0 removed, 3 unchanged";
        assert_sum(pair.mirror(&["--checksum"]).succeeded(), sum);
        pair.assert_equal();
    }
}

#[test]
fn what_is_left_out_is_neither_moved_nor_removed() {
    for way in BOTH {
        let pair = Pair::new(way);
        for name in ["a.c", "a.o", "keep.o", "cache/x", "d/b.o", "d/b.c"] {
            write_file(&pair.source(name), b"source");
        }
        for name in ["old.o", "old.c", "cache/mine", "d/cache/mine", "gone/old.o"] {
            write_file(&pair.target(name), b"mine");
        }
        let rules = [
            "--include",
            "keep.o",
            "--exclude=*.o",
            "--exclude",
            "cache/",
            "--delete",
        ];
        let sum = "mirror: 3 files, 18 B moved, 1 removed, 0 unchanged";
        assert_sum(pair.mirror(&rules).succeeded(), sum);
        let names: Vec<_> = tree(&pair.target(""))
            .into_keys()
            .filter(|path| pair.target(path).is_file())
            .collect();
        let expected = [
            "a.c",
            "cache/mine",
            "d/b.c",
            "d/cache/mine",
            "gone/old.o",
            "keep.o",
            "old.o",
        ];
        assert_eq!(names, expected.map(PathBuf::from));
    }
}

#[test]
fn only_what_is_included_takes_part() {
    for way in BOTH {
        let pair = Pair::new(way);
        for name in ["a.txt", "a.bin", "d/b.txt", "d/b.bin"] {
            write_file(&pair.source(name), b"source");
        }
        let rules = ["--include", "*/", "--include", "*.txt", "--exclude", "*"];
        pair.mirror(&rules).succeeded();
        let names: Vec<_> = tree(&pair.target("")).into_keys().collect();
        assert_eq!(names, ["a.txt", "d", "d/b.txt"].map(PathBuf::from));
    }
    let cluster = Cluster::start(1);
    let client = cluster.client();
    client
        .run(["mirror", "--exclude", "a//b", "x"])
        .failed(2, "no name can match 'a//b'");
}

/// Where the help is shown, quotes are the session's own, and no shell takes them off before.
#[test]
fn the_example_of_the_help_works_where_it_is_shown() {
    for way in BOTH {
        let pair = Pair::new(way);
        for name in ["a.txt", "a.bin", "d/b.txt", "d/b.bin"] {
            write_file(&pair.source(name), b"source");
        }
        for name in ["mine.bin", "d/mine.bin", "mine.txt"] {
            write_file(&pair.target(name), b"mine");
        }
        let help = pair
            .client
            .run(["help", "mirror"])
            .succeeded()
            .stdout
            .clone();
        let example = help
            .lines()
            .find_map(|line| line.split_once("Only the text files: "));
        let (_, rules) = example.unwrap();
        let turn = match way {
            Way::Down => "",
            Way::Up => "-R",
        };
        let finished = pair
            .client
            .run_script(&format!("mirror {turn} --delete {rules} tree\n"));
        let sum = "mirror: 2 files, 12 B moved, 1 removed, 0 unchanged";
        assert_sum(finished.succeeded(), sum);
        let names: Vec<_> = tree(&pair.target("")).into_keys().collect();
        let expected = ["a.txt", "d", "d/b.txt", "d/mine.bin", "mine.bin"];
        assert_eq!(names, expected.map(PathBuf::from));
        pair.client
            .run_script(&format!(
                "mirror {turn} --delete --include='*.txt' --exclude=* tree\n"
            ))
            .succeeded();
        assert!(pair.target("mine.bin").exists() && pair.target("a.txt").exists());
    }
}

#[test]
fn another_kind_makes_way_only_for_delete() {
    for way in BOTH {
        let pair = Pair::new(way);
        write_file(&pair.source("file"), b"file");
        write_file(&pair.source("folder/a"), b"a");
        write_file(&pair.source("good"), b"good");
        write_file(&pair.target("file/deep/x"), b"x");
        write_file(&pair.target("folder"), b"a file");
        let before = tree(&pair.target(""));
        let refused = pair.mirror(&[]);
        refused.failed(1, "a folder is in the way (--delete replaces it)");
        refused.failed(1, "a file is in the way (--delete replaces it)");
        assert_eq!(refused.stderr.lines().count(), 2, "{}", refused.stderr);
        assert_sum(
            &refused,
            "mirror: 1 file, 4 B moved, 0 removed, 0 unchanged, 2 failed",
        );
        assert_eq!(tree(&pair.target("")).len(), before.len() + 1);
        pair.mirror(&["--delete"]).succeeded();
        pair.assert_equal();
    }
}

#[test]
fn links_and_the_suite_s_own_names_are_skipped_with_a_line_and_never_followed() {
    for way in BOTH {
        let pair = Pair::new(way);
        let outside = tempfile::tempdir().unwrap();
        write_file(&outside.path().join("theirs"), b"theirs");
        write_file(&pair.source("a"), b"a");
        write_file(&pair.source(".a.part"), b"somebody's download");
        symlink("a", pair.source("link")).unwrap();
        symlink(outside.path(), pair.source("tree")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, pair.source("pipe"), rustix::fs::Mode::RWXU).unwrap();
        fs::create_dir_all(pair.target("d")).unwrap();
        symlink(outside.path(), pair.target("d/surplus")).unwrap();
        write_file(
            &pair.target("tree/mine"),
            b"stands where the source has a link",
        );
        write_file(&pair.target("d/.b.part"), b"a download under way");
        let finished = pair.mirror(&["--delete"]);
        let sum = "mirror: 1 file, 1 B moved, 1 removed, 0 unchanged";
        assert_sum(finished.succeeded(), sum);
        for what in [
            "link: a symbolic link, skipped",
            "tree: a symbolic link, skipped",
            "pipe: not a regular file, skipped",
            ".a.part: a partial download, skipped",
        ] {
            assert!(
                finished.stderr.contains(what),
                "{what}: {}",
                finished.stderr
            );
        }
        let names: Vec<_> = tree(&pair.target("")).into_keys().collect();
        assert_eq!(
            names,
            ["a", "d", "d/.b.part", "tree", "tree/mine"].map(PathBuf::from)
        );
        assert!(outside.path().join("theirs").exists());
    }
}

#[test]
fn a_link_in_the_way_of_a_folder_is_not_written_through() {
    for way in BOTH {
        let pair = Pair::new(way);
        let outside = tempfile::tempdir().unwrap();
        write_file(&outside.path().join("theirs"), b"theirs");
        write_file(&pair.source("d/a"), b"a");
        fs::create_dir_all(pair.target("")).unwrap();
        symlink(outside.path(), pair.target("d")).unwrap();
        pair.mirror(&[]).failed(1, "a symbolic link is in the way");
        pair.mirror(&["--delete"]).succeeded();
        pair.assert_equal();
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
    }
}
