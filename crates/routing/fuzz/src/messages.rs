//! Whatever arrives from another server as an entry, a question or an answer is read or refused, without a
//! panic, and never makes a map hold two routes of a key.

use arbitrary::{Result, Unstructured};
use bytes::Bytes;
use routing::perkle::Region;
use routing::{
    Answer, Comparison, KeyRange, Member, MemberKind, PartitionMap, Question, Route, RouteEntry, RouteVersion,
};
use units::{NodeId, PartitionId, TableId, Term, Zone};

/// Reads an entry and some messages.
pub(crate) fn run(bytes: &[u8]) {
    entry(bytes);
    let mut input = Unstructured::new(bytes);
    // An input that ends too early was too short for a message.
    let _ = messages(&mut input);
}

/// The three ways to read an entry agree.
fn entry(bytes: &[u8]) {
    let (start, value) =
        bytes.split_at(bytes.len().min(bytes.first().map_or(0, |first| usize::from(first % 4))));
    let entry = RouteEntry { start, value };
    let (version, holds) = (entry.version(), entry.holds(&[0x80, 1]));
    if let Some(route) = entry.route(TableId::new(1)) {
        assert_eq!(version, Some((route.version, route.leader.is_some(), route.partition)));
        assert_eq!(holds, route.holds(&[0x80, 1]));
    }
}

fn messages(input: &mut Unstructured<'_>) -> Result<()> {
    let mut map = PartitionMap::default();
    for _ in 0..input.int_in_range(0..=40)? {
        map.learn(&route(input)?);
    }
    let mut walk = Comparison::new(map.clone());
    while !input.is_empty() {
        if let Some(question) = question(input)? {
            let answer = map.answer(&question);
            // What a map says of itself is no news to it.
            let known = Comparison::new(map.clone()).take(&question, answer);
            assert!(known.theirs.iter().all(|route| !map.clone().would_learn(route)));
        }
        let Some(asked) = walk.questions(1).pop() else { break };
        let findings = walk.take(&asked, answer(input)?);
        for route in &findings.theirs {
            map.learn(route);
        }
        let table = map.table(TableId::new(1)).collect::<Vec<_>>();
        assert!(
            table.windows(2).all(|pair| pair[0]
                .range
                .end
                .as_ref()
                .is_some_and(|end| *end <= pair[1].range.start))
        );
    }
    Ok(())
}

fn route(input: &mut Unstructured<'_>) -> Result<Route> {
    let (first, length): (u8, u8) = (input.arbitrary()?, input.int_in_range(1..=20)?);
    let member = Member {
        node: NodeId::new(input.int_in_range(1..=3)?),
        zone: Zone::new(0),
        kind: MemberKind::Storage,
    };
    Ok(Route {
        table: TableId::new(1),
        partition: PartitionId::new(first.into()),
        range: KeyRange {
            start: Bytes::copy_from_slice(&[first]),
            end: first.checked_add(length).map(|end| Bytes::copy_from_slice(&[end])),
        },
        members: vec![member],
        leader: Some(member.node),
        version: RouteVersion { configuration: input.int_in_range(0..=3)?, term: Term::new(1) },
    })
}

fn question(input: &mut Unstructured<'_>) -> Result<Option<Question>> {
    let nibbles = usize::from(input.int_in_range(0..=20_u8)?);
    let mut bytes = input.bytes(nibbles.div_ceil(2).min(input.len()))?.to_vec();
    // All entries are of table 1.
    let table = 1_u64.to_be_bytes();
    let known = bytes.len().min(table.len());
    bytes[..known].copy_from_slice(&table[..known]);
    let Some(region) = Region::from_parts(&bytes, nibbles, input.arbitrary()?) else { return Ok(None) };
    Ok(Some(Question { region, parts: input.arbitrary()? }))
}

fn answer(input: &mut Unstructured<'_>) -> Result<Answer> {
    Ok(Answer { descend: input.arbitrary()?, settled: input.arbitrary()?, entries: input.arbitrary()? })
}
