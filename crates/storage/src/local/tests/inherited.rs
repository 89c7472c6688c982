//! What a stored file has from the folder that it is in, as any file that is made there.

use std::fs::File;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use rustix::fs::XattrFlags;

use super::*;

const OTHERS_GROUP: u32 = 54_321;

/// Stores a file in each way there is, and tells the names.
fn store_each_way(served: &Served) -> [&'static str; 4] {
    let whole = served
        .storage
        .store_whole(&upload("/folder/whole"), (b"", &digest(b"")));
    whole.unwrap();
    served.store(&upload("/folder/once"), b"once").unwrap();
    served
        .store(&resumable("/folder/resumable", 1), b"much")
        .unwrap();
    served.write("folder/replaced", b"old");
    served.store(&upload("/folder/replaced"), b"new").unwrap();
    [
        "folder/whole",
        "folder/once",
        "folder/resumable",
        "folder/replaced",
    ]
}

#[test]
fn the_group_where_the_folder_passes_it_on() {
    let served = Served::new();
    let folder = served.at("folder");
    fs::create_dir(&folder).unwrap();
    if chown(&folder, None, Some(OTHERS_GROUP)).is_err() {
        skipped("only the superuser gives a folder to any group");
        return;
    }
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o2775)).unwrap();
    for name in store_each_way(&served) {
        let facts = fs::metadata(served.at(name)).unwrap();
        assert_eq!(facts.gid(), OTHERS_GROUP, "{name}");
        assert_eq!(facts.mode() & 0o7000, 0, "{name}");
    }
}

#[test]
fn the_named_entries_of_the_default_acl() {
    let served = Served::new();
    let folder = served.at("folder");
    fs::create_dir(&folder).unwrap();
    if let Err(error) = set_default_acl(&folder) {
        skipped(format!("no access control lists here: {error}"));
        return;
    }
    let expected = access_acl(&{
        let made = folder.join("made");
        File::create(&made).unwrap();
        fs::set_permissions(&made, fs::Permissions::from_mode(0o644)).unwrap();
        made
    });
    assert!(!expected.is_empty());
    for name in store_each_way(&served) {
        assert_eq!(access_acl(&served.at(name)), expected, "{name}");
    }
}

/// Gives one more user the right to read and write what is made in the folder (acl(5), as the kernel keeps it).
fn set_default_acl(folder: &Path) -> rustix::io::Result<()> {
    const VERSION: u32 = 2;
    const ANY: u32 = u32::MAX;
    let mut acl = VERSION.to_le_bytes().to_vec();
    // The owner, the user, the group, the mask, others.
    for (tag, rights, who) in [
        (0x01_u16, 7_u16, ANY),
        (0x02, 6, 54_321),
        (0x04, 5, ANY),
        (0x10, 7, ANY),
        (0x20, 5, ANY),
    ] {
        acl.extend_from_slice(&tag.to_le_bytes());
        acl.extend_from_slice(&rights.to_le_bytes());
        acl.extend_from_slice(&who.to_le_bytes());
    }
    let name = c"system.posix_acl_default";
    rustix::fs::setxattr(folder, name, &acl, XattrFlags::empty())
}

fn access_acl(file: &Path) -> Vec<u8> {
    let mut acl = vec![0; 256];
    let length = rustix::fs::getxattr(file, c"system.posix_acl_access", &mut acl);
    acl.truncate(length.unwrap_or(0));
    acl
}
