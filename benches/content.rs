//! What is transferred, and whether it arrived.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use crate::harness::tree;

const PIECE: usize = 1 << 20;

/// Writes a file of bytes that do not repeat, so that nobody can save work.
pub fn fill(path: &Path, mebibytes: u64) {
    let mut random = blake3::Hasher::new().finalize_xof();
    let (mut file, mut piece) = (File::create(path).unwrap(), vec![0; PIECE]);
    for _ in 0..mebibytes {
        random.fill(&mut piece);
        file.write_all(&piece).unwrap();
    }
}

/// Writes `count` files of 4 KiB, each with bytes of its own, a hundred to a folder.
pub fn plant(folder: &Path, count: usize) {
    for number in 0..count {
        let below = folder.join(format!("{:03}", number / 100));
        plant_one((&below, number % 100), number);
    }
}

/// The same, in one folder.
pub fn plant_flat(folder: &Path, count: usize) {
    (0..count).for_each(|number| plant_one((folder, number), number));
}

fn plant_one((folder, name): (&Path, usize), seed: usize) {
    if name == 0 {
        fs::create_dir_all(folder).unwrap();
    }
    let content = crate::harness::random_bytes(seed as u64, 4096);
    fs::write(folder.join(format!("{name:02}")), content).unwrap();
}

/// Says why `target` is not the copy of `source`: contents in the first round, the size in each.
pub fn check_file(source: &Path, target: &Path, round: usize) -> Result<(), String> {
    let size = |path: &Path| fs::metadata(path).map_or(0, |facts| facts.len());
    if size(source) != size(target) {
        return Err(format!("{} bytes arrived", size(target)));
    }
    if round > 0 {
        return Ok(());
    }
    let (mut source, mut target) = (File::open(source).unwrap(), File::open(target).unwrap());
    let (mut one, mut other) = (vec![0; PIECE], vec![0; PIECE]);
    loop {
        let read = source.read(&mut one).unwrap();
        if read == 0 {
            return Ok(());
        }
        target.read_exact(&mut other[..read]).unwrap();
        if one[..read] != other[..read] {
            return Err("other bytes arrived".to_owned());
        }
    }
}

/// Says why `target`, or the folder of the source's name in it, is not the copy of the tree `source`: contents in the first
/// round, names and sizes in each.
pub fn check_tree(source: &Path, target: &Path, round: usize) -> Result<(), String> {
    let below = target.join(source.file_name().unwrap());
    let target = if below.is_dir() {
        below
    } else {
        target.to_owned()
    };
    let same = if round == 0 {
        tree(source) == tree(&target)
    } else {
        sizes(source) == sizes(&target)
    };
    match same {
        true => Ok(()),
        false => Err("another tree arrived".to_owned()),
    }
}

fn sizes(root: &Path) -> BTreeMap<PathBuf, u64> {
    let (mut found, mut folders) = (BTreeMap::new(), vec![root.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let facts = entry.metadata().unwrap();
            if facts.is_dir() {
                folders.push(entry.path());
            } else {
                let name = entry.path().strip_prefix(root).unwrap().to_owned();
                found.insert(name, facts.len());
            }
        }
    }
    found
}

/// Writes to the memory that files will take: a virtual machine's is slow the first time. To reserve room with `fallocate` would
/// touch none of it.
pub fn warm(mebibytes: u64) {
    let (mut file, piece) = (tempfile::tempfile().unwrap(), vec![1; PIECE]);
    for _ in 0..mebibytes {
        file.write_all(&piece).unwrap_or_else(|error| {
            panic!("the temporary folder has no room for {mebibytes} MiB: {error}")
        });
    }
}

/// Removes a file or a folder with all that is in it; what is not there is fine.
pub fn remove(path: &Path) {
    if path.is_dir() {
        fs::remove_dir_all(path).unwrap();
    } else {
        fs::remove_file(path).ok();
    }
}
