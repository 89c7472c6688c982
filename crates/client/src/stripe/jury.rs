//! Content whose digest is not the announced one: which blocks are wrong, and who is to blame? Every slave is asked for
//! its list of block digests; what most of them have is right.

use std::collections::BTreeMap;
use std::thread::{Builder, scope};

use protocol::Digest;
use transfer::block_tree::merge;

use crate::ClientError;
use crate::context::Context;
use crate::fault::{Attempt, Fault};
use crate::repair::block_list;
use crate::stripe::plan::Origin;
use crate::stripe::roster::Way;
use crate::trailer::Trailer;

/// What one slave has.
#[derive(Clone, Debug)]
pub(crate) struct Testimony {
    pub(crate) blocks: Vec<Digest>,
}

/// Asks all of them at the same time. Who does not answer is passed over, unless nobody does.
pub(crate) fn hear(
    context: &Context,
    trailer: &Trailer,
    slaves: &[(Origin, Way)],
) -> Attempt<Vec<Testimony>> {
    let answers = scope(|threads| {
        let asked: Vec<_> = slaves
            .iter()
            .map(|(_, way)| {
                let ask = move || {
                    way.open(context)
                        .and_then(|mut session| block_list(&mut session, trailer))
                };
                let builder = Builder::new().name("blocks".to_owned());
                builder.spawn_scoped(threads, ask)
            })
            .collect();
        let answer = |thread: std::io::Result<std::thread::ScopedJoinHandle<'_, _>>| match thread {
            Ok(thread) => thread
                .join()
                .unwrap_or_else(|_| Err(Fault::nonsense("no list of blocks"))),
            Err(error) => Err(ClientError::from(error).into()),
        };
        asked.into_iter().map(answer).collect::<Vec<_>>()
    });
    let mut heard = Vec::new();
    let mut last = None;
    for answer in answers {
        match answer {
            Ok(blocks) => heard.push(Testimony { blocks }),
            Err(fault) => last = Some(fault),
        }
    }
    match last {
        Some(fault) if heard.is_empty() => Err(fault),
        _ => Ok(heard),
    }
}

/// The list that most slaves have; of two that as many have, the one that fits the digest that was announced.
pub(crate) fn verdict(
    announced: Option<Digest>,
    size: u64,
    heard: Vec<Testimony>,
) -> Option<(Digest, Vec<Digest>)> {
    let mut lists: BTreeMap<[u8; 32], (usize, Vec<Digest>)> = BTreeMap::new();
    for testimony in heard {
        let Some(whole) = merge(&testimony.blocks, size) else {
            continue;
        };
        let list = lists.entry(whole.0).or_insert((0, testimony.blocks));
        list.0 += 1;
    }
    let most = lists.values().map(|(votes, _)| *votes).max()?;
    lists.retain(|_, (votes, _)| *votes == most);
    let is_announced = |whole: &[u8; 32]| announced.is_some_and(|digest| digest.0 == *whole);
    if lists.len() > 1 {
        lists.retain(|whole, _| is_announced(whole));
    }
    let (whole, (_, blocks)) = lists.pop_first()?;
    Some((Digest(whole), blocks))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u64 = 2 << 20;

    fn says(second: u8) -> Testimony {
        Testimony {
            blocks: vec![Digest([1; 32]), Digest([second; 32])],
        }
    }

    fn whole(testimony: &Testimony) -> Digest {
        merge(&testimony.blocks, SIZE).unwrap()
    }

    fn decided(announced: Option<Digest>, heard: &[Testimony]) -> Option<Digest> {
        let (digest, blocks) = verdict(announced, SIZE, heard.to_vec())?;
        assert_eq!(merge(&blocks, SIZE), Some(digest));
        Some(digest)
    }

    #[test]
    fn most_are_right_whoever_announced_the_digest() {
        let (good, bad) = (says(2), says(3));
        let heard = [bad.clone(), good.clone(), good.clone()];
        for announced in [Some(whole(&good)), Some(whole(&bad)), None] {
            assert_eq!(decided(announced, &heard), Some(whole(&good)));
        }
    }

    #[test]
    fn between_two_the_announced_digest_decides() {
        let (good, bad) = (says(2), says(3));
        let heard = [bad, good.clone()];
        assert_eq!(decided(Some(whole(&good)), &heard), Some(whole(&good)));
        assert_eq!(decided(Some(Digest([9; 32])), &heard), None);
        assert_eq!(decided(None, &heard), None);
    }

    #[test]
    fn a_single_one_knows_best_what_it_has() {
        let only = says(2);
        let stale = Some(Digest([9; 32]));
        assert_eq!(
            decided(stale, std::slice::from_ref(&only)),
            Some(whole(&only))
        );
        let short = Testimony {
            blocks: vec![Digest([1; 32])],
        };
        assert_eq!(decided(stale, &[short]), None);
    }
}
