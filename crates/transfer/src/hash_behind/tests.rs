use proptest::prelude::*;

use super::*;
use crate::block_tree::block_count;

fn file_of(length: usize) -> (File, Vec<u8>) {
    let mut content = vec![0; length];
    Hasher::new().finalize_xof().fill(&mut content);
    let file = tempfile::tempfile().unwrap();
    file.write_all_at(&content, 0).unwrap();
    (file, content)
}

fn hash_in_steps(file: &File, from: Hashed, steps: &[u64], expected: u64) -> Hashed {
    let mut hashing = HashBehind::new(from, expected);
    for &position in steps {
        hashing.advance(file, position).unwrap();
    }
    let end = steps.last().copied().unwrap_or(0);
    hashing.finish(file, end).unwrap().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn however_it_passes_the_digest_is_that_of_the_whole(
        mut steps in prop::collection::vec(0..5 * BLOCK + 3, 1..6),
        threads in any::<bool>(),
        at in 0_usize..6,
    ) {
        steps.sort_unstable();
        let length = *steps.last().unwrap();
        let (file, content) = file_of(usize::try_from(length).unwrap());
        let expected = if threads { u64::MAX } else { 0 };
        let hashed = hash_in_steps(&file, Hashed::default(), &steps, expected);
        prop_assert_eq!(hashed.digest().0, *blake3::hash(&content).as_bytes());
        // Going on behind a part is the same as never having stopped.
        let (first, _) = steps.split_at(at.min(steps.len()));
        let part = hash_in_steps(&file, Hashed::default(), first, 0);
        prop_assert_eq!(hash_in_steps(&file, part, &steps, expected), hashed);
    }
}

#[test]
fn sizes_around_the_edges_of_blocks() {
    for length in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK] {
        let (file, content) = file_of(usize::try_from(length).unwrap());
        let hashed = hash_in_steps(&file, Hashed::default(), &[length], 0);
        assert_eq!(hashed.digest().0, *blake3::hash(&content).as_bytes());
        assert_eq!(u64::try_from(hashed.blocks.len()), Ok(block_count(length)));
    }
}

#[test]
fn a_file_that_is_shorter_than_was_said_is_an_error() {
    let (file, _) = file_of(1000);
    for expected in [0, u64::MAX] {
        let mut hashing = HashBehind::new(Hashed::default(), expected);
        let advanced = hashing.advance(&file, 9 * BLOCK);
        let error = advanced.and_then(|()| hashing.finish(&file, 9 * BLOCK));
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}

#[test]
fn what_is_at_hand_is_not_read_and_no_more_is_kept_than_was_lent() {
    let (file, content) = file_of(usize::try_from(9 * BLOCK).unwrap());
    let other = tempfile::tempfile().unwrap();
    other.set_len(9 * BLOCK).unwrap(); // zeros: read back, they would show
    let mut hashing = HashBehind::new(Hashed::default(), u64::MAX);
    hashing.advance(&other, 0).unwrap();
    let mut bytes = content.as_slice();
    let mut position = 0;
    while let Some((block, rest)) = bytes.split_at_checked(usize::try_from(BLOCK).unwrap()) {
        let buffer = loop {
            match hashing.borrow() {
                Some(buffer) => break buffer,
                None => std::thread::yield_now(),
            }
        };
        let mut recent = Recent::new(position, buffer);
        recent.room_for(block.len()).copy_from_slice(block);
        recent.add(block.len());
        position += BLOCK;
        hashing
            .advance_with(&other, position, Some(recent))
            .unwrap();
        bytes = rest;
    }
    let Lane::Beside { buffers, .. } = &hashing.lane else {
        panic!("not beside");
    };
    assert!(*buffers <= MOST_RECENT);
    // The last block is read from the file.
    let expected = hash_in_steps(&file, Hashed::default(), &[9 * BLOCK], 0);
    let hashed = hashing.finish(&file, 9 * BLOCK).unwrap().unwrap();
    assert_eq!(hashed.blocks[..8], expected.blocks[..8]);
}

#[test]
fn nothing_is_hashed_where_nothing_is_to_be() {
    let (file, _) = file_of(10);
    let mut hashing = HashBehind::off();
    hashing.advance(&file, 10).unwrap();
    assert_eq!(hashing.finish(&file, 10).unwrap(), None);
}
