use proptest::prelude::*;

use super::*;

const BACKGROUND_LIFE: Duration = ms(100);
const SILENT_LIFE: Duration = ms(20);
const WAITED_LIFE: Duration = ms(250);
const START: Timestamp = Timestamp::from_nanos(3_600_000_000_000);

#[test]
fn a_background_lookup_lingers_for_others_and_then_all_go_together() {
    let mut queue = LookupQueue::with_patience(Patience::default());
    assert_eq!(queue.push(1, Urgency::Background, START), pushed(true));
    assert_eq!(queue.push(2, Urgency::Background, START + ms(1)), pushed(false));

    assert_eq!(queue.next(START + ms(1)).0, Next::Linger(LINGER - ms(1)));
    let Next::Send(batch) = queue.next(START + LINGER).0 else { panic!("they are due") };
    assert_eq!(batch.lookups, [1, 2]);
}

#[test]
fn a_busy_sender_looks_on_its_own_and_is_not_woken() {
    let mut queue = LookupQueue::with_patience(Patience::default());
    assert_eq!(queue.push(1, Urgency::Background, START), pushed(true));
    assert!(matches!(queue.next(START + LINGER).0, Next::Send(_)));
    assert_eq!(queue.next(START + LINGER).0, Next::Linger(LINGER));

    assert_eq!(queue.push(2, Urgency::Background, START + LINGER + ms(1)), pushed(false));
    assert!(!queue.answered());

    assert!(matches!(queue.next(START + LINGER * 2).0, Next::Send(_)));
    assert_eq!(queue.next(START + LINGER * 3).0, Next::Wait);
    assert_eq!(queue.push(3, Urgency::Background, START + LINGER * 3), pushed(true));
}

#[test]
fn a_lookup_that_is_waited_for_goes_at_once_and_takes_the_others_along() {
    let mut queue = LookupQueue::with_patience(Patience::default());
    let _ = queue.push(1, Urgency::Background, START);

    assert_eq!(queue.push(2, Urgency::Waited, START), pushed(true));

    assert_eq!(queue.next(START).0, Next::Send(Batch { lookups: vec![2, 1], deadline: WAITED_LIFE }));
}

#[test]
fn a_full_batch_does_not_linger() {
    let mut queue = LookupQueue::with_patience(Patience::default());
    let woken: Vec<bool> =
        (0..MAX_BATCH).map(|lookup| queue.push(lookup, Urgency::Background, START).wake).collect();

    assert!(woken[MAX_BATCH - 1]);
    let Next::Send(batch) = queue.next(START).0 else { panic!("it is full") };
    assert_eq!(batch.lookups.len(), MAX_BATCH);
    assert_eq!(batch.deadline, BACKGROUND_LIFE);
}

#[test]
fn while_four_batches_are_unanswered_lookups_gather() {
    let mut queue = LookupQueue::with_patience(Patience::default());
    for lookup in 0..MAX_UNANSWERED {
        let _ = queue.push(lookup, Urgency::Waited, START);
        assert!(matches!(queue.next(START).0, Next::Send(_)));
    }
    for lookup in 10..13 {
        let _ = queue.push(lookup, Urgency::Waited, START);
        assert_eq!(queue.next(START).0, Next::Wait);
    }

    assert!(queue.answered());

    let Next::Send(batch) = queue.next(START).0 else { panic!("one was answered") };
    assert_eq!(batch.lookups, [10, 11, 12]);
}

#[test]
fn an_old_background_lookup_is_never_sent() {
    let mut queue = LookupQueue::with_patience(Patience::default());
    let _ = queue.push(1, Urgency::Background, START);
    let _ = queue.push(2, Urgency::Background, START + ms(1));

    let (next, expired) = queue.next(START + BACKGROUND_LIFE);

    assert_eq!(expired, [1]);
    assert_eq!(next, Next::Send(Batch { lookups: vec![2], deadline: ms(1) }));
}

#[test]
fn while_the_server_is_silent_background_lookups_live_shorter() {
    let mut queue = LookupQueue::with_patience(Patience::default());
    queue.server_is_silent(true);
    let _ = queue.push(1, Urgency::Background, START);
    let _ = queue.push(2, Urgency::Background, START + ms(19));

    let (next, expired) = queue.next(START + SILENT_LIFE);
    assert_eq!(expired, [1]);
    assert_eq!(next, Next::Send(Batch { lookups: vec![2], deadline: ms(19) }));

    queue.server_is_silent(false);
    let _ = queue.push(3, Urgency::Background, START);
    assert!(queue.next(START + SILENT_LIFE).1.is_empty());
}

#[test]
fn a_full_queue_drops_its_oldest_background_lookup() {
    let mut queue = LookupQueue::with_patience(Patience::default());
    let _ = queue.push(0, Urgency::Waited, START);
    for lookup in 1..MAX_QUEUED {
        assert_eq!(queue.push(lookup, Urgency::Background, START).dropped, None);
    }
    assert_eq!(queue.push(MAX_QUEUED, Urgency::Background, START).dropped, Some(1));
    assert_eq!(queue.push(MAX_QUEUED + 1, Urgency::Waited, START).dropped, Some(2));
}

#[test]
fn a_queue_full_of_what_is_waited_for_drops_the_oldest_of_that() {
    let mut queue = LookupQueue::with_patience(Patience::default());
    for lookup in 0..MAX_QUEUED {
        let _ = queue.push(lookup, Urgency::Waited, START);
    }
    assert_eq!(queue.push(MAX_QUEUED, Urgency::Background, START).dropped, Some(0));
}

/// What happens to a queue.
#[derive(Clone, Debug)]
enum Event {
    Push(Urgency, u16),
    Look,
    Answer,
    Pass(Duration),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        3 => (any::<bool>(), 1_u16..3000).prop_map(|(waited, count)| {
            Event::Push(if waited { Urgency::Waited } else { Urgency::Background }, count)
        }),
        4 => Just(Event::Look),
        2 => Just(Event::Answer),
        2 => (0_u64..120).prop_map(|millis| Event::Pass(ms(millis))),
    ];
    proptest::collection::vec(event, 0..60)
}

proptest! {
    #[test]
    fn every_lookup_is_sent_dropped_or_expired_once_and_bounds_hold(events in events()) {
        let mut queue = LookupQueue::with_patience(Patience::default());
        let (mut now, mut pushed, mut unanswered) = (START, Vec::new(), 0);
        let mut seen = Vec::new();
        for event in events {
            match event {
                Event::Push(urgency, count) => for _ in 0..count {
                    let number = pushed.len();
                    pushed.push((urgency, now));
                    seen.extend(queue.push(number, urgency, now).dropped);
                },
                Event::Look => {
                    let (next, expired) = queue.next(now);
                    seen.extend(expired);
                    if let Next::Send(batch) = next {
                        unanswered += 1;
                        prop_assert!(!batch.lookups.is_empty() && batch.lookups.len() <= MAX_BATCH);
                        for number in &batch.lookups {
                            let (urgency, since) = pushed[*number];
                            let life = if urgency == Urgency::Waited { WAITED_LIFE } else { BACKGROUND_LIFE };
                            prop_assert!(now.since(since) < life);
                        }
                        prop_assert!(!batch.deadline.is_zero() && batch.deadline <= WAITED_LIFE);
                        seen.extend(batch.lookups);
                    }
                }
                Event::Answer => if unanswered > 0 {
                    unanswered -= 1;
                    let _wake = queue.answered();
                },
                Event::Pass(time) => now = now + time,
            }
            prop_assert!(queue.len() <= MAX_QUEUED);
            prop_assert!(unanswered <= MAX_UNANSWERED);
        }
        // What is left is sent, or expires.
        while queue.len() > 0 {
            (0..std::mem::take(&mut unanswered)).for_each(|_| { let _wake = queue.answered(); });
            now = now + LINGER;
            let (next, expired) = queue.next(now);
            seen.extend(expired);
            if let Next::Send(batch) = next {
                unanswered += 1;
                seen.extend(batch.lookups);
            }
        }
        seen.sort_unstable();
        prop_assert_eq!(seen, (0..pushed.len()).collect::<Vec<_>>());
    }

    /// A sender that only looks when it is woken, or when its lingering ends, never leaves anything behind.
    #[test]
    fn a_sender_that_waits_to_be_woken_forgets_nothing(events in events()) {
        let mut queue = LookupQueue::with_patience(Patience::default());
        let (mut now, mut unanswered, mut number) = (START, 0, 0);
        let mut sender_waits = true;
        for event in events {
            let woken = match event {
                Event::Push(urgency, count) => (0..count).fold(false, |woken, _| {
                    number += 1;
                    queue.push(number, urgency, now).wake | woken
                }),
                Event::Answer if unanswered > 0 => {
                    unanswered -= 1;
                    queue.answered()
                }
                Event::Pass(time) => {
                    now = now + time;
                    // Lingering ends.
                    !sender_waits
                }
                Event::Answer | Event::Look => false,
            };
            if woken {
                sender_waits = loop {
                    match queue.next(now).0 {
                        Next::Send(_) => unanswered += 1,
                        Next::Wait => break true,
                        Next::Linger(_) => break false,
                    }
                };
            }
            let stuck = queue.len() > 0 && sender_waits && unanswered < MAX_UNANSWERED;
            prop_assert!(!stuck, "{} wait, and nobody looks", queue.len());
        }
    }
}

fn pushed<L>(wake: bool) -> Pushed<L> {
    Pushed { wake, dropped: None }
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
