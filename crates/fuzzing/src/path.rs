//! Remote paths: none leads out of where it is, however it is written.

use protocol::{RemotePath, check_component};

use crate::Target;

/// The first byte of an input is the length of a folder's path; what a person types there follows.
pub static PATH: Target = Target {
    name: "path",
    // A path may be resolved from a folder with a long one of its own.
    fixed: 32 * 1024,
    for_each_byte: crate::USUAL,
    prepare: crate::nothing,
    work: |input| {
        let Some((&length, rest)) = input.split_first() else {
            return;
        };
        let (folder, typed) = rest.split_at(usize::from(length).min(rest.len()));
        parse(typed);
        if let Some(folder) = parse(folder) {
            resolve(&folder, typed);
            descend(&folder, typed);
        }
    },
};

/// On the wire: only one way to write each path.
fn parse(bytes: &[u8]) -> Option<RemotePath> {
    let path = RemotePath::parse(bytes).ok()?;
    assert_eq!(path.as_bytes(), bytes);
    assert_eq!([b"/", path.relative()].concat(), bytes);
    assert!(path.components().all(|name| check_component(name).is_ok()));
    let rebuilt = path
        .components()
        .try_fold(RemotePath::root(), |path, name| path.join(name));
    assert_eq!(rebuilt.as_ref(), Ok(&path));
    match (path.parent(), path.name()) {
        (Some(parent), Some(name)) => {
            assert_eq!(parent.join(name).as_ref(), Ok(&path));
            assert!(path.is_within(&parent) && !parent.is_within(&path));
        }
        (parent, name) => assert!(path.is_root() && parent.is_none() && name.is_none()),
    }
    Some(path)
}

/// Typed: resolved by the text alone, as a stack of names has it.
fn resolve(folder: &RemotePath, typed: &[u8]) {
    let Ok(resolved) = folder.resolve(typed) else {
        return;
    };
    assert_eq!(parse(resolved.as_bytes()).as_ref(), Some(&resolved));
    let mut names: Vec<&[u8]> = match typed.starts_with(b"/") {
        true => Vec::new(),
        false => folder.components().collect(),
    };
    for name in typed.split(|byte| *byte == b'/') {
        match name {
            b"" | b"." => {}
            b".." => drop(names.pop()),
            name => names.push(name),
        }
    }
    assert!(resolved.components().eq(names));
}

/// Listed: below the folder, and nowhere else.
fn descend(folder: &RemotePath, below: &[u8]) {
    if let Ok(joined) = folder.join_all(below) {
        assert_eq!(parse(joined.as_bytes()).as_ref(), Some(&joined));
        assert!(joined.is_within(folder) && joined != *folder);
        assert_eq!(Ok(joined), folder.resolve(below));
    }
}
