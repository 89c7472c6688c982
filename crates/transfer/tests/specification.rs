//! The block tree in `docs/PROTOCOL.md` is the one that this code computes.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a document that cannot be read is a failed test"
)]

use std::fs;
use std::path::Path;

use transfer::ContentHasher;

#[test]
fn the_block_digests_are_as_shown() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/PROTOCOL.md");
    let text = fs::read_to_string(path).unwrap();
    let (_, table) = text
        .split_once("| bytes | blocks | digest of block 0 |")
        .unwrap();
    let rows: Vec<Vec<&str>> = table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            line.split('|')
                .map(|cell| cell.trim().trim_matches('`'))
                .collect()
        })
        .collect();
    assert!(rows.len() >= 5);
    for row in rows {
        let length: usize = row[1].parse().unwrap();
        let content: Vec<u8> = (0..=250).cycle().take(length).collect();
        let mut hasher = ContentHasher::with_blocks();
        hasher.update(&content);
        let blocks: Vec<String> = hasher.blocks().iter().map(ToString::to_string).collect();
        assert_eq!(blocks.len(), row[2].parse::<usize>().unwrap());
        assert_eq!(blocks.first().map_or("—", String::as_str), row[3]);
        assert_eq!(blocks.last().map_or("—", String::as_str), row[4]);
        assert_eq!(hasher.finalize().to_string(), row[5]);
    }
}
