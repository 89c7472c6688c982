//! Tests of `state_directory`.

use std::os::unix::fs::PermissionsExt;

use testing::skipped;

use super::*;

fn temporary() -> (tempfile::TempDir, StateDirectory) {
    let place = tempfile::tempdir().unwrap();
    let state = StateDirectory::open(Some(&place.path().join("a/b"))).unwrap();
    (place, state)
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn it_is_made_for_the_owner_alone() {
    let (place, state) = temporary();
    for folder in [&place.path().join("a"), state.path()] {
        assert_eq!(
            fs::metadata(folder).unwrap().permissions().mode() & 0o7777,
            0o700
        );
    }
}

#[test]
fn one_that_others_can_write_to_is_refused() {
    let (_place, state) = temporary();
    for mode in [0o770, 0o707, 0o1777] {
        set_mode(state.path(), mode);
        let refusal = StateDirectory::open(Some(state.path())).unwrap_err();
        assert!(refusal.to_string().contains("chmod go-w"), "{refusal}");
    }
    set_mode(state.path(), 0o755);
    assert!(StateDirectory::open(Some(state.path())).is_ok());
}

#[test]
fn a_file_in_its_place_is_an_error_that_names_it() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("file");
    fs::write(&file, "").unwrap();
    for path in [file.clone(), file.join("beneath")] {
        let refusal = StateDirectory::open(Some(&path)).unwrap_err();
        assert!(refusal.to_string().contains("file"), "{refusal}");
    }
}

#[test]
fn what_root_makes_is_the_directory_owner_s() {
    if !rustix::process::geteuid().is_root() {
        return skipped("only root makes files for others");
    }
    let owner = |path: &Path| {
        use std::os::unix::fs::MetadataExt;
        let facts = fs::metadata(path).unwrap();
        (facts.uid(), facts.gid())
    };
    let them = (54_321, 54_322);
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("a/b");
    let state = StateDirectory::open_for(Some(&path), Some(them)).unwrap();
    state.master_key().unwrap();
    state.slave_id(b"/srv", 2122).unwrap();
    let unchanged = |_: &mut _| Ok::<_, crate::AccountsError>(());
    state.accounts_file().unwrap().change(unchanged).unwrap();
    for name in [
        "..",
        ".",
        "master.key",
        "slaves",
        "users.toml",
        "users.toml.lock",
    ] {
        assert_eq!(owner(&path.join(name)), them, "{name}");
    }
    assert_eq!(owner(place.path()), (0, 0));
}

#[test]
fn the_master_key_stays_the_same() {
    let (_place, state) = temporary();
    let slave = SlaveId([1; 16]);
    let key = || state.master_key().unwrap().slave_key(&slave, 0).to_bytes();
    assert_eq!(key(), key());
    let (_other_place, other) = temporary();
    assert_ne!(
        key(),
        other.master_key().unwrap().slave_key(&slave, 0).to_bytes()
    );
}

#[test]
fn a_damaged_or_open_master_key_is_an_error_that_names_it() {
    let (_place, state) = temporary();
    let file = state.path().join("master.key");
    for content in [vec![], vec![0; 31], vec![0; 33]] {
        fs::write(&file, content).unwrap();
        set_mode(&file, 0o600);
        let refusal = state.master_key().unwrap_err().to_string();
        assert!(refusal.contains("master.key' is damaged"), "{refusal}");
    }
    fs::write(&file, [0; 32]).unwrap();
    set_mode(&file, 0o644);
    let refusal = state.master_key().unwrap_err().to_string();
    assert!(refusal.contains("chmod 600"), "{refusal}");
}

#[test]
fn a_slave_is_the_same_wherever_it_is_started_again() {
    let (_place, state) = temporary();
    let id = state.slave_id(b"/srv", 2122).unwrap();
    assert_eq!(id, state.slave_id(b"/srv", 2122).unwrap());
    assert_ne!(id, state.slave_id(b"/srv", 2123).unwrap());
    assert_ne!(id, state.slave_id(b"/srv2", 2122).unwrap());
}

#[test]
fn machines_that_share_a_state_directory_do_not_share_identities() {
    let name = |machine: &[u8], root: &[u8]| place_name(machine, root, 2122);
    assert_ne!(name(b"one", b"/srv"), name(b"two", b"/srv"));
    assert_ne!(name(b"one", b"/srv"), name(b"one/", b"srv"));
}

#[test]
fn a_damaged_identity_is_an_error_that_names_it() {
    let (_place, state) = temporary();
    state.slave_id(b"/srv", 2122).unwrap();
    let entry = fs::read_dir(state.path().join("slaves"))
        .unwrap()
        .next()
        .unwrap();
    fs::write(entry.unwrap().path(), "not an identity").unwrap();
    let refusal = state.slave_id(b"/srv", 2122).unwrap_err().to_string();
    assert!(refusal.contains("is damaged"), "{refusal}");
}

#[test]
fn a_server_shows_the_same_key_whenever_it_is_started_again() {
    let (_place, state) = temporary();
    let one = state.identity("master").unwrap();
    assert_eq!(
        state.identity("master").unwrap().fingerprint(),
        one.fingerprint()
    );
    assert_ne!(
        state.identity("slave").unwrap().fingerprint(),
        one.fingerprint()
    );
    let file = state.path().join("master.pem");
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    set_mode(&file, 0o640);
    let refusal = state.identity("master").unwrap_err().to_string();
    assert!(refusal.contains("chmod 600"), "{refusal}");
    let text = fs::read_to_string(&file).unwrap();
    for damaged in ["", text.split_once("-----END").unwrap().0] {
        fs::write(&file, damaged).unwrap();
        set_mode(&file, 0o600);
        let refusal = state.identity("master").unwrap_err().to_string();
        assert!(refusal.contains("master.pem' is damaged"), "{refusal}");
    }
}

#[test]
fn a_certificate_is_made_whatever_the_machine_is_called() {
    for (machine, count) in [
        ("nas", 2),
        ("nas.example.org", 2),
        ("localhost", 1),
        ("", 1),
        ("my nas", 1),
    ] {
        let names = names_of(machine.to_owned());
        assert_eq!(names.len(), count, "{machine}");
        Identity::generate(&names).unwrap();
    }
}

#[test]
fn the_default_follows_the_environment() {
    let of = |state: Option<&str>, home: Option<&str>| {
        let (state, home) = (state.map(OsString::from), home.map(OsString::from));
        default_path(false, move |name| match name {
            "XDG_STATE_HOME" => state.clone(),
            _ => home.clone(),
        })
    };
    let path = |text: &str| Some(PathBuf::from(text));
    assert_eq!(of(Some("/s"), Some("/h")), path("/s/mini-ftp"));
    assert_eq!(of(None, Some("/h")), path("/h/.local/state/mini-ftp"));
    assert_eq!(
        of(Some("relative"), Some("/h")),
        path("/h/.local/state/mini-ftp")
    );
    assert_eq!(of(Some(""), None), None);
    assert_eq!(
        default_path(true, |_| Some("/h".into())),
        path("/var/lib/mini-ftp")
    );
}
