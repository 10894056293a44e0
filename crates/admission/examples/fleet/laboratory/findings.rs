//! What an experiment found, and what it must reach.

use std::fmt;

/// The design's figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Must {
    AtLeast(f64),
    AtMost(f64),
    /// Stated for comparison; the design asks for nothing.
    Nothing,
}

/// One measured figure.
#[derive(Clone, Debug)]
pub(crate) struct Figure {
    pub(crate) experiment: &'static str,
    pub(crate) variant: String,
    pub(crate) what: &'static str,
    pub(crate) measured: f64,
    pub(crate) must: Must,
}

/// Numbers over time, or over something else: a CSV file, and perhaps a plot.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<Vec<f64>>,
}

/// All of one experiment.
#[derive(Clone, Debug)]
pub(crate) struct Findings {
    pub(crate) experiment: &'static str,
    pub(crate) figures: Vec<Figure>,
    pub(crate) series: Vec<Series>,
}

impl Figure {
    pub(crate) fn passes(&self) -> bool {
        self.reaches(self.must)
    }

    /// Whether it reaches some figure, the design's or another.
    pub(crate) fn reaches(&self, must: Must) -> bool {
        match must {
            Must::AtLeast(floor) => self.measured >= floor,
            Must::AtMost(ceiling) => self.measured <= ceiling,
            Must::Nothing => true,
        }
    }

    pub(crate) fn verdict(&self) -> &'static str {
        match (self.must, self.passes()) {
            (Must::Nothing, _) => "–",
            (_, true) => "pass",
            (_, false) => "MISS",
        }
    }

    pub(crate) fn must_text(&self) -> String {
        match self.must {
            Must::AtLeast(floor) => format!("≥ {floor}"),
            Must::AtMost(ceiling) => format!("≤ {ceiling}"),
            Must::Nothing => "–".to_owned(),
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { experiment, variant, what, measured, .. } = self;
        write!(f, "{experiment}, {variant}: {what} {measured:.4}, must reach {}", self.must_text())
    }
}

impl Findings {
    pub(crate) const fn new(experiment: &'static str) -> Self {
        Self { experiment, figures: Vec::new(), series: Vec::new() }
    }

    pub(crate) fn figure(
        &mut self,
        variant: impl Into<String>,
        what: &'static str,
        measured: f64,
        must: Must,
    ) {
        let experiment = self.experiment;
        self.figures.push(Figure { experiment, variant: variant.into(), what, measured, must });
    }

    pub(crate) fn series(&mut self, name: impl Into<String>, columns: &[&str], rows: Vec<Vec<f64>>) {
        let columns = columns.iter().map(|column| (*column).to_owned()).collect();
        self.series.push(Series { name: name.into(), columns, rows });
    }

    pub(crate) fn missed(&self) -> Vec<&Figure> {
        self.figures.iter().filter(|figure| !figure.passes()).collect()
    }
}
