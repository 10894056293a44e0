//! Small plain SVG plots: lines over time, and bars.

use std::fmt::Write as _;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 360.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 170.0;
const TOP: f64 = 36.0;
const BOTTOM: f64 = 44.0;
/// Distinguishable without colour vision, too: Okabe and Ito's palette.
const COLOURS: [&str; 6] = ["#d55e00", "#000000", "#0072b2", "#009e73", "#cc79a7", "#e69f00"];
/// About so many steps on an axis.
const STEPS: f64 = 6.0;

/// What a plot is about.
#[derive(Clone, Debug)]
pub(crate) struct Plot {
    pub(crate) title: String,
    pub(crate) x: String,
    pub(crate) y: String,
    /// From and to.
    pub(crate) x_range: (f64, f64),
    pub(crate) y_range: (f64, f64),
}

/// One line's name and points.
pub(crate) type Line = (String, Vec<(f64, f64)>);

impl Plot {
    /// Lines, the first one the thickest.
    pub(crate) fn lines(&self, lines: &[Line]) -> String {
        let mut svg = self.frame();
        self.x_axis(&mut svg);
        for (index, (name, points)) in lines.iter().enumerate() {
            let colour = COLOURS[index % COLOURS.len()];
            let inside = points.iter().filter(|(x, _)| *x >= self.x_range.0 && *x <= self.x_range.1);
            let path: Vec<String> =
                inside.map(|(x, y)| format!("{:.1},{:.1}", self.x_at(*x), self.y_at(*y))).collect();
            let width = if index == 0 { 2.6 } else { 1.5 };
            put(
                &mut svg,
                &format!(
                    r#"<polyline fill="none" stroke="{colour}" stroke-width="{width}" points="{}"/>"#,
                    path.join(" ")
                ),
            );
            let y = TOP + 14.0 + 20.0 * index as f64;
            let x = WIDTH - RIGHT + 14.0;
            put(
                &mut svg,
                &format!(
                    r#"<line x1="{x}" x2="{}" y1="{y}" y2="{y}" stroke="{colour}" stroke-width="3"/>"#,
                    x + 18.0
                ),
            );
            put(&mut svg, &text(x + 24.0, y + 4.0, "start", name));
        }
        svg + "</svg>\n"
    }

    /// One bar per name, with its value above it.
    pub(crate) fn bars(&self, bars: &[(String, f64)]) -> String {
        let mut svg = self.frame();
        let slot = (WIDTH - LEFT - RIGHT) / bars.len().max(1) as f64;
        for (index, (name, value)) in bars.iter().enumerate() {
            let colour = COLOURS[index % COLOURS.len()];
            let x = LEFT + slot * (index as f64 + 0.2);
            let y = self.y_at(*value);
            let height = HEIGHT - BOTTOM - y;
            put(
                &mut svg,
                &format!(
                    r#"<rect x="{x:.1}" y="{y:.1}" width="{:.1}" height="{height:.1}" fill="{colour}"/>"#,
                    slot * 0.6
                ),
            );
            let middle = x + slot * 0.3;
            put(&mut svg, &text(middle, y - 6.0, "middle", &short(*value)));
            put(&mut svg, &text(middle, HEIGHT - BOTTOM + 18.0, "middle", name));
        }
        svg + "</svg>\n"
    }

    fn frame(&self) -> String {
        let mut svg = format!(
            r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12" fill="#222">"##
        );
        put(&mut svg, &format!(r##"<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>"##));
        put(&mut svg, &text(LEFT, 20.0, "start", &self.title));
        for value in ticks(self.y_range) {
            let y = self.y_at(value);
            let right = WIDTH - RIGHT;
            put(
                &mut svg,
                &format!(r##"<line x1="{LEFT}" x2="{right}" y1="{y:.1}" y2="{y:.1}" stroke="#ddd"/>"##),
            );
            put(&mut svg, &text(LEFT - 6.0, y + 4.0, "end", &short(value)));
        }
        put(&mut svg, &text(LEFT, HEIGHT - 6.0, "start", &format!("{}; {}", self.y, self.x)));
        svg
    }

    fn x_axis(&self, svg: &mut String) {
        for value in ticks(self.x_range) {
            put(svg, &text(self.x_at(value), HEIGHT - BOTTOM + 18.0, "middle", &short(value)));
        }
    }

    fn x_at(&self, x: f64) -> f64 {
        let (from, to) = self.x_range;
        LEFT + (x - from) / (to - from) * (WIDTH - LEFT - RIGHT)
    }

    fn y_at(&self, y: f64) -> f64 {
        let (from, to) = self.y_range;
        HEIGHT - BOTTOM - (y.clamp(from, to) - from) / (to - from) * (HEIGHT - TOP - BOTTOM)
    }
}

fn put(svg: &mut String, element: &str) {
    writeln!(svg, "{element}").expect("a string takes everything");
}

fn text(x: f64, y: f64, anchor: &str, text: &str) -> String {
    format!(r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{text}</text>"#)
}

/// Round numbers across a range.
fn ticks((from, to): (f64, f64)) -> Vec<f64> {
    let rough = (to - from) / STEPS;
    let magnitude = 10_f64.powf(rough.log10().floor());
    let factor = [1.0, 2.0, 5.0, 10.0].into_iter().find(|factor| factor * magnitude >= rough).unwrap_or(10.0);
    let step = factor * magnitude;
    let first = (from / step).ceil() as i64;
    let last = (to / step + 1e-9).floor() as i64;
    (first..=last).map(|index| index as f64 * step).collect()
}

fn short(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
