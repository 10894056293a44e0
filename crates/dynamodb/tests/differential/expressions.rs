//! Random expressions with the names and values that they use.

use rand::Rng;
use serde_json::{Map, Value, json};

use crate::schema::Table;
use crate::values::{self, ATTRIBUTES};
use crate::{chance, pick};

/// Attributes that may be written without a placeholder.
const PLAIN: [&str; 9] = ["a", "b", "c", "d", "m", "l", "ss", "ns", "x1"];

/// Writes the expressions of one request, which share names and values.
#[derive(Default)]
pub(crate) struct Writer {
    names: Map<String, Value>,
    values: Map<String, Value>,
}

impl Writer {
    /// The members that the expressions need.
    pub(crate) fn finish(self, request: &mut Map<String, Value>) {
        if !self.names.is_empty() {
            request.insert("ExpressionAttributeNames".to_owned(), self.names.into());
        }
        if !self.values.is_empty() {
            request.insert("ExpressionAttributeValues".to_owned(), self.values.into());
        }
    }

    pub(crate) fn name(&mut self, attribute: &str) -> String {
        let known = self.names.iter().find(|(_, name)| *name == attribute);
        if let Some((placeholder, _)) = known {
            return placeholder.clone();
        }
        let placeholder = format!("#n{}", self.names.len());
        self.names.insert(placeholder.clone(), attribute.into());
        placeholder
    }

    pub(crate) fn value(&mut self, value: Value) -> String {
        let placeholder = format!(":v{}", self.values.len());
        self.values.insert(placeholder.clone(), value);
        placeholder
    }

    fn attribute(&mut self, rng: &mut impl Rng) -> String {
        if chance(rng, 70) {
            return (*pick(rng, &PLAIN)).to_owned();
        }
        let attribute = *pick(rng, &ATTRIBUTES);
        self.name(attribute)
    }

    pub(crate) fn path(&mut self, rng: &mut impl Rng) -> String {
        let mut path = self.attribute(rng);
        if path == "m" || chance(rng, 15) {
            let inner = self.attribute(rng);
            path = format!("{path}.{inner}");
        }
        if path == "l" || chance(rng, 8) {
            path = format!("{path}[{}]", rng.random_range(0..4));
        }
        path
    }

    fn operand(&mut self, rng: &mut impl Rng) -> String {
        match rng.random_range(0..10) {
            0..=4 => self.path(rng),
            5 => format!("size({})", self.path(rng)),
            _ => {
                let value = if chance(rng, 70) { values::scalar(rng) } else { values::value(rng, 1) };
                self.value(value)
            }
        }
    }

    pub(crate) fn condition(&mut self, rng: &mut impl Rng, depth: u32) -> String {
        if depth > 0 && chance(rng, 45) {
            let left = self.condition(rng, depth - 1);
            return match rng.random_range(0..5) {
                0 | 1 => format!("{left} AND {}", self.condition(rng, depth - 1)),
                2 => format!("{left} OR {}", self.condition(rng, depth - 1)),
                3 => format!("NOT ({left})"),
                _ => format!("({left} OR {})", self.condition(rng, depth - 1)),
            };
        }
        match rng.random_range(0..14) {
            0..=5 => {
                let comparator = *pick(rng, &["=", "<>", "<", "<=", ">", ">="]);
                let left = self.operand(rng);
                format!("{left} {comparator} {}", self.operand(rng))
            }
            6 => format!("attribute_exists({})", self.path(rng)),
            7 => format!("attribute_not_exists({})", self.path(rng)),
            8 => {
                let kind = *pick(rng, &["S", "N", "B", "BOOL", "NULL", "SS", "NS", "BS", "L", "M"]);
                let path = self.path(rng);
                format!("attribute_type({path}, {})", self.value(json!({ "S": kind })))
            }
            9 => {
                let path = self.path(rng);
                let prefix = if chance(rng, 80) { json!({ "S": "a" }) } else { json!({ "B": "YQ==" }) };
                format!("begins_with({path}, {})", self.value(prefix))
            }
            10 => {
                let path = self.path(rng);
                let part = values::scalar(rng);
                format!("contains({path}, {})", self.value(part))
            }
            11 | 12 => {
                let operand = self.operand(rng);
                let low = values::scalar(rng);
                let high = values::scalar(rng);
                let (low, high) = (self.value(low), self.value(high));
                format!("{operand} BETWEEN {low} AND {high}")
            }
            _ => {
                let operand = self.operand(rng);
                let count = rng.random_range(1..4);
                let list: Vec<String> = (0..count).map(|_| self.operand(rng)).collect();
                format!("{operand} IN ({})", list.join(", "))
            }
        }
    }

    pub(crate) fn projection(&mut self, rng: &mut impl Rng) -> String {
        let count = rng.random_range(1..4);
        let mut paths: Vec<String> = (0..count).map(|_| self.path(rng)).collect();
        if chance(rng, 30) {
            paths.push("pk".to_owned());
        }
        paths.join(", ")
    }

    pub(crate) fn update(&mut self, rng: &mut impl Rng) -> String {
        let mut clauses = Vec::new();
        if chance(rng, 65) {
            let count = rng.random_range(1..3);
            let actions: Vec<String> = (0..count)
                .map(|_| {
                    let path = self.path(rng);
                    format!("{path} = {}", self.set_value(rng))
                })
                .collect();
            clauses.push(format!("SET {}", actions.join(", ")));
        }
        if chance(rng, 30) {
            clauses.push(format!("REMOVE {}", self.path(rng)));
        }
        if chance(rng, 30) {
            let (path, value) = if chance(rng, 60) {
                (self.path(rng), values::number(rng))
            } else {
                ("ss".to_owned(), values::set(rng))
            };
            clauses.push(format!("ADD {path} {}", self.value(value)));
        }
        if clauses.is_empty() || chance(rng, 15) {
            let path = if chance(rng, 80) { "ss".to_owned() } else { self.path(rng) };
            let value = values::set(rng);
            clauses.push(format!("DELETE {path} {}", self.value(value)));
        }
        clauses.join(" ")
    }

    fn set_operand(&mut self, rng: &mut impl Rng) -> String {
        match rng.random_range(0..6) {
            0 | 1 => self.path(rng),
            2 => {
                let path = self.path(rng);
                let fallback = values::value(rng, 1);
                format!("if_not_exists({path}, {})", self.value(fallback))
            }
            _ => {
                let number = values::number(rng);
                self.value(number)
            }
        }
    }

    fn set_value(&mut self, rng: &mut impl Rng) -> String {
        match rng.random_range(0..10) {
            0..=4 => {
                let value = values::value(rng, 2);
                self.value(value)
            }
            5 => self.set_operand(rng),
            6 | 7 => {
                let sign = *pick(rng, &["+", "-"]);
                let left = self.set_operand(rng);
                format!("{left} {sign} {}", self.set_operand(rng))
            }
            _ => {
                let path = self.path(rng);
                let list = values::value(rng, 1);
                let list = self.value(json!({ "L": [list] }));
                if chance(rng, 50) {
                    format!("list_append({path}, {list})")
                } else {
                    format!("list_append({list}, {path})")
                }
            }
        }
    }

    pub(crate) fn key_condition(&mut self, rng: &mut impl Rng, table: &Table) -> String {
        let (partition, kind) = table.partition;
        let value = values::key_value(rng, kind);
        let partition = format!("{partition} = {}", self.value(value));
        let Some((sort, kind)) = table.sort.filter(|_| chance(rng, 60)) else {
            return partition;
        };
        let low = values::key_value(rng, kind);
        let low = self.value(low);
        let sort = match rng.random_range(0..7) {
            5 => {
                let high = values::key_value(rng, kind);
                format!("{sort} BETWEEN {low} AND {}", self.value(high))
            }
            6 => format!("begins_with({sort}, {low})"),
            index => format!("{sort} {} {low}", ["=", "<", "<=", ">", ">="][index]),
        };
        if chance(rng, 90) { format!("{partition} AND {sort}") } else { format!("({sort}) AND {partition}") }
    }
}
