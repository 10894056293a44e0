//! Walking over entries in order.

use super::node::{Branch, Node, leaf_parts};
use super::symbol::symbol;

/// Entries in the order of their keys: (key, value).
#[derive(Debug)]
pub struct Entries<'a> {
    /// The branches on the way, each with the child that comes next; the bytes of `key` before its children.
    path: Vec<(&'a Branch, usize, usize)>,
    key: Vec<u8>,
    /// An entry that was found while seeking.
    first: Option<(Vec<u8>, &'a [u8])>,
}

impl<'a> Entries<'a> {
    pub(super) fn seek(root: Option<&'a Node>, from: &[u8]) -> Self {
        let mut entries = Self { path: Vec::new(), key: Vec::new(), first: None };
        let Some(mut node) = root else { return entries };
        let mut base = 0;
        loop {
            match node {
                Node::Leaf(leaf) => {
                    let (rest, value) = leaf_parts(leaf);
                    if rest >= from.get(base..).unwrap_or(&[]) {
                        entries.first = Some(([&entries.key, rest].concat(), value));
                    }
                    return entries;
                }
                Node::Branch(branch) => {
                    let head = &branch.header.header;
                    let leaves = head.leaves_at(from, base);
                    if let Some(at) = leaves
                        && head.prefix_symbol(at, base) < symbol(from, at)
                    {
                        return entries;
                    }
                    entries.key.extend_from_slice(head.before_children(base));
                    let before = entries.key.len();
                    if leaves.is_some() {
                        entries.path.push((branch, 0, before));
                        return entries;
                    }
                    let next = symbol(from, usize::from(head.at));
                    let Some(place) = head.place(next) else {
                        entries.path.push((branch, head.below(next), before));
                        return entries;
                    };
                    entries.path.push((branch, place + 1, before));
                    node = &branch.slice[place];
                    base = head.child_base();
                }
            }
        }
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = (Vec<u8>, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        loop {
            let (branch, next, before) = self.path.last_mut()?;
            let (branch, before) = (*branch, *before);
            let Some(child) = branch.slice.get(*next) else {
                self.path.pop();
                continue;
            };
            *next += 1;
            self.key.truncate(before);
            match child {
                Node::Leaf(leaf) => {
                    let (rest, value) = leaf_parts(leaf);
                    return Some(([&self.key, rest].concat(), value));
                }
                Node::Branch(inner) => {
                    let base = branch.header.header.child_base();
                    self.key.extend_from_slice(inner.header.header.before_children(base));
                    self.path.push((inner, 0, self.key.len()));
                }
            }
        }
    }
}
