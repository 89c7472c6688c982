//! The documents name nothing that is not there.

use std::fs;
use std::path::{Path, PathBuf};

use admission::Limit;

fn read(path: impl AsRef<Path>) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The words in backquotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Whether `subject::…::function` is a test of this program, or `crate::…::function` one of a crate, also one with a `main`
/// of its own, which lists its tests.
fn is_test(name: &str) -> bool {
    let Some((modules, function)) = name.rsplit_once("::") else {
        return false;
    };
    let (first, rest) = modules.split_once("::").unwrap_or((modules, ""));
    let places = [
        format!("tests/{modules}"),
        format!("crates/{first}/src/{rest}"),
        format!("crates/{first}/tests/{rest}"),
    ];
    places.iter().any(|place| {
        let file = PathBuf::from(place.replace("::", "/")).with_extension("rs");
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        fs::read_to_string(file).is_ok_and(|source| {
            source.contains(&format!("#[test]\nfn {function}()"))
                || source.contains(&format!("#[test]\n    fn {function}()"))
                || source.contains(&format!("\n    (\"{function}\", "))
        })
    })
}

#[test]
fn every_row_of_the_classic_exercise_names_a_test_or_a_departure() {
    let readme = read("README.md");
    let (_, table) = readme
        .split_once("| there | here | tested by, or why not |")
        .unwrap();
    let rows: Vec<&str> = table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .collect();
    assert!(rows.len() > 15);
    for row in rows {
        let cells: Vec<&str> = row.split(" | ").collect();
        let tests: Vec<&str> = quoted(cells[2])
            .filter(|name| name.contains("::"))
            .collect();
        assert!(
            !tests.is_empty() || cells[1].starts_with("departure"),
            "{row}"
        );
        for name in tests {
            assert!(is_test(name), "no test {name}");
        }
    }
}

#[test]
fn every_make_target_of_the_readme_exists() {
    let makefile = read("Makefile");
    let readme = read("README.md");
    let words = readme.split(['`', '\n', '|']);
    for word in words.filter_map(|word| word.trim().strip_prefix("make ")) {
        let target = word.split_whitespace().next().unwrap();
        assert!(makefile.contains(&format!("\n{target}:")), "make {target}");
    }
}

#[test]
fn every_linked_file_exists() {
    for document in [
        "README.md",
        "CHANGELOG.md",
        "SECURITY.md",
        "docs/OPERATIONS.md",
        "docs/PROTOCOL.md",
        "docs/RELIABILITY.md",
    ] {
        let text = read(document);
        let links = text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next());
        for link in links.filter(|link| !link.starts_with("http") && !link.starts_with('#')) {
            let file = link.split('#').next().unwrap();
            read(Path::new(document).parent().unwrap().join(file));
        }
    }
}

#[test]
fn every_class_of_mistakes_and_every_promise_names_its_tests() {
    let reliability = "docs/RELIABILITY.md";
    for (document, head, least) in [
        ("SECURITY.md", "| class | rule | tested by |", 20),
        (reliability, "| promise | tested by | long |", 12),
        (reliability, "| by | what it was | now tested by |", 5),
    ] {
        let document = read(document);
        let (_, table) = document.split_once(head).unwrap();
        let rows: Vec<&str> = table
            .lines()
            .skip(2)
            .take_while(|line| line.starts_with('|'))
            .collect();
        assert!(rows.len() > least, "{head}");
        for row in rows {
            let named: Vec<&str> = quoted(row).filter(|name| name.contains("::")).collect();
            assert!(!named.is_empty(), "{row}");
            for name in named {
                assert!(is_test(name), "no test {name}");
            }
        }
    }
}

/// `make guards` needs each guard where the list says it is.
#[test]
fn every_guard_stands_where_the_list_says() {
    let list: toml::Table = read("tests/guards.toml").parse().unwrap();
    let guards = list["guard"].as_array().unwrap();
    assert!(guards.len() > 20);
    for guard in guards {
        let text = |key: &str| guard[key].as_str().unwrap();
        let found = read(text("file")).matches(text("remove")).count();
        assert_eq!(found, 1, "{}: {}", text("file"), text("guard"));
    }
}

#[test]
fn the_limits_against_abuse_are_those_of_the_source() {
    let manual = read("docs/OPERATIONS.md");
    let head = "| limit | default | option | what it bounds |\n| --- | ---: | --- | --- |\n";
    let (_, table) = manual.split_once(head).unwrap();
    let rows: Vec<&str> = table
        .lines()
        .take_while(|line| line.starts_with('|'))
        .collect();
    let expected: Vec<String> = Limit::ALL.iter().map(|limit| limit.row()).collect();
    assert_eq!(rows, expected);
}
