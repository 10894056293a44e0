//! What clients were told, call by call.

use std::io::{self, BufRead, Write};

use serde::{Deserialize, Serialize};

/// What a key holds: a value that one write of the history wrote and no other, or nothing.
pub type State = Option<u64>;

/// Nanoseconds since the history began, at least 1: what was there before has 0.
pub type Moment = u64;

/// All calls of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// The keys' names; a call says its key's place in here. No key had an item when the history began.
    pub keys: Vec<String>,
    /// Where requests went; a call says its endpoint's place in here. Eventually consistent reads are monotone
    /// per endpoint.
    pub endpoints: Vec<String>,
    /// In any order.
    pub calls: Vec<Call>,
}

/// One call on one key, and what came of it. Reads without an answer say nothing, and are left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// Its place in [`History::keys`].
    pub key: u32,
    /// Its place in [`History::endpoints`].
    pub endpoint: u16,
    /// Whose: calls of one client follow one another.
    pub client: u32,
    /// Before its first byte was sent.
    pub began: Moment,
    /// When its answer was there, or was given up.
    pub ended: Moment,
    /// What was asked and answered.
    pub what: What,
}

/// What was asked and answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// A strongly consistent read saw this.
    StrongRead(State),
    /// An eventually consistent read saw this.
    EventualRead(State),
    /// A write.
    Write {
        /// What the key holds after it.
        new: State,
        /// What it held just before, if the write took place: by its condition, or by what the answer said. The
        /// outer `None`: not known.
        #[serde(default, skip_serializing_if = "Option::is_none", with = "known")]
        before: Option<State>,
        /// Whether it took place.
        fate: Fate,
    },
    /// A conditional write did not take place, because its condition did not hold.
    Refused {
        /// What the key had to hold.
        expected: State,
        /// What it held instead, if the answer said.
        #[serde(default, skip_serializing_if = "Option::is_none", with = "known")]
        found: Option<State>,
    },
}

/// Whether a write took place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// Acknowledged: between its begin and its end.
    Done,
    /// No answer, or one that does not tell: at any time after its begin, or never.
    Unknown,
    /// Refused: never.
    NotDone,
}

/// A state that may be unknown, so that JSON's `null` is "no item" and an absent field "not known".
mod known {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::State;

    #[expect(clippy::ref_option, reason = "serde's signature")]
    pub(super) fn serialize<S: Serializer>(known: &Option<State>, serializer: S) -> Result<S::Ok, S::Error> {
        known.unwrap_or_default().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<State>, D::Error> {
        State::deserialize(from).map(Some)
    }
}

/// The first line of a history's file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    schema: String,
    keys: Vec<String>,
    endpoints: Vec<String>,
}

/// The form's name.
const SCHEMA: &str = "weir-history/1";

/// Why a file is not a history.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// It cannot be read.
    #[error("the history cannot be read")]
    Io(#[from] io::Error),
    /// A line is not what it should be; lines count from 1.
    #[error("line {line} of the history is malformed")]
    Malformed {
        /// Which.
        line: usize,
        /// How.
        source: serde_json::Error,
    },
    /// A line's content makes no sense.
    #[error("line {line} of the history makes no sense: {problem}")]
    Invalid {
        /// Which.
        line: usize,
        /// Why.
        problem: &'static str,
    },
}

impl History {
    /// Writes it, one line per call after a header.
    ///
    /// # Errors
    /// The writer's.
    pub fn write(&self, mut to: impl Write) -> io::Result<()> {
        let header =
            Header { schema: SCHEMA.to_owned(), keys: self.keys.clone(), endpoints: self.endpoints.clone() };
        serde_json::to_writer(&mut to, &header)?;
        for call in &self.calls {
            to.write_all(b"\n")?;
            serde_json::to_writer(&mut to, call)?;
        }
        to.write_all(b"\n")
    }

    /// Reads what [`write`](Self::write) wrote.
    ///
    /// # Errors
    /// When it is no such thing.
    pub fn read(from: impl BufRead) -> Result<Self, HistoryError> {
        let mut lines = from.lines().enumerate();
        let invalid = |line, problem| HistoryError::Invalid { line, problem };
        let Some((_, header)) = lines.next() else { return Err(invalid(1, "the file is empty")) };
        let header: Header =
            serde_json::from_str(&header?).map_err(|source| HistoryError::Malformed { line: 1, source })?;
        if header.schema != SCHEMA {
            return Err(invalid(1, "it is of another schema than weir-history/1"));
        }
        let mut history = Self { keys: header.keys, endpoints: header.endpoints, calls: Vec::new() };
        for (at, text) in lines {
            let (line, text) = (at + 1, text?);
            if text.is_empty() {
                continue;
            }
            let call: Call =
                serde_json::from_str(&text).map_err(|source| HistoryError::Malformed { line, source })?;
            if call.key as usize >= history.keys.len() || call.endpoint as usize >= history.endpoints.len() {
                return Err(invalid(line, "its key or endpoint is not in the header"));
            }
            if call.began == 0 || call.ended < call.began {
                return Err(invalid(line, "it ended before it began, or began before the history"));
            }
            history.calls.push(call);
        }
        Ok(history)
    }
}
