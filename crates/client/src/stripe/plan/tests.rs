//! The plan against every order of answers and deaths.

use proptest::prelude::*;

use super::*;

const A: Stream = Stream(1);
const B: Stream = Stream(2);

fn plan(count: u64) -> Plan {
    let mut plan = Plan::new(count);
    plan.join(A, Origin(0));
    plan.join(B, Origin(1));
    plan
}

fn deliver(plan: &mut Plan, stream: Stream, blocks: Range<u64>) {
    for index in blocks {
        assert!(plan.claim(stream, index));
        plan.finish(stream, index);
    }
}

#[test]
fn ranges_are_handed_out_from_the_front_and_around_what_is_there() {
    let mut plan = plan(10);
    plan.keep(2);
    plan.keep(3);
    assert_eq!(plan.take(A, 4), Some(0..2));
    assert_eq!(plan.take(B, 3), Some(4..7));
    assert_eq!(plan.take(A, 9), Some(7..10));
    assert_eq!(plan.take(B, 1), None);
    assert_eq!((plan.outstanding(A), plan.there()), (5, 2));
    assert_eq!(plan.kept().collect::<Vec<_>>(), [2, 3]);
}

#[test]
fn what_a_lost_stream_was_asked_for_goes_to_the_next() {
    let mut plan = plan(6);
    assert_eq!(plan.take(A, 4), Some(0..4));
    deliver(&mut plan, A, 0..1);
    assert!(plan.claim(A, 1), "and never finished");
    plan.leave(A);
    assert_eq!(plan.take(B, 9), Some(1..6));
    deliver(&mut plan, B, 1..6);
    assert!(plan.is_complete());
    let served: Vec<_> = plan.served().into_iter().collect();
    assert_eq!(served, [(Origin(0), 1), (Origin(1), 5)]);
}

#[test]
fn the_end_is_stolen_and_whoever_is_first_writes() {
    let mut plan = plan(5);
    assert_eq!(plan.take(A, 5), Some(0..5));
    deliver(&mut plan, A, 0..1);
    assert_eq!(plan.steal(B, A, 2), Some(3..5));
    assert_eq!(plan.steal(B, A, 9), Some(1..3));
    assert_eq!(plan.steal(B, A, 9), None, "all are asked of two already");
    assert!(plan.claim(B, 3));
    assert!(!plan.claim(A, 3), "it is being written");
    plan.finish(B, 3);
    assert!(plan.claim(A, 4));
    plan.finish(A, 4);
    assert!(!plan.claim(B, 4));
    plan.leave(A);
    deliver(&mut plan, B, 1..3);
    assert!(plan.is_complete());
}

#[test]
fn a_wrong_block_comes_from_somebody_else_while_there_is_one() {
    let mut plan = plan(2);
    assert_eq!(plan.take(A, 2), Some(0..2));
    deliver(&mut plan, A, 0..2);
    assert_eq!(plan.reject(1), Some(Origin(0)));
    plan.forgive();
    assert_eq!(plan.take(A, 1), None);
    assert_eq!(plan.take(B, 1), Some(1..2));
    plan.leave(B);
    plan.forgive();
    assert_eq!(plan.take(A, 1), Some(1..2));
}

/// What happens next, to which of the streams.
#[derive(Clone, Debug)]
enum Event {
    Take(u64),
    Steal(u32, u64),
    Receive,
    Die,
}

fn events() -> impl Strategy<Value = Vec<(u32, Event)>> {
    let event = prop_oneof![
        3 => (1..6_u64).prop_map(Event::Take),
        2 => (0..5_u32, 1..4_u64).prop_map(|(victim, count)| Event::Steal(victim, count)),
        6 => Just(Event::Receive),
        1 => Just(Event::Die),
    ];
    proptest::collection::vec((0..5_u32, event), 0..400)
}

/// Streams as they are on the wire: each delivers what it was asked for in that order, whoever was quicker.
struct Wire {
    plan: Plan,
    /// Per place: the stream that has it now, and what it is still to deliver.
    streams: Vec<(Stream, Vec<u64>)>,
    next: u32,
    written: BTreeMap<u64, u32>,
}

impl Wire {
    fn new(count: u64) -> Self {
        let mut wire = Self {
            plan: Plan::new(count),
            streams: Vec::new(),
            next: 0,
            written: BTreeMap::new(),
        };
        for place in 0..5 {
            let stream = wire.fresh(place);
            wire.streams.push((stream, Vec::new()));
        }
        wire
    }

    fn fresh(&mut self, place: u32) -> Stream {
        self.next += 1;
        let stream = Stream(self.next);
        let origin = Origin(u16::try_from(place % 3).unwrap());
        self.plan.join(stream, origin);
        stream
    }

    fn happen(&mut self, place: u32, event: &Event) {
        let at = place as usize;
        let stream = self.streams[at].0;
        match event {
            Event::Take(wanted) => {
                let taken = self.plan.take(stream, *wanted);
                self.streams[at].1.extend(taken.into_iter().flatten());
            }
            Event::Steal(victim, wanted) if *victim != place => {
                let victim = self.streams[*victim as usize].0;
                let stolen = self.plan.steal(stream, victim, *wanted);
                self.streams[at].1.extend(stolen.into_iter().flatten());
            }
            Event::Steal(..) => {}
            Event::Receive if self.streams[at].1.is_empty() => {}
            Event::Receive => {
                let index = self.streams[at].1.remove(0);
                if self.plan.claim(stream, index) {
                    self.plan.finish(stream, index);
                    *self.written.entry(index).or_default() += 1;
                }
            }
            Event::Die => {
                self.plan.leave(stream);
                self.streams[at] = (self.fresh(place), Vec::new());
            }
        }
        let asked: BTreeSet<_> = self.streams.iter().flat_map(|(_, asked)| asked).collect();
        let open = asked.iter().filter(|index| {
            let block = self.plan.block(***index);
            !matches!(block, Some(Block::There(_)))
        });
        let known = self.plan.missing() + self.plan.there() + number(open.count());
        assert_eq!(known, self.plan.count(), "a block that nobody will bring");
    }
}

proptest! {
    #[test]
    fn every_block_is_written_once_whatever_happens(count in 0..40_u64, events in events()) {
        let mut wire = Wire::new(count);
        for (place, event) in &events {
            wire.happen(*place, event);
        }
        // From here on nobody dies: it must come to an end.
        while !wire.plan.is_complete() {
            for place in 0..5 {
                wire.happen(place, &Event::Take(3));
                wire.happen(place, &Event::Receive);
            }
        }
        prop_assert_eq!(wire.written.len() as u64, count);
        prop_assert!(wire.written.values().all(|times| *times == 1));
    }
}
