//! A page as an HTML parser reads it.

use std::cell::RefCell;

use html5ever::{
    tendril::StrTendril,
    tokenizer::{BufferQueue, Tag, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer},
};

/// Elements that have no end.
const VOID: [&str; 1] = ["meta"];

/// What is in a page, in its order.
#[derive(Default, Debug)]
pub(super) struct Tags {
    /// Of elements.
    pub(super) names: Vec<String>,
    /// Names of attributes.
    pub(super) attributes: Vec<String>,
    pub(super) values: Vec<String>,
    pub(super) text: String,
    open: Vec<String>,
}

impl Tags {
    /// Reads a page.
    ///
    /// # Panics
    ///
    /// It has an error, or an element does not end where it has to.
    pub(super) fn of(page: &str) -> Self {
        let input = BufferQueue::default();
        input.push_back(StrTendril::from(page));
        let tokenizer = Tokenizer::new(Sink::default(), Default::default());
        let _ = tokenizer.feed(&input);
        tokenizer.end();
        let tags = tokenizer.sink.0.into_inner();
        assert!(tags.open.is_empty(), "without an end: {:?}", tags.open);
        tags
    }

    fn add(&mut self, tag: Tag) {
        let name = tag.name.to_string();
        if tag.kind == TagKind::EndTag {
            assert_eq!(self.open.pop().as_ref(), Some(&name), "the end of another");
            return;
        }
        assert!(!tag.self_closing, "{name}");
        if !VOID.contains(&&*name) {
            self.open.push(name.clone());
        }
        self.names.push(name);
        for attribute in tag.attrs {
            self.attributes.push(attribute.name.local.to_string());
            self.values.push(attribute.value.to_string());
        }
    }
}

#[derive(Default)]
struct Sink(RefCell<Tags>);

impl TokenSink for Sink {
    type Handle = ();

    fn process_token(&self, token: Token, line: u64) -> TokenSinkResult<()> {
        let mut tags = self.0.borrow_mut();
        match token {
            Token::TagToken(tag) => tags.add(tag),
            Token::CharacterTokens(text) => tags.text.push_str(&text),
            Token::ParseError(error) => panic!("line {line}: {error}"),
            Token::CommentToken(_) | Token::NullCharacterToken => panic!("line {line}: {token:?}"),
            Token::DoctypeToken(_) | Token::EOFToken => {}
        }
        TokenSinkResult::Continue
    }
}
