//! The grammar: from lexemes to a tree of what is written, before names, functions and operands are
//! looked at (`lower.rs` does that: DynamoDB reports syntax errors first).
//!
//! Depth is bounded. Conditions are read with a stack of our own; operands recurse at most
//! [`MAX_NESTING`] deep, and no deeper tree than that comes out.

use winnow::combinator::{eof, opt};
use winnow::error::ParserError;
use winnow::prelude::*;
use winnow::stream::{Stream, TokenSlice};
use winnow::token::any;

use super::ast::{Comparator, Section};
use super::lexer::{Lexeme, Token};

/// How deep a tree may be, each level being a group that joins conditions, a `NOT`, an arithmetic group or
/// a function. DynamoDB's 300 operators would allow more; 100 keep every walk over a tree within half of a
/// thread's 2 MB in a debug build, and nobody writes a fifth of that.
const MAX_NESTING: usize = 100;

type Tokens<'t, 'l> = TokenSlice<'l, Lexeme<'t>>;

/// A document path as written.
pub(super) type WrittenPath<'t> = Vec<PathPart<'t>>;

/// A part of a path as written.
#[derive(Clone, Copy, Debug)]
pub(super) enum PathPart<'t> {
    Name(&'t str),
    Placeholder(&'t str),
    Index(&'t str),
}

/// An operand as written.
#[derive(Debug)]
pub(super) enum WrittenOperand<'t> {
    Value(&'t str),
    Path(WrittenPath<'t>),
    Call(WrittenCall<'t>),
    /// `left + right` or `left - right`: only in a `SET`.
    Arithmetic {
        plus: bool,
        left: Box<WrittenOperand<'t>>,
        right: Box<WrittenOperand<'t>>,
    },
}

/// A function with its operands.
#[derive(Debug)]
pub(super) struct WrittenCall<'t> {
    pub(super) function: &'t str,
    pub(super) operands: Vec<WrittenOperand<'t>>,
}

/// A condition as written; parentheses have done their work.
#[derive(Debug)]
pub(super) enum WrittenCondition<'t> {
    And(Vec<WrittenCondition<'t>>),
    Or(Vec<WrittenCondition<'t>>),
    Not(Box<WrittenCondition<'t>>),
    Compare { left: WrittenOperand<'t>, comparator: Comparator, right: WrittenOperand<'t> },
    Between { operand: WrittenOperand<'t>, lower: WrittenOperand<'t>, upper: WrittenOperand<'t> },
    In { operand: WrittenOperand<'t>, list: Vec<WrittenOperand<'t>> },
    Call(WrittenCall<'t>),
}

/// A clause of an update as written.
#[derive(Debug)]
pub(super) struct WrittenClause<'t> {
    pub(super) section: Section,
    /// Each action's path, and what follows it (nothing after `REMOVE`).
    pub(super) actions: Vec<(WrittenPath<'t>, Option<WrittenOperand<'t>>)>,
}

/// Why lexemes are no expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// Reading stopped with so many lexemes left.
    Syntax { remaining: usize },
    /// `((a = b))`
    RedundantParentheses,
    /// Deeper than [`MAX_NESTING`].
    TooDeep,
}

impl<I: Stream> ParserError<I> for Failure {
    type Inner = Self;

    fn from_input(input: &I) -> Self {
        Self::Syntax { remaining: input.eof_offset() }
    }

    fn into_inner(self) -> Result<Self, Self> {
        Ok(self)
    }

    fn is_backtrack(&self) -> bool {
        matches!(self, Self::Syntax { .. })
    }
}

/// Reads all of `lexemes` as a condition.
pub(super) fn condition<'t>(lexemes: &[Lexeme<'t>]) -> Result<WrittenCondition<'t>, Failure> {
    let tokens = &mut TokenSlice::new(lexemes);
    let condition = any_condition(tokens)?;
    eof.parse_next(tokens)?;
    Ok(condition)
}

/// Reads all of `lexemes` as a projection.
pub(super) fn projection<'t>(lexemes: &[Lexeme<'t>]) -> Result<Vec<WrittenPath<'t>>, Failure> {
    let tokens = &mut TokenSlice::new(lexemes);
    let paths = separated_by_commas(tokens, path)?;
    eof.parse_next(tokens)?;
    Ok(paths)
}

/// Reads all of `lexemes` as an update.
pub(super) fn update<'t>(lexemes: &[Lexeme<'t>]) -> Result<Vec<WrittenClause<'t>>, Failure> {
    let tokens = &mut TokenSlice::new(lexemes);
    let mut clauses = Vec::new();
    while clauses.is_empty() || !tokens.is_empty() {
        let section = any
            .verify_map(|lexeme: &Lexeme<'_>| match lexeme.token {
                Token::Set => Some(Section::Set),
                Token::Remove => Some(Section::Remove),
                Token::Add => Some(Section::Add),
                Token::Delete => Some(Section::Delete),
                _ => None,
            })
            .parse_next(tokens)?;
        let actions = separated_by_commas(tokens, |tokens| action(tokens, section))?;
        clauses.push(WrittenClause { section, actions });
    }
    Ok(clauses)
}

fn action<'t>(
    tokens: &mut Tokens<'t, '_>,
    section: Section,
) -> Result<(WrittenPath<'t>, Option<WrittenOperand<'t>>), Failure> {
    let path = path(tokens)?;
    let operand = match section {
        Section::Remove => None,
        Section::Add | Section::Delete => {
            Some(WrittenOperand::Value(expect(tokens, Token::ValuePlaceholder)?.text))
        }
        Section::Set => {
            expect(tokens, Token::Equal)?;
            Some(set_value(tokens, 0)?.0)
        }
    };
    Ok((path, operand))
}

/// `operand`, `operand + operand` or `operand - operand`; and whether it is just a group in parentheses.
fn set_value<'t>(tokens: &mut Tokens<'t, '_>, depth: usize) -> Result<(WrittenOperand<'t>, bool), Failure> {
    let (left, is_group) = set_operand(tokens, depth)?;
    let plus = match peek(tokens) {
        Some(Token::Plus) => true,
        Some(Token::Minus) => false,
        _ => return Ok((left, is_group)),
    };
    any.void().parse_next(tokens)?;
    let (right, _) = set_operand(tokens, depth)?;
    Ok((WrittenOperand::Arithmetic { plus, left: Box::new(left), right: Box::new(right) }, false))
}

fn set_operand<'t>(tokens: &mut Tokens<'t, '_>, depth: usize) -> Result<(WrittenOperand<'t>, bool), Failure> {
    if !accept(tokens, Token::Open)? {
        return Ok((simple_operand(tokens, depth, set_argument)?, false));
    }
    if depth >= MAX_NESTING {
        return Err(Failure::TooDeep);
    }
    let (value, is_group) = set_value(tokens, depth + 1)?;
    expect(tokens, Token::Close)?;
    if is_group { Err(Failure::RedundantParentheses) } else { Ok((value, true)) }
}

fn set_argument<'t>(tokens: &mut Tokens<'t, '_>, depth: usize) -> Result<WrittenOperand<'t>, Failure> {
    set_operand(tokens, depth).map(|(operand, _)| operand)
}

/// What stands between an opening parenthesis (or the start) and its closing one.
#[derive(Default)]
struct Group<'t> {
    /// Complete terms of the `OR`.
    alternatives: Vec<Term<'t>>,
    /// Complete terms of the current `AND`.
    terms: Vec<Term<'t>>,
    /// `NOT`s before the current term.
    negations: usize,
}

struct Term<'t> {
    condition: WrittenCondition<'t>,
    depth: usize,
    /// Whether parentheses stand directly around it.
    parenthesised: bool,
}

impl<'t> Group<'t> {
    fn is_fresh(&self) -> bool {
        self.alternatives.is_empty() && self.terms.is_empty() && self.negations == 0
    }

    /// Adds a term, with the `NOT`s before it.
    fn push(&mut self, mut term: Term<'t>) -> Result<(), Failure> {
        for _ in 0..std::mem::take(&mut self.negations) {
            term = Term {
                condition: WrittenCondition::Not(Box::new(term.condition)),
                depth: deeper(term.depth)?,
                parenthesised: false,
            };
        }
        self.terms.push(term);
        Ok(())
    }

    /// Ends the current `AND`.
    fn end_alternative(&mut self) -> Result<(), Failure> {
        let terms = std::mem::take(&mut self.terms);
        self.alternatives.push(join(terms, WrittenCondition::And)?);
        Ok(())
    }

    fn finish(self) -> Result<Term<'t>, Failure> {
        join(self.alternatives, WrittenCondition::Or)
    }
}

/// One term is itself; several are joined.
fn join<'t>(
    mut terms: Vec<Term<'t>>,
    joined: impl FnOnce(Vec<WrittenCondition<'t>>) -> WrittenCondition<'t>,
) -> Result<Term<'t>, Failure> {
    if terms.len() == 1 {
        return Ok(terms.remove(0));
    }
    let depth = deeper(terms.iter().map(|term| term.depth).max().unwrap_or_default())?;
    let condition = joined(terms.into_iter().map(|term| term.condition).collect());
    Ok(Term { condition, depth, parenthesised: false })
}

fn deeper(depth: usize) -> Result<usize, Failure> {
    if depth >= MAX_NESTING { Err(Failure::TooDeep) } else { Ok(depth + 1) }
}

fn any_condition<'t>(tokens: &mut Tokens<'t, '_>) -> Result<WrittenCondition<'t>, Failure> {
    let mut outer: Vec<Group<'t>> = Vec::new();
    let mut group = Group::default();
    loop {
        loop {
            if accept(tokens, Token::Not)? {
                group.negations += 1;
            } else if accept(tokens, Token::Open)? {
                outer.push(std::mem::take(&mut group));
            } else {
                break;
            }
        }
        let mut term = predicate(tokens, &mut group, &mut outer)?;
        // After a term: another one, or the end of its group, which is a term of the group around it.
        loop {
            group.push(term)?;
            if accept(tokens, Token::And)? {
                break;
            }
            group.end_alternative()?;
            if accept(tokens, Token::Or)? {
                break;
            }
            let Some(around) = outer.pop() else {
                return Ok(group.finish()?.condition);
            };
            expect(tokens, Token::Close)?;
            term = std::mem::replace(&mut group, around).finish()?;
            if term.parenthesised {
                return Err(Failure::RedundantParentheses);
            }
            term.parenthesised = true;
        }
    }
}

/// One comparison or function. An operand may stand in parentheses, which look like a group's until it
/// is followed by the closing one.
fn predicate<'t>(
    tokens: &mut Tokens<'t, '_>,
    group: &mut Group<'t>,
    outer: &mut Vec<Group<'t>>,
) -> Result<Term<'t>, Failure> {
    let operand = simple_operand(tokens, 0, condition_operand)?;
    let mut parenthesised = false;
    while peek(tokens) == Some(Token::Close) && group.is_fresh() {
        let Some(around) = outer.pop() else { break };
        expect(tokens, Token::Close)?;
        *group = around;
        if parenthesised {
            return Err(Failure::RedundantParentheses);
        }
        parenthesised = true;
    }
    let comparator = match peek(tokens) {
        Some(Token::Equal) => Comparator::Equal,
        Some(Token::NotEqual) => Comparator::NotEqual,
        Some(Token::Less) => Comparator::Less,
        Some(Token::LessOrEqual) => Comparator::LessOrEqual,
        Some(Token::Greater) => Comparator::Greater,
        Some(Token::GreaterOrEqual) => Comparator::GreaterOrEqual,
        _ => return predicate_without_comparator(tokens, operand, parenthesised),
    };
    any.void().parse_next(tokens)?;
    let right = condition_operand(tokens, 0)?;
    let condition = WrittenCondition::Compare { left: operand, comparator, right };
    Ok(Term { condition, depth: 1, parenthesised: false })
}

fn predicate_without_comparator<'t>(
    tokens: &mut Tokens<'t, '_>,
    operand: WrittenOperand<'t>,
    parenthesised: bool,
) -> Result<Term<'t>, Failure> {
    if accept(tokens, Token::Between)? {
        let lower = condition_operand(tokens, 0)?;
        expect(tokens, Token::And)?;
        let upper = condition_operand(tokens, 0)?;
        let condition = WrittenCondition::Between { operand, lower, upper };
        return Ok(Term { condition, depth: 1, parenthesised: false });
    }
    if accept(tokens, Token::In)? {
        expect(tokens, Token::Open)?;
        let list = separated_by_commas(tokens, |tokens| condition_operand(tokens, 0))?;
        expect(tokens, Token::Close)?;
        let condition = WrittenCondition::In { operand, list };
        return Ok(Term { condition, depth: 1, parenthesised: false });
    }
    match operand {
        WrittenOperand::Call(call) => {
            Ok(Term { condition: WrittenCondition::Call(call), depth: 1, parenthesised })
        }
        _ => Err(Failure::from_input(tokens)),
    }
}

/// An operand of a condition, perhaps in parentheses.
fn condition_operand<'t>(tokens: &mut Tokens<'t, '_>, depth: usize) -> Result<WrittenOperand<'t>, Failure> {
    let mut opened = 0_usize;
    while accept(tokens, Token::Open)? {
        opened += 1;
    }
    let operand = simple_operand(tokens, depth, condition_operand)?;
    for closed in 0..opened {
        expect(tokens, Token::Close)?;
        if closed > 0 {
            return Err(Failure::RedundantParentheses);
        }
    }
    Ok(operand)
}

/// A value, a path, or a function whose operands `operand` reads.
fn simple_operand<'t, 'l>(
    tokens: &mut Tokens<'t, 'l>,
    depth: usize,
    operand: fn(&mut Tokens<'t, 'l>, usize) -> Result<WrittenOperand<'t>, Failure>,
) -> Result<WrittenOperand<'t>, Failure> {
    if peek(tokens) == Some(Token::ValuePlaceholder) {
        return Ok(WrittenOperand::Value(expect(tokens, Token::ValuePlaceholder)?.text));
    }
    let is_call = tokens.get(1).is_some_and(|lexeme| lexeme.token == Token::Open);
    if !(is_call && peek(tokens) == Some(Token::Identifier)) {
        return path(tokens).map(WrittenOperand::Path);
    }
    if depth >= MAX_NESTING {
        return Err(Failure::TooDeep);
    }
    let function = expect(tokens, Token::Identifier)?.text;
    expect(tokens, Token::Open)?;
    let operands = separated_by_commas(tokens, |tokens| operand(tokens, depth + 1))?;
    expect(tokens, Token::Close)?;
    Ok(WrittenOperand::Call(WrittenCall { function, operands }))
}

fn path<'t>(tokens: &mut Tokens<'t, '_>) -> Result<WrittenPath<'t>, Failure> {
    let mut parts = vec![path_name(tokens)?];
    loop {
        if accept(tokens, Token::Dot)? {
            parts.push(path_name(tokens)?);
        } else if accept(tokens, Token::OpenBracket)? {
            parts.push(PathPart::Index(expect(tokens, Token::Integer)?.text));
            expect(tokens, Token::CloseBracket)?;
        } else {
            return Ok(parts);
        }
    }
}

fn path_name<'t>(tokens: &mut Tokens<'t, '_>) -> Result<PathPart<'t>, Failure> {
    any.verify_map(|lexeme: &Lexeme<'t>| match lexeme.token {
        Token::Identifier => Some(PathPart::Name(lexeme.text)),
        Token::NamePlaceholder => Some(PathPart::Placeholder(lexeme.text)),
        _ => None,
    })
    .parse_next(tokens)
}

/// At least one; what follows a comma must be another.
fn separated_by_commas<'t, 'l, T>(
    tokens: &mut Tokens<'t, 'l>,
    mut element: impl FnMut(&mut Tokens<'t, 'l>) -> Result<T, Failure>,
) -> Result<Vec<T>, Failure> {
    let mut elements = vec![element(tokens)?];
    while accept(tokens, Token::Comma)? {
        elements.push(element(tokens)?);
    }
    Ok(elements)
}

fn peek(tokens: &Tokens<'_, '_>) -> Option<Token> {
    tokens.first().map(|lexeme| lexeme.token)
}

fn expect<'t, 'l>(tokens: &mut Tokens<'t, 'l>, token: Token) -> Result<&'l Lexeme<'t>, Failure> {
    any.verify(move |lexeme: &Lexeme<'t>| lexeme.token == token).parse_next(tokens)
}

fn accept(tokens: &mut Tokens<'_, '_>, token: Token) -> Result<bool, Failure> {
    Ok(opt(any.verify(move |lexeme: &Lexeme<'_>| lexeme.token == token)).parse_next(tokens)?.is_some())
}
