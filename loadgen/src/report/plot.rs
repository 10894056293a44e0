//! Plots as inline SVG that shows without a script, with the table behind each.
//!
//! The table is what a screen reader gets, and what the page's script reads a tooltip from: each row knows where
//! it stands in the picture.

use std::fmt::Write as _;

use askama::Template;

use super::axis::{Axis, Quantity};

/// Width of a picture in its own units; a page shows it at about this many pixels.
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 280.0;
/// Room for the labels of the vertical axis.
const LEFT: f64 = 58.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 10.0;
/// Room for the labels of the horizontal axis.
const BOTTOM: f64 = 28.0;

/// What is drawn: several series over one horizontal axis.
#[derive(Debug, Clone)]
pub(super) struct Plot {
    /// Unique on the page: letters, digits, dashes.
    pub id: String,
    /// What it shows, with its unit.
    pub title: String,
    /// What a reader should know about it; may be empty.
    pub note: String,
    /// Horizontal.
    pub x: Axis,
    /// Vertical.
    pub y: Axis,
    /// What the horizontal axis is, in the table's head.
    pub x_name: &'static str,
    /// Where the points stand; shared by all series.
    pub at: Vec<f64>,
    /// What is drawn, the last on top.
    pub series: Vec<Series>,
    /// Horizontal lines with a name: a quota, a limit.
    pub limits: Vec<(String, f64)>,
}

/// One line or area.
#[derive(Debug, Clone)]
pub(super) struct Series {
    /// In the legend.
    pub name: String,
    /// Which colour and stroke.
    pub tone: Tone,
    /// A line, or an area on top of the areas before it.
    pub shape: Shape,
    /// One per place; none leaves a gap.
    pub values: Vec<Option<f64>>,
}

/// A line, or an area.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// A line.
    Line,
    /// The area between the areas before it and its value on top of them.
    Stacked,
}

/// What a series means, which decides how it looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    /// What went well.
    Good,
    /// Throttles.
    Throttled,
    /// Errors.
    Bad,
    /// What was asked for.
    Asked,
    /// Median.
    Median,
    /// 99th percentile, and anything that is the plot's subject.
    Subject,
    /// Beyond it.
    Tail,
    /// The most.
    Most,
    /// One of several of a kind, by number.
    Nth(usize),
}

/// Colours that tell series of one kind apart.
const NTH: usize = 6;

impl Tone {
    /// Its class in the style sheet.
    fn class(self) -> String {
        match self {
            Self::Good => "good".to_owned(),
            Self::Throttled => "throttled".to_owned(),
            Self::Bad => "bad".to_owned(),
            Self::Asked => "asked".to_owned(),
            Self::Median => "median".to_owned(),
            Self::Subject => "subject".to_owned(),
            Self::Tail => "tail".to_owned(),
            Self::Most => "most".to_owned(),
            Self::Nth(index) => format!("n{}", index % NTH),
        }
    }
}

impl Series {
    /// A line.
    pub(super) fn line(name: impl Into<String>, tone: Tone, values: Vec<Option<f64>>) -> Self {
        Self { name: name.into(), tone, shape: Shape::Line, values }
    }

    /// An area on top of those before it.
    pub(super) fn stacked(name: impl Into<String>, tone: Tone, values: Vec<Option<f64>>) -> Self {
        Self { name: name.into(), tone, shape: Shape::Stacked, values }
    }

    /// The least and the most; none without a value.
    fn range(&self) -> Option<(f64, f64)> {
        let values = || self.values.iter().flatten().copied().filter(|value| value.is_finite());
        Some((values().reduce(f64::min)?, values().reduce(f64::max)?))
    }
}

/// The least and the most of all series; stacked ones are added up.
pub(super) fn range(series: &[Series]) -> Option<(f64, f64)> {
    let ranges = || series.iter().filter_map(Series::range);
    let least = ranges().map(|(least, _)| least).reduce(f64::min)?;
    let most = ranges().map(|(_, most)| most).reduce(f64::max)?;
    let stacked = series.iter().filter(|series| series.shape == Shape::Stacked);
    let mut sums: Vec<f64> = Vec::new();
    for series in stacked {
        sums.resize(series.values.len().max(sums.len()), 0.0);
        for (sum, value) in sums.iter_mut().zip(&series.values) {
            *sum += value.unwrap_or(0.0);
        }
    }
    Some((least, sums.into_iter().fold(most, f64::max)))
}

#[derive(Template)]
#[template(path = "plot.html")]
struct PlotTemplate<'a> {
    plot: &'a Plot,
    width: f64,
    height: f64,
    keys: Vec<Key>,
    summary: String,
    grid: String,
    drawn: Vec<(usize, String)>,
    limits: String,
    rows: Vec<Row>,
}

struct Key {
    index: usize,
    class: String,
    name: String,
    area: bool,
}

struct Row {
    /// Place in the picture, of the script's marker.
    x: String,
    cells: Vec<String>,
}

impl Plot {
    /// Whether there is anything to draw.
    pub(super) fn is_empty(&self) -> bool {
        self.series.iter().all(|series| series.range().is_none())
    }

    /// The figure as HTML.
    pub(super) fn html(&self) -> String {
        let template = PlotTemplate {
            plot: self,
            width: WIDTH,
            height: HEIGHT,
            keys: self.keys(),
            summary: self.summary(),
            grid: self.grid(),
            drawn: self.drawn(),
            limits: self.limit_lines(),
            rows: self.rows(),
        };
        template.render().expect("writing to a string does not fail")
    }

    fn keys(&self) -> Vec<Key> {
        let key = |(index, series): (usize, &Series)| Key {
            index,
            class: series.tone.class(),
            name: series.name.clone(),
            area: series.shape == Shape::Stacked,
        };
        self.series.iter().enumerate().map(key).collect()
    }

    /// What the picture shows, in words: for those who do not see it.
    fn summary(&self) -> String {
        let mut text = String::new();
        for series in &self.series {
            if let Some((least, most)) = series.range() {
                let shown = |value| self.y.quantity.shown(value);
                _ = write!(text, "{}: {} to {}. ", series.name, shown(least), shown(most));
            }
        }
        text.trim_end().to_owned()
    }

    fn grid(&self) -> String {
        let mut svg = String::new();
        for (place, label) in self.y.marks() {
            let y = down(place);
            _ = write!(
                svg,
                r#"<line class="grid" x1="{LEFT}" x2="{}" y1="{y:.1}" y2="{y:.1}"/><text class="tick" x="{}" y="{:.1}" text-anchor="end">{label}</text>"#,
                WIDTH - RIGHT,
                LEFT - 7.0,
                y + 4.0
            );
        }
        let (base, marks) = (HEIGHT - BOTTOM, self.x.marks().collect::<Vec<_>>());
        for (place, label) in marks {
            let x = across(place);
            let anchor = if place > 0.97 { "end" } else { "middle" };
            _ = write!(
                svg,
                r#"<line class="mark" x1="{x:.1}" x2="{x:.1}" y1="{base}" y2="{}"/><text class="tick" x="{:.1}" y="{}" text-anchor="{anchor}">{label}</text>"#,
                base + 4.0,
                if place > 0.97 { WIDTH - 2.0 } else { x },
                base + 19.0
            );
        }
        _ = write!(svg, r#"<line class="base" x1="{LEFT}" x2="{}" y1="{base}" y2="{base}"/>"#, WIDTH - RIGHT);
        svg
    }

    fn drawn(&self) -> Vec<(usize, String)> {
        let mut below = vec![0.0; self.at.len()];
        let mut drawn = Vec::new();
        for (index, series) in self.series.iter().enumerate() {
            let class = series.tone.class();
            let svg = match series.shape {
                Shape::Line => format!(r#"<path class="line {class}" d="{}"/>"#, self.line(&series.values)),
                Shape::Stacked => {
                    format!(r#"<path class="area {class}" d="{}"/>"#, self.area(&series.values, &mut below))
                }
            };
            drawn.push((index, svg));
        }
        drawn
    }

    /// The path through the values; a value alone between gaps is a dot.
    fn line(&self, values: &[Option<f64>]) -> String {
        let mut path = String::new();
        let mut begun = false;
        for (at, value) in self.at.iter().zip(values) {
            let Some(value) = value.filter(|value| value.is_finite()) else {
                begun = false;
                continue;
            };
            let (x, y) = self.point(*at, value);
            let command = if begun { "L" } else { "M" };
            _ = write!(path, "{command}{x:.1} {y:.1}");
            if !begun {
                // A line of no length with round ends is a dot.
                path.push_str("h0");
            }
            begun = true;
        }
        path
    }

    fn area(&self, values: &[Option<f64>], below: &mut [f64]) -> String {
        let mut path = String::new();
        let floor: Vec<_> =
            self.at.iter().zip(below.iter()).map(|(at, below)| self.point(*at, *below)).collect();
        for (place, (at, below)) in self.at.iter().zip(below.iter_mut()).enumerate() {
            *below += values.get(place).copied().flatten().unwrap_or(0.0);
            let (x, y) = self.point(*at, *below);
            _ = write!(path, "{}{x:.1} {y:.1}", if place == 0 { "M" } else { "L" });
        }
        for (x, y) in floor.iter().rev() {
            _ = write!(path, "L{x:.1} {y:.1}");
        }
        if !path.is_empty() {
            path.push('Z');
        }
        path
    }

    fn limit_lines(&self) -> String {
        let mut svg = String::new();
        for (name, value) in &self.limits {
            let y = down(self.y.place(*value));
            _ = write!(
                svg,
                r#"<line class="limit" x1="{LEFT}" x2="{}" y1="{y:.1}" y2="{y:.1}"/><text class="limit" x="{}" y="{:.1}" text-anchor="end">{}</text>"#,
                WIDTH - RIGHT,
                WIDTH - RIGHT - 4.0,
                if y < TOP + 16.0 { y + 13.0 } else { y - 5.0 },
                escaped(name)
            );
        }
        svg
    }

    fn rows(&self) -> Vec<Row> {
        let row = |(place, at): (usize, &f64)| {
            let shown = |series: &Series| {
                let value = series.values.get(place).copied().flatten().filter(|value| value.is_finite());
                value.map_or_else(|| super::figure::NONE.to_owned(), |value| self.y.quantity.shown(value))
            };
            let mut cells = vec![self.x.quantity.shown(*at)];
            cells.extend(self.series.iter().map(shown));
            Row { x: format!("{:.1}", self.point(*at, 0.0).0), cells }
        };
        self.at.iter().enumerate().map(row).collect()
    }

    fn point(&self, at: f64, value: f64) -> (f64, f64) {
        (across(self.x.place(at)), down(self.y.place(value)))
    }
}

fn across(place: f64) -> f64 {
    LEFT + place * (WIDTH - LEFT - RIGHT)
}

fn down(place: f64) -> f64 {
    HEIGHT - BOTTOM - place * (HEIGHT - TOP - BOTTOM)
}

/// Text within SVG that we write ourselves.
pub(super) fn escaped(text: &str) -> String {
    askama::filters::escape(text, askama::filters::Html)
        .map_or_else(|_| String::new(), |text| text.to_string())
}

/// An empty axis for what has no values.
pub(super) fn vertical(quantity: Quantity, series: &[Series], limits: &[(String, f64)]) -> Axis {
    let (least, most) = range(series).unwrap_or((0.0, 0.0));
    let most = limits.iter().map(|(_, value)| *value).fold(most, f64::max);
    match quantity {
        Quantity::Time => Axis::times(least, most),
        _ => Axis::linear(quantity, most),
    }
}
