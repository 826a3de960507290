//! The share of hits over time, as lines.

use std::fmt::Write;

use jiff::civil::Date;

/// A day's shares of hits, 0 to 1; `None` where nothing was asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Day {
    /// The day (UTC).
    pub date: Date,
    /// Of images.
    pub images: Option<f64>,
    /// Of packages.
    pub packages: Option<f64>,
}

const LEFT: f64 = 44.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 26.0;

/// The chart of consecutive days, so many pixels wide and high.
pub(super) fn chart(days: &[Day], class: &str, width: f64, height: f64) -> String {
    let mut svg = format!(
        "<svg class=\"{class}\" viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"the share of hits by day\">\n"
    );
    let (inner_width, inner_height) = (width - LEFT - RIGHT, height - TOP - BOTTOM);
    let at = |day: usize, share: f64| {
        let last = number(days.len().saturating_sub(1).max(1));
        (LEFT + inner_width * number(day) / last, TOP + inner_height * (1.0 - share))
    };
    for percent in [0_u32, 25, 50, 75, 100] {
        let (_, y) = at(0, f64::from(percent) / 100.0);
        let end = width - RIGHT;
        // A string takes all that is written to it.
        let _ = writeln!(
            svg,
            "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{end}\" y2=\"{y:.1}\"/><text class=\"axis end\" x=\"{:.1}\" y=\"{:.1}\">{percent} %</text>",
            LEFT - 6.0,
            y + 4.0
        );
    }
    for (place, anchor) in [(0, "start"), (days.len().saturating_sub(1), "end")] {
        if let Some(day) = days.get(place) {
            let (x, y) = (at(place, 0.0).0, height - 8.0);
            let _ =
                writeln!(svg, "<text class=\"axis {anchor}\" x=\"{x:.1}\" y=\"{y:.1}\">{}</text>", day.date);
        }
    }
    line(&mut svg, "packages", days.iter().map(|day| day.packages), at);
    line(&mut svg, "images", days.iter().map(|day| day.images), at);
    svg + "</svg>\n"
}

/// A line through the days on which there was something; each has a dot.
fn line(
    svg: &mut String,
    class: &str,
    shares: impl Iterator<Item = Option<f64>>,
    at: impl Fn(usize, f64) -> (f64, f64),
) {
    let points: Vec<_> = shares
        .enumerate()
        .filter_map(|(day, share)| {
            share.filter(|share| share.is_finite()).map(|share| at(day, share.clamp(0.0, 1.0)))
        })
        .collect();
    if points.is_empty() {
        return;
    }
    let path: Vec<_> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    let _ = writeln!(svg, "<polyline class=\"line {class}\" points=\"{}\"/>", path.join(" "));
    for (x, y) in points {
        let _ = writeln!(svg, "<circle class=\"dot {class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"/>");
    }
}

#[expect(clippy::cast_precision_loss, reason = "a few days")]
fn number(number: usize) -> f64 {
    number as f64
}
