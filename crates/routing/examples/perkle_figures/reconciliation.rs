//! Anti-entropy between two maps, counted in bytes of the messages that MemDS servers exchange
//! (`crates/wire/proto/routing.proto`).

use routing::{Answer, Comparison, PartitionMap, Question, Route};

/// Questions of a message, as MemDS has them.
const QUESTIONS: usize = 64;
/// HTTP/2 and gRPC frame a message, and name the call: some bytes more for each.
const FRAME: usize = 100;

/// What went both ways.
#[derive(Default)]
pub(crate) struct Sent {
    pub(crate) bytes: usize,
    pub(crate) messages: usize,
    pub(crate) questions: usize,
}

/// Compares until nothing is left to ask, and tells each server what it lacks.
pub(crate) fn reconcile(one: &mut PartitionMap, other: &mut PartitionMap) -> Sent {
    let mut walk = Comparison::new(one.clone());
    let mut sent = Sent::default();
    loop {
        let questions = walk.questions(QUESTIONS);
        if questions.is_empty() {
            return sent;
        }
        sent.messages += 1;
        sent.bytes += 2 * FRAME;
        sent.questions += questions.len();
        for question in questions {
            let answer = other.answer(&question);
            sent.bytes += delimited(question_bytes(&question)) + delimited(answer_bytes(&answer));
            let findings = walk.take(&question, answer);
            assert_eq!(findings.malformed, 0);
            for route in findings.theirs {
                one.learn(&route);
            }
            for route in findings.ours {
                sent.bytes += delimited(route_bytes(&route));
                other.learn(&route);
            }
        }
    }
}

/// Bytes of a full copy: every entry in an answer.
pub(crate) fn copy(map: &PartitionMap) -> usize {
    map.tree().entries().map(|(key, value)| delimited(key.len()) + delimited(value.len())).sum()
}

fn question_bytes(question: &Question) -> usize {
    let (region, nibbles, ends) = question.region.to_parts();
    let parts = if question.parts.is_empty() { 0 } else { delimited(question.parts.len() * 8) };
    delimited(region.len()) + number(nibbles as u64) + usize::from(ends) * 2 + parts
}

fn answer_bytes(answer: &Answer) -> usize {
    let entries = answer.entries.iter().map(|(key, value)| delimited(key.len()) + delimited(value.len()));
    number(answer.descend.into()) + number(answer.settled.into()) + entries.sum::<usize>()
}

fn route_bytes(route: &Route) -> usize {
    let members = route
        .members
        .iter()
        .map(|member| delimited(number(member.node.get()) + number(member.zone.get().into())));
    let numbers = [
        route.table.get(),
        route.partition.get(),
        route.leader.map_or(0, |leader| leader.get()),
        route.version.configuration,
        route.version.term.get(),
    ];
    delimited(route.range.start.len())
        + route.range.end.as_ref().map_or(0, |end| delimited(end.len()))
        + members.sum::<usize>()
        + numbers.into_iter().map(number).sum::<usize>()
}

/// A field with a length and so many bytes.
fn delimited(bytes: usize) -> usize {
    1 + varint(bytes as u64) + bytes
}

/// A field with a number; zeros are not sent.
fn number(number: u64) -> usize {
    if number == 0 { 0 } else { 1 + varint(number) }
}

fn varint(number: u64) -> usize {
    (u64::BITS - number.leading_zeros()).div_ceil(7).max(1) as usize
}
