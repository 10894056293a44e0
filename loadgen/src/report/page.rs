//! The frame of every page: style, script, and a policy that lets it load nothing.

use askama::Template;

#[derive(Template)]
#[template(path = "page.html")]
struct Page<'a> {
    title: &'a str,
    body: &'a str,
    version: &'static str,
}

#[derive(Template)]
#[template(
    ext = "html",
    source = r#"<header><h1>{{ heading }}</h1><ul class="facts">{% for (name, fact) in facts %}<li>{{ name }} <b>{{ fact }}</b></li>{% endfor %}</ul></header>"#
)]
struct Head<'a> {
    heading: &'a str,
    facts: &'a [(&'static str, String)],
}

/// A page with a heading and facts below it; `body` is HTML.
pub(super) fn page(heading: &str, facts: &[(&'static str, String)], body: &str) -> String {
    let head = Head { heading, facts }.render().expect("writing to a string does not fail");
    let page = Page { title: heading, body: &format!("{head}\n{body}"), version: env!("CARGO_PKG_VERSION") };
    page.render().expect("writing to a string does not fail")
}
