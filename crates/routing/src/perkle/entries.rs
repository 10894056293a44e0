//! Walking over entries in order.

use super::block::View;
use super::fork::Fork;
use super::node::{Branch, Node};
use super::symbol::symbol;

/// Entries in the order of their keys: (key, value).
#[derive(Debug)]
pub struct Entries<'a> {
    /// The branches on the way.
    path: Vec<Step<'a>>,
    /// The block that is read, and which of its entries comes next.
    block: Option<(View<'a>, usize)>,
    /// What all keys of the block begin with.
    key: Vec<u8>,
}

/// A branch on the way.
#[derive(Debug)]
struct Step<'a> {
    fork: Fork,
    branch: &'a Branch,
    /// The child that comes next.
    next: usize,
    /// How many bytes of the key stand before its children.
    before: usize,
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
                Node::Branch(fork, branch) => {
                    let (fork, head) = (*fork, &branch.header.header);
                    let leaves = head.leaves_at(fork, from, base);
                    if let Some(at) = leaves
                        && head.prefix_symbol(at, base) < symbol(from, at)
                    {
                        return entries;
                    }
                    entries.key.extend_from_slice(head.before_children(fork, base));
                    let wanted = symbol(from, fork.at());
                    let place = if leaves.is_none() { fork.place(wanted) } else { None };
                    let next = match place {
                        Some(place) => place + 1,
                        None if leaves.is_some() => 0,
                        None => fork.below(wanted),
                    };
                    entries.path.push(Step { fork, branch, next, before: entries.key.len() });
                    let Some(place) = place else { return entries };
                    node = &branch.slice[place];
                    base = fork.child_base();
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
            let step = self.path.last_mut()?;
            let Some(child) = step.branch.slice.get(step.next) else {
                self.path.pop();
                continue;
            };
            step.next += 1;
            let base = step.fork.child_base();
            self.key.truncate(step.before);
            match child {
                Node::Block(block) => {
                    let view = View::of(block);
                    self.key.extend_from_slice(view.shared);
                    self.block = Some((view, 0));
                }
                Node::Branch(fork, branch) => {
                    self.key.extend_from_slice(branch.header.header.before_children(*fork, base));
                    self.path.push(Step { fork: *fork, branch, next: 0, before: self.key.len() });
                }
            }
        }
    }
}
