//! Slaves over copies of one storage, one of which is not what it should be: found, told, and got over.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::XattrFlags;

use super::{MEBIBYTE, Striped};
use crate::harness::{
    Finished, PATIENCE, Setup, SmallDisk, done_as_superuser, offers, port_of, skipped, wait_for,
    wait_until,
};

/// Two slaves over a storage and one over a copy of it that looks the same.
struct Copies {
    striped: Striped,
    wrong: usize,
    _disks: [SmallDisk; 2],
}

impl Copies {
    /// With one bit flipped in the copy at each of these offsets; `None` where disks cannot be mounted.
    fn new(flipped: impl Iterator<Item = usize>) -> Option<Self> {
        let cluster = Setup::new(0).start();
        let copy = cluster.root().with_file_name("copy");
        fs::create_dir(&copy).unwrap();
        let disks = [
            SmallDisk::mount(&cluster.root(), 64)?,
            SmallDisk::mount(&copy, 64)?,
        ];
        // The first file of a fresh disk: the same inode on both.
        let mut striped = Striped::over(cluster);
        let mut content = striped.content.clone();
        flipped.for_each(|offset| content[offset] ^= 1);
        fs::write(copy.join("a.bin"), content).unwrap();
        let (right, copied) = (striped.cluster.path("a.bin"), copy.join("a.bin"));
        liken(&copied, &right);
        for _ in 0..2 {
            striped.cluster.add_slave(&[]);
        }
        striped.cluster.wait_for_slaves(2);
        striped.client.run(["sum", "a.bin"]).succeeded();
        copy_digest(&right, &copied)?;
        let id = Path::new(".mini-ftp/storage-id");
        fs::create_dir(copy.join(".mini-ftp")).unwrap();
        fs::copy(striped.cluster.path(id), copy.join(id)).unwrap();
        striped
            .cluster
            .add_slave(&["--root", copy.to_str().unwrap()]);
        striped.cluster.wait_for_slaves(3);
        Some(Self {
            striped,
            wrong: 2,
            _disks: disks,
        })
    }

    /// Takes turns until the next one is that of the slave over the copy.
    fn wait_for_its_turn(&self) {
        let cluster = &self.striped.cluster;
        let port = cluster.slaves[self.wrong].address.port();
        wait_until("its turn", PATIENCE, || {
            port_of(&offers(cluster.address())[1]) == port
        });
    }

    /// Fetches the file, again and again on a busy machine, until the wrong copy had a share in it.
    fn get_until_told(&self) -> Finished {
        wait_for("a block from the copy", PATIENCE, || {
            self.wait_for_its_turn();
            fs::remove_file(self.striped.client.path("a.bin")).ok();
            let finished = self.striped.run(["get", "a.bin"]);
            finished.succeeded();
            self.striped.assert_whole();
            Some(finished).filter(|finished| !finished.stderr.is_empty())
        })
    }

    fn address(&self) -> String {
        self.striped.cluster.slaves[self.wrong].address.to_string()
    }
}

/// Gives a file the time of another, with which it must share the inode's number.
fn liken(copy: &Path, original: &Path) {
    let original = fs::metadata(original).unwrap();
    assert_eq!(fs::metadata(copy).unwrap().ino(), original.ino());
    let file = File::options().write(true).open(copy).unwrap();
    file.set_modified(original.modified().unwrap()).unwrap();
}

/// The digest that a slave has kept beside the file; `None`, and a line that says so, where the disk keeps none.
fn copy_digest(original: &Path, copy: &Path) -> Option<()> {
    const NAME: &str = "user.mini-ftp.blake3";
    let mut value = [0; 256];
    let copied = rustix::fs::getxattr(original, NAME, &mut value)
        .and_then(|length| rustix::fs::setxattr(copy, NAME, &value[..length], XattrFlags::empty()));
    copied
        .inspect_err(|error| skipped(format_args!("no extended attributes on this disk: {error}")))
        .ok()
}

/// The first block comes from the slave whose turn it is, unless a busy machine has its heartbeat come late.
#[test]
fn a_flipped_bit_in_one_slave_s_file_is_found_and_the_block_comes_from_another() {
    if done_as_superuser() {
        return;
    }
    let Some(copies) = Copies::new([MEBIBYTE / 2].into_iter()) else {
        return;
    };
    let finished = copies.get_until_told();
    let told = format!(
        "ftpclient: /a.bin: 1 block from {} damaged, fetching again\n",
        copies.address()
    );
    assert_eq!(finished.stderr, told);
}

#[test]
fn a_slave_all_of_whose_blocks_are_wrong_is_named_and_its_blocks_come_from_the_others() {
    if done_as_superuser() {
        return;
    }
    let size = 44;
    let Some(copies) = Copies::new((0..size).map(|block| block * MEBIBYTE)) else {
        return;
    };
    let finished = copies.get_until_told();
    let told = &finished.stderr;
    assert_eq!(told.lines().count(), 1, "{told}");
    let whose = format!("from {} damaged, fetching again", copies.address());
    assert!(told.contains(&whose), "{told}");
}

/// The slave says what it has, rightly: only the digest that was kept with the file knows better, and so does another one.
#[test]
fn a_flipped_bit_in_the_file_of_the_only_slave_that_is_asked_is_found_and_another_is_asked() {
    if done_as_superuser() {
        return;
    }
    let Some(copies) = Copies::new([3 * MEBIBYTE / 2].into_iter()) else {
        return;
    };
    copies.wait_for_its_turn();
    let cluster = &copies.striped.cluster;
    let client = cluster.client().options(["--streams", "1"]);
    let finished = client.run(["get", "a.bin"]);
    finished.succeeded();
    assert!(client.read("a.bin") == copies.striped.content);
    let (told, wrong) = (&finished.stderr, copies.address());
    let damaged = format!("ftpclient: /a.bin: 1 block from {wrong} damaged, fetching again");
    assert_eq!(told.lines().count(), 2, "{told}");
    assert!(
        told.contains(&format!("slave {wrong} lost (its file")),
        "{told}"
    );
    assert!(told.contains(&damaged), "{told}");
}
