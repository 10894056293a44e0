//! Cuts an expression's text into lexemes. Any text has lexemes: a character that no expression has is
//! one of its own, [`Token::Unreadable`], and the grammar stops at it.

use std::ops::Range;

use winnow::ascii::{digit0, multispace0};
use winnow::combinator::{alt, dispatch, empty, preceded, repeat};
use winnow::error::EmptyError;
use winnow::prelude::*;
use winnow::stream::{AsChar, LocatingSlice};
use winnow::token::{any, one_of, take_while};

/// What a lexeme is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Identifier,
    /// `#name`
    NamePlaceholder,
    /// `:value`
    ValuePlaceholder,
    Integer,
    And,
    Or,
    Not,
    Between,
    In,
    Set,
    Remove,
    Add,
    Delete,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Plus,
    Minus,
    Open,
    Close,
    OpenBracket,
    CloseBracket,
    Dot,
    Comma,
    Unreadable,
}

/// A token where it stands in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lexeme<'t> {
    pub(super) token: Token,
    pub(super) text: &'t str,
    pub(super) span: Range<usize>,
}

type Input<'t> = LocatingSlice<&'t str>;

/// The lexemes of `text`, without the white space between them.
pub(super) fn lex(text: &str) -> Vec<Lexeme<'_>> {
    let lexemes: Result<Vec<_>, EmptyError> =
        repeat(0.., preceded(multispace0, lexeme)).parse_next(&mut LocatingSlice::new(text));
    lexemes.expect("no lexemes are lexemes too")
}

/// DynamoDB's account of a text that is no expression: the lexeme where reading stopped (past the last
/// one: the end), and the text from the lexeme before it to the one after it.
pub(super) fn syntax_error(text: &str, lexemes: &[Lexeme<'_>], stopped_at: usize) -> String {
    let Some(offending) = lexemes.get(stopped_at) else {
        let near = lexemes.last().map_or(text, |last| last.text);
        return format!("Syntax error; token: \"<EOF>\", near: \"{near}\"");
    };
    let first = &lexemes[stopped_at.saturating_sub(1)];
    let last = lexemes.get(stopped_at + 1).unwrap_or(offending);
    let near = &text[first.span.start..last.span.end];
    format!("Syntax error; token: \"{}\", near: \"{near}\"", offending.text)
}

fn lexeme<'t>(input: &mut Input<'t>) -> Result<Lexeme<'t>, EmptyError> {
    let ((token, text), span) = alt((word, placeholder, integer, symbol, any.value(Token::Unreadable)))
        .with_taken()
        .with_span()
        .parse_next(input)?;
    Ok(Lexeme { token, text, span })
}

fn word(input: &mut Input<'_>) -> Result<Token, EmptyError> {
    (one_of(AsChar::is_alpha), take_while(0.., is_word)).take().map(keyword_or_identifier).parse_next(input)
}

fn keyword_or_identifier(word: &str) -> Token {
    const KEYWORDS: [(&str, Token); 9] = [
        ("AND", Token::And),
        ("OR", Token::Or),
        ("NOT", Token::Not),
        ("BETWEEN", Token::Between),
        ("IN", Token::In),
        ("SET", Token::Set),
        ("REMOVE", Token::Remove),
        ("ADD", Token::Add),
        ("DELETE", Token::Delete),
    ];
    let keyword = KEYWORDS.iter().find(|(keyword, _)| keyword.eq_ignore_ascii_case(word));
    keyword.map_or(Token::Identifier, |(_, token)| *token)
}

fn placeholder(input: &mut Input<'_>) -> Result<Token, EmptyError> {
    alt((
        ('#', take_while(1.., is_word)).value(Token::NamePlaceholder),
        (':', take_while(1.., is_word)).value(Token::ValuePlaceholder),
    ))
    .parse_next(input)
}

/// An integer has no leading zero: `00` is two of them.
fn integer(input: &mut Input<'_>) -> Result<Token, EmptyError> {
    alt(('0'.void(), (one_of('1'..='9'), digit0).void())).value(Token::Integer).parse_next(input)
}

fn symbol(input: &mut Input<'_>) -> Result<Token, EmptyError> {
    let or =
        |longer: char, token: Token, short: Token| alt((one_of([longer]).value(token), empty.value(short)));
    dispatch! { any;
        '=' => empty.value(Token::Equal),
        '<' => alt(('>'.value(Token::NotEqual), '='.value(Token::LessOrEqual), empty.value(Token::Less))),
        '>' => or('=', Token::GreaterOrEqual, Token::Greater),
        '+' => empty.value(Token::Plus),
        '-' => empty.value(Token::Minus),
        '(' => empty.value(Token::Open),
        ')' => empty.value(Token::Close),
        '[' => empty.value(Token::OpenBracket),
        ']' => empty.value(Token::CloseBracket),
        '.' => empty.value(Token::Dot),
        ',' => empty.value(Token::Comma),
        _ => winnow::combinator::fail,
    }
    .parse_next(input)
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}
