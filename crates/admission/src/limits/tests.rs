use super::*;

#[test]
fn names_are_unique_and_counters_have_their_places() {
    for (index, limit) in Limit::ALL.iter().enumerate() {
        assert_eq!(limit.index(), index);
        let namesakes = Limit::ALL
            .iter()
            .filter(|other| other.name() == limit.name());
        assert_eq!(namesakes.count(), 1);
    }
}

#[test]
fn descriptors_are_left_for_what_is_not_a_connection() {
    assert_eq!(
        [0, 64, 1024, 65_536, u64::MAX].map(connections_for),
        [0, 0, 704, 49_088, u32::MAX]
    );
}

#[test]
fn more_and_more_are_refused_and_at_last_all() {
    let startups: Startups = "10:30:100".parse().unwrap();
    let refused = |others| {
        (0..100)
            .filter(|dice| startups.refuse(others, *dice))
            .count()
    };
    assert_eq!(
        [0, 9, 10, 55, 99, 100, 5000].map(refused),
        [0, 0, 30, 65, 99, 100, 100]
    );
    let all_or_nothing: Startups = "5:100:5".parse().unwrap();
    assert!(!all_or_nothing.refuse(4, 0) && all_or_nothing.refuse(5, 99));
    assert_eq!(startups.to_string(), "10:30:100");
    for wrong in [
        "",
        "10",
        "10:30",
        "10:101:100",
        "11:30:10",
        "1:2:3:4",
        "-1:2:3",
        "a:b:c",
    ] {
        assert_eq!(wrong.parse::<Startups>(), Err(StartupsError), "{wrong}");
    }
}

#[test]
fn a_peer_that_drips_is_told_from_one_that_is_slow_and_one_that_rests() {
    const SECOND: Duration = Duration::from_secs(1);
    let mut dripping = RateFloor::new(1024, MINIMUM_RATE_OVER);
    let lapse = (0..100).find_map(|second| {
        dripping
            .pass(1023, SECOND)
            .err()
            .map(|lapse| (second, lapse))
    });
    assert_eq!(lapse, Some((59, Lapse(Limit::MinimumRate))));
    let mut slow = RateFloor::new(1024, MINIMUM_RATE_OVER);
    assert!((0..1000).all(|_| slow.pass(1024, SECOND).is_ok()));
    // A quick beginning does not pay for a minute of nothing.
    let mut stops = RateFloor::new(1024, MINIMUM_RATE_OVER);
    for _ in 0..60 {
        stops.pass(1 << 20, SECOND).unwrap();
    }
    assert!((0..60).any(|_| stops.pass(0, SECOND).is_err()));
    let mut unwatched = RateFloor::new(0, MINIMUM_RATE_OVER);
    assert!((0..1000).all(|_| unwatched.pass(0, SECOND).is_ok()));
    let error = io::Error::from(Lapse(Limit::MinimumRate));
    assert_eq!(Lapse::of(&error), Some(Limit::MinimumRate));
    assert_eq!(Lapse::of(&io::ErrorKind::TimedOut.into()), None);
}
