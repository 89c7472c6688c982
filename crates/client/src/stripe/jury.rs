//! Content whose digest is not the announced one: which blocks are wrong, and who is to blame? Every slave is asked for
//! its list of block digests, and for the digest that it keeps with the file; what most of them have is right, if one of
//! these digests vouches for it.

use std::collections::BTreeMap;
use std::thread::{Builder, scope};

use protocol::Digest;
use transfer::block_tree::merge;

use crate::ClientError;
use crate::context::Context;
use crate::fault::{Attempt, Fault};
use crate::repair::{block_list, kept_digest};
use crate::session::Session;
use crate::stripe::plan::Origin;
use crate::stripe::roster::Way;
use crate::trailer::Trailer;

/// What one slave has.
#[derive(Clone, Debug)]
pub(crate) struct Testimony {
    /// The digests of its blocks as they are on its disk now.
    pub(crate) blocks: Vec<Digest>,
    /// The digest that was kept when the file was stored; `None` where nobody asked.
    pub(crate) kept: Option<Digest>,
}

/// Asks all of them at the same time, also for the kept digests where the content is to be `verified`. Who does not answer is passed over, unless nobody does.
pub(crate) fn hear(
    context: &Context,
    trailer: &Trailer,
    slaves: &[(Origin, Way)],
    verified: bool,
) -> Attempt<Vec<Testimony>> {
    let answers = scope(|threads| {
        let asked: Vec<_> = slaves
            .iter()
            .map(|(_, way)| {
                let ask = move || {
                    way.open(None, context)
                        .and_then(|mut session| testify(&mut session, trailer, verified))
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
            Ok(testimony) => heard.push(testimony),
            Err(fault) => last = Some(fault),
        }
    }
    match last {
        Some(fault) if heard.is_empty() => Err(fault),
        _ => Ok(heard),
    }
}

fn testify(session: &mut Session, trailer: &Trailer, verified: bool) -> Attempt<Testimony> {
    Ok(Testimony {
        blocks: block_list(session, trailer)?,
        kept: match verified {
            true => Some(kept_digest(session, trailer)?),
            false => None,
        },
    })
}

/// Of the lists that fit a kept digest, where these were asked for, the one that most slaves have; of two that as many have,
/// the one that fits the digest that was announced.
pub(crate) fn verdict(
    announced: Option<Digest>,
    size: u64,
    heard: Vec<Testimony>,
) -> Option<(Digest, Vec<Digest>)> {
    let kept: Vec<Digest> = heard.iter().filter_map(|slave| slave.kept).collect();
    let mut lists: BTreeMap<[u8; 32], (usize, Vec<Digest>)> = BTreeMap::new();
    for testimony in heard {
        let Some(whole) = merge(&testimony.blocks, size) else {
            continue;
        };
        let list = lists.entry(whole.0).or_insert((0, testimony.blocks));
        list.0 += 1;
    }
    if !kept.is_empty() {
        lists.retain(|whole, _| kept.contains(&Digest(*whole)));
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
            kept: None,
        }
    }

    fn keeps(second: u8, kept: &Testimony) -> Testimony {
        Testimony {
            kept: Some(whole(kept)),
            ..says(second)
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
    fn what_no_kept_digest_vouches_for_is_wrong_however_many_have_it() {
        let (stored, rotten) = (says(2), says(3));
        let all_rotten = [keeps(3, &stored), keeps(3, &stored)];
        assert_eq!(decided(Some(whole(&stored)), &all_rotten), None);
        assert_eq!(decided(Some(whole(&rotten)), &all_rotten), None);
        let one_good = [keeps(3, &stored), keeps(3, &stored), keeps(2, &stored)];
        assert_eq!(decided(None, &one_good), Some(whole(&stored)));
    }

    #[test]
    fn a_list_of_another_length_says_nothing() {
        let short = Testimony {
            blocks: vec![Digest([1; 32])],
            kept: None,
        };
        assert_eq!(decided(None, &[short]), None);
    }
}
