//! Walking over entries in order.

use super::block::View;
use super::node::{Branch, Node};
use super::symbol::symbol;

/// Entries in the order of their keys: (key, value).
#[derive(Debug)]
pub struct Entries<'a> {
    /// The branches on the way, each with the child that comes next, and how many bytes of `key` stand before
    /// its children.
    path: Vec<(&'a Branch, usize, usize)>,
    /// The block that is read, and which of its entries comes next.
    block: Option<(View<'a>, usize)>,
    /// What all keys of the block begin with.
    key: Vec<u8>,
}

impl<'a> Entries<'a> {
    pub(super) fn seek(root: Option<&'a Node>, from: &[u8]) -> Self {
        let mut entries = Self { path: Vec::new(), block: None, key: Vec::new() };
        let Some(mut node) = root else { return entries };
        let mut base = 0;
        loop {
            match node {
                Node::Block(block) => {
                    let view = View::of(block);
                    let first = view.search(from.get(base..).unwrap_or(&[])).unwrap_or_else(|place| place);
                    entries.key.extend_from_slice(view.shared);
                    entries.block = Some((view, first));
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
        loop {
            if let Some((view, next)) = &mut self.block {
                if *next < view.len() {
                    let (rest, value) = view.entry(*next);
                    *next += 1;
                    return Some(([&self.key, rest].concat(), value));
                }
                self.block = None;
            }
            let (branch, next, before) = self.path.last_mut()?;
            let (branch, before) = (*branch, *before);
            let Some(child) = branch.slice.get(*next) else {
                self.path.pop();
                continue;
            };
            *next += 1;
            self.key.truncate(before);
            match child {
                Node::Block(block) => {
                    let view = View::of(block);
                    self.key.extend_from_slice(view.shared);
                    self.block = Some((view, 0));
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
