//! Tests of `pin_file`, and through it of `pins`.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::Barrier;

use proptest::prelude::*;
use protocol::Fingerprint;

use super::*;

const NAME: &str = "nas:2121";

fn key(byte: u8) -> Pin {
    Pin::Key(Fingerprint([byte; 32]))
}

fn place() -> (tempfile::TempDir, PinFile) {
    let folder = tempfile::tempdir().unwrap();
    let file = PinFile::at(folder.path().join("data/mini-ftp/known_masters"));
    (folder, file)
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A file with this content.
fn holding(content: &[u8]) -> (tempfile::TempDir, PinFile) {
    let (folder, file) = place();
    file.add("other:1", key(9)).unwrap();
    fs::write(file.path(), content).unwrap();
    (folder, file)
}

#[test]
fn what_is_added_is_found_under_its_name_alone() {
    let (_folder, file) = place();
    assert_eq!(file.find(NAME).unwrap(), None);
    for (line, name, pin) in [(1, NAME, key(1)), (2, "[::1]:2121", Pin::Certified)] {
        let remembered = Remembered { pin, line };
        assert_eq!(file.add(name, pin).unwrap(), remembered);
        assert_eq!(file.find(name).unwrap(), Some(remembered));
    }
    assert_eq!(file.find("NAS:2121").unwrap().unwrap().pin, key(1));
    for other in ["nas:212", "nas:21210", "nas:2122", "as:2121", "[::2]:2121"] {
        assert_eq!(file.find(other).unwrap(), None, "{other}");
    }
}

#[test]
fn it_is_made_for_the_owner_alone() {
    let (_folder, file) = place();
    file.add(NAME, key(1)).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(file.path()), 0o600);
    assert_eq!(mode(file.folder()), 0o700);
}

#[test]
fn what_is_remembered_is_never_replaced() {
    let (_folder, file) = place();
    file.add(NAME, key(1)).unwrap();
    assert_eq!(file.add(NAME, key(2)).unwrap().pin, key(1));
    assert_eq!(file.find(NAME).unwrap().unwrap().pin, key(1));
}

#[test]
fn comments_and_foreign_lines_are_kept() {
    let kept = b"# nas:2121 is in the cellar\n\n\xff\xfe whatever\nnas 9 words\n  # more";
    let (_folder, file) = holding(kept);
    assert_eq!(file.add("other:2121", key(1)).unwrap().line, 6);
    let content = fs::read(file.path()).unwrap();
    let added = format!("\nother:2121 {}\n", key(1));
    assert_eq!(content, [kept.as_slice(), added.as_bytes()].concat());
}

#[test]
fn a_line_about_a_name_that_makes_no_sense_is_an_error_that_names_it() {
    let good = key(1).to_string();
    for line in [
        "nas:2121".to_owned(),
        format!("nas:2121{good}"),
        format!("nas:2121, {good}"),
        format!("nas:2121 {good} more"),
        format!("nas:2121 {}", &good[..good.len() - 1]),
        format!("nas:2121 {}", good.to_lowercase()),
        format!("nas:2121 {good}="),
        "nas:2121 MD5:00".to_owned(),
        "NAS:2121 ?".to_owned(),
        format!("nas {good}"),
        format!("nas: 2121 {good}"),
        format!("nas:2121 {good}\nnas:2121 {}", key(2)),
        format!("nas:2121 {good}\nnas:2121 certified"),
    ] {
        let (_folder, file) = holding(format!("# a comment\n{line}\n").as_bytes());
        for error in [
            file.find(NAME).unwrap_err(),
            file.add(NAME, key(3)).unwrap_err(),
        ] {
            let place = format!("'{}', line ", file.path().display());
            assert!(error.to_string().starts_with(&place), "{line}: {error}");
        }
        // Somebody else's business.
        assert_eq!(file.find("other:2121").unwrap(), None, "{line}");
    }
    let twice = format!("nas:2121 {good}\r\nNas:2121\t{good}\n");
    let (_folder, file) = holding(twice.as_bytes());
    assert_eq!(file.find(NAME).unwrap().unwrap().pin, key(1));
}

#[test]
fn what_others_could_have_written_is_refused() {
    let (_folder, file) = place();
    file.add(NAME, key(1)).unwrap();
    for (path, modes) in [
        (file.path(), [0o640, 0o602]),
        (file.folder(), [0o720, 0o702]),
    ] {
        let usual = fs::metadata(path).unwrap().permissions();
        for mode in modes {
            set_mode(path, mode);
            let refusal = file.find(NAME).unwrap_err().to_string();
            assert!(refusal.contains("chmod go= "), "{mode:o}: {refusal}");
            assert!(file.add("b:1", key(1)).is_err());
        }
        fs::set_permissions(path, usual).unwrap();
    }
    assert!(file.find(NAME).unwrap().is_some());
}

#[test]
fn what_is_no_file_is_refused() {
    let (_folder, file) = holding(b"");
    fs::rename(file.path(), file.folder().join("elsewhere")).unwrap();
    symlink("elsewhere", file.path()).unwrap();
    assert!(matches!(file.find(NAME), Err(PinError::NotAFile { .. })));
    fs::remove_file(file.path()).unwrap();
    fs::create_dir(file.path()).unwrap();
    assert!(matches!(file.find(NAME), Err(PinError::NotAFile { .. })));
    let beneath = PinFile::at(file.folder().join("elsewhere/known_masters"));
    assert!(beneath.find(NAME).is_err());
}

#[test]
fn of_all_who_come_at_once_one_key_wins_and_no_line_is_lost() {
    let (_folder, file) = place();
    let start = Barrier::new(8);
    let won: Vec<Pin> = std::thread::scope(|scope| {
        let (file, start) = (&file, &start);
        let threads: Vec<_> = (0..8)
            .map(|number| {
                scope.spawn(move || {
                    start.wait();
                    file.add(&format!("host{number}:1"), key(number)).unwrap();
                    file.add(NAME, key(number)).unwrap().pin
                })
            })
            .collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, Pin>| thread.join().unwrap();
        threads.into_iter().map(join).collect()
    });
    assert!(won.iter().all(|pin| *pin == won[0]), "{won:?}");
    for number in 0..8 {
        let found = file.find(&format!("host{number}:1")).unwrap().unwrap();
        assert_eq!(found.pin, key(number));
    }
}

proptest! {
    #[test]
    fn a_pin_reads_as_it_was_printed(bytes: [u8; 32]) {
        for pin in [Pin::Key(Fingerprint(bytes)), Pin::Certified] {
            prop_assert_eq!(pin.to_string().parse(), Ok(pin));
        }
    }

    /// Whatever stands there, adding keeps it, and the name is found again or the file is refused.
    #[test]
    fn whatever_the_file_holds_nothing_is_lost(
        content in prop::collection::vec(
            prop_oneof![any::<u8>(), Just(b'\n'), Just(b' '), Just(b'#')], 0..200),
        name in "[a-z\\[\\]:#\u{1b} ]{0,6}(:[0-9]{1,5})?",
    ) {
        let (_folder, file) = holding(&content);
        let before = file.find(&name);
        match file.add(&name, key(1)) {
            Ok(remembered) => {
                let known = before.unwrap();
                prop_assert_eq!(file.find(&name).unwrap(), Some(remembered));
                prop_assert!(known.is_none_or(|known| known == remembered));
                let now = fs::read(file.path()).unwrap();
                prop_assert!(now.starts_with(&content));
            }
            Err(PinError::Name { .. }) => prop_assert!(!is_a_name(&name)),
            Err(_) => prop_assert!(before.is_err()),
        }
    }
}
