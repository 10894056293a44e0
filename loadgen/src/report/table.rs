//! Tables of a page.

use askama::Template;

/// A table; the first cell of a row is its head.
#[derive(Template)]
#[template(path = "table.html")]
pub(super) struct Table {
    caption: String,
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
}

struct Column {
    title: String,
    numeric: bool,
}

impl Table {
    /// A table of these columns; those whose titles begin with `>` are aligned to the right.
    pub(super) fn new(caption: &str, columns: &[&str]) -> Self {
        let column = |title: &&str| Column {
            title: title.trim_start_matches('>').to_owned(),
            numeric: title.starts_with('>'),
        };
        Self { caption: caption.to_owned(), columns: columns.iter().map(column).collect(), rows: Vec::new() }
    }

    /// With one more row.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Whether it has no row.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// As HTML.
    pub(super) fn html(&self) -> String {
        self.render().expect("writing to a string does not fail")
    }

    fn is_numeric(&self, index: &usize) -> bool {
        self.columns.get(*index).is_some_and(|column| column.numeric)
    }
}
