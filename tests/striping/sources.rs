//! A file that changes while several slaves serve it: begun again, never a mixture, and no more than one line about it.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use super::{MEBIBYTE, SIZE, Striped};
use crate::harness::{PATIENCE, random_bytes};

/// Does something to the file in the middle of its transfer, which must end with the `new` content.
fn begins_again(change: impl FnOnce(&Striped, &[u8]), new: Vec<u8>) {
    let mut striped = Striped::new();
    let mut transfer = striped.begin();
    change(&striped, &new);
    striped.content = new;
    assert_eq!(transfer.wait_code(PATIENCE), 0, "{}", transfer.stderr());
    let said = transfer.stderr();
    assert_eq!(
        said,
        "ftpclient: /a.bin: the file changed meanwhile, starting again"
    );
    striped.assert_whole();
}

fn open(striped: &Striped) -> File {
    let path = striped.cluster.path("a.bin");
    File::options().write(true).open(path).unwrap()
}

#[test]
fn a_source_that_is_replaced_is_begun_again() {
    let replace = |striped: &Striped, new: &[u8]| {
        let replacement = striped.cluster.path("b.bin");
        fs::write(&replacement, new).unwrap();
        fs::rename(&replacement, striped.cluster.path("a.bin")).unwrap();
    };
    begins_again(replace, random_bytes(8, SIZE - MEBIBYTE));
}

#[test]
fn a_source_that_is_rewritten_in_its_place_is_begun_again() {
    let rewrite = |striped: &Striped, new: &[u8]| open(striped).write_all_at(new, 0).unwrap();
    begins_again(rewrite, random_bytes(9, SIZE));
}

#[test]
fn a_source_that_is_cut_short_is_begun_again() {
    let length = SIZE / 4;
    let cut = |striped: &Striped, new: &[u8]| open(striped).set_len(new.len() as u64).unwrap();
    begins_again(cut, random_bytes(7, SIZE)[..length].to_vec());
}

/// Neither size nor time tell: the blocks that came before are found by their digests.
#[test]
fn a_source_whose_change_hides_behind_the_old_time_is_no_mixture() {
    let mut striped = Striped::new();
    let mut transfer = striped.begin();
    let new = random_bytes(10, SIZE);
    let file = open(&striped);
    let before = file.metadata().unwrap().modified().unwrap();
    file.write_all_at(&new, 0).unwrap();
    file.set_modified(before).unwrap();
    striped.content = new;
    match transfer.wait_code(PATIENCE) {
        0 => striped.assert_whole(),
        code => {
            assert!(matches!(code, 1 | 5), "{code}: {}", transfer.stderr());
            assert!(!striped.client.path("a.bin").exists());
        }
    }
}
