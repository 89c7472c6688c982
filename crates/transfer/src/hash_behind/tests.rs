use std::os::unix::fs::FileExt;

use blake3::Hasher;
use proptest::prelude::*;
use protocol::limits::BLOCK;

use super::*;
use crate::block_tree::{BLOCK_LENGTH, block_count};

fn file_of(length: usize) -> (File, Vec<u8>) {
    let mut content = vec![0; length];
    Hasher::new().finalize_xof().fill(&mut content);
    let file = tempfile::tempfile().unwrap();
    file.write_all_at(&content, 0).unwrap();
    (file, content)
}

fn hash_in_steps(file: &File, from: Hashed, steps: &[u64], expected: u64) -> Hashed {
    finish_in_steps(HashBehind::new(from, expected), file, steps)
}

fn finish_in_steps(mut hashing: HashBehind, file: &File, steps: &[u64]) -> Hashed {
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
        let own = HashBehind::of_own(Hashed::default(), expected);
        prop_assert_eq!(&finish_in_steps(own, &file, &steps), &hashed);
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
    for length in [1000, 2 * BLOCK_LENGTH - 1, 8 * BLOCK_LENGTH] {
        let (file, _) = file_of(length);
        for (expected, is_ours) in [(0, false), (0, true), (u64::MAX, false), (u64::MAX, true)] {
            let mut hashing = HashBehind::behind(Hashed::default(), expected, is_ours);
            let advanced = hashing.advance(&file, 9 * BLOCK);
            let error = advanced.and_then(|()| hashing.finish(&file, 9 * BLOCK));
            assert_eq!(error.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        }
    }
}

/// Content in a buffer, as soon as other tests leave one.
fn unwritten(hashing: &mut HashBehind, start: u64, content: &[u8]) -> Unwritten {
    let room = loop {
        match hashing.borrow().unwrap() {
            Some(room) => break room,
            None => std::thread::yield_now(),
        }
    };
    let mut unwritten = Unwritten::new(start, room);
    unwritten.room_for(content.len()).copy_from_slice(content);
    unwritten.add(content.len());
    unwritten
}

/// Hands `content` over in pieces of at most these lengths, the last one again and again.
fn hand_over(hashing: &mut HashBehind, file: &File, content: &[u8], pieces: &[usize]) {
    hashing.advance(file, 0).unwrap();
    let (mut rest, mut position) = (content, 0);
    let last = pieces.last().copied().unwrap();
    let mut pieces = pieces.iter().copied().chain(std::iter::repeat(last));
    while !rest.is_empty() {
        let piece;
        (piece, rest) = rest.split_at(rest.len().min(pieces.next().unwrap()));
        let unwritten = unwritten(hashing, position, piece);
        position = unwritten.end();
        hashing
            .advance_with(file, position, Some(unwritten))
            .unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn what_is_handed_over_is_written_and_hashed(
        length in 1..5 * BLOCK + 3,
        pieces in prop::collection::vec(100_000..=BLOCK, 0..4),
    ) {
        let (_, content) = file_of(usize::try_from(length).unwrap());
        let pieces = [pieces, vec![BLOCK]].concat();
        let pieces: Vec<_> = pieces.into_iter().map(|piece| usize::try_from(piece).unwrap()).collect();
        let file = tempfile::tempfile().unwrap();
        let mut hashing = HashBehind::new(Hashed::default(), u64::MAX);
        hand_over(&mut hashing, &file, &content, &pieces);
        let hashed = hashing.finish(&file, length).unwrap().unwrap();
        prop_assert_eq!(hashed.digest().0, *blake3::hash(&content).as_bytes());
        prop_assert!(content_of(&file) == content);
    }
}

fn content_of(file: &File) -> Vec<u8> {
    let mut content = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
    file.read_exact_at(&mut content, 0).unwrap();
    content
}

#[test]
fn a_whole_block_that_is_handed_over_is_not_read_back() {
    let (_, content) = file_of(usize::try_from(5 * BLOCK).unwrap());
    // Open for writing alone: a first block is hashed once it shows that it is not the only one.
    let path = tempfile::NamedTempFile::new().unwrap().into_temp_path();
    std::fs::write(&path, content.get(..BLOCK_LENGTH).unwrap()).unwrap();
    let first = File::open(&path).unwrap();
    let behind = hash_in_steps(&first, Hashed::default(), &[BLOCK + 1, BLOCK], 0);
    let file = File::options().write(true).open(&path).unwrap();
    let mut hashing = HashBehind::new(behind.clone(), u64::MAX);
    hashing.lane = Lane::Here(Blocks::behind(behind.blocks, false));
    let step = BLOCK_LENGTH;
    for (index, block) in content.chunks(step).enumerate().skip(1) {
        let start = u64::try_from(index * step).unwrap();
        hashing.advance(&file, start).unwrap();
        let unwritten = unwritten(&mut hashing, start, block);
        let end = unwritten.end();
        hashing.advance_with(&file, end, Some(unwritten)).unwrap();
    }
    let hashed = hashing.finish(&file, 5 * BLOCK).unwrap().unwrap();
    assert_eq!(hashed.digest().0, *blake3::hash(&content).as_bytes());
}

/// A step that brings one byte for the beginning of the file.
fn one_byte(room: Vec<u8>) -> Unwritten {
    let mut unwritten = Unwritten::new(0, room);
    unwritten.room_for(1);
    unwritten.add(1);
    unwritten
}

#[test]
fn what_cannot_be_written_is_told_once_and_ends_it() {
    let path = tempfile::NamedTempFile::new().unwrap().into_temp_path();
    let file = File::open(&path).unwrap();
    let mut hashing = HashBehind::new(Hashed::default(), u64::MAX);
    hashing.advance(&file, 0).unwrap();
    let error = loop {
        // Both ways wait for a thread that has ended: no byte is written behind those that were not.
        let borrowed = hashing.borrow();
        let passed = borrowed.and_then(|room| hashing.advance_with(&file, 1, room.map(one_byte)));
        if let Err(error) = passed {
            break error;
        }
    };
    let code = rustix::io::Errno::from_io_error(&error);
    assert_eq!(code, Some(rustix::io::Errno::BADF));
    assert!(hashing.advance(&file, 1).is_err());
    assert!(hashing.finish(&file, 1).is_err());
}

#[test]
fn what_nobody_asks_for_is_written_and_not_hashed() {
    let path = tempfile::NamedTempFile::new().unwrap().into_temp_path();
    let file = File::options().write(true).open(&path).unwrap(); // reading it back fails
    let mut beside = Beside::start(&file, Blocks::behind(Vec::new(), false)).unwrap();
    beside.is_given_up.store(true, Relaxed);
    for (start, room) in [(0, vec![7; BLOCK_LENGTH]), (BLOCK, vec![8; BLOCK_LENGTH])] {
        let mut unwritten = Unwritten::new(start, room);
        unwritten.add(BLOCK_LENGTH);
        let position = unwritten.end();
        let unwritten = Some(unwritten);
        beside
            .pass(Step {
                position,
                unwritten,
            })
            .unwrap();
    }
    beside.give_up().unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 2 * BLOCK);
}

#[test]
fn nobody_writes_once_it_is_gone() {
    let (_, content) = file_of(usize::try_from(7 * BLOCK).unwrap());
    let file = tempfile::tempfile().unwrap();
    let mut hashing = HashBehind::new(Hashed::default(), u64::MAX);
    hand_over(&mut hashing, &file, &content, &[BLOCK_LENGTH]);
    drop(hashing);
    assert!(content_of(&file) == content);
}

#[test]
fn nothing_is_hashed_where_nothing_is_to_be() {
    let (file, _) = file_of(10);
    let mut hashing = HashBehind::off();
    hashing.advance(&file, 10).unwrap();
    assert_eq!(hashing.finish(&file, 10).unwrap(), None);
}
