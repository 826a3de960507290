//! Figures by day, drawn as SVG: once for wide screens and once for narrow ones.

use std::fmt::Write;

use jiff::civil::Date;

use super::escaped;

/// Values of consecutive days, drawn in the colour of a class.
#[derive(Clone, Debug)]
pub struct Series<'a> {
    /// The class.
    pub class: &'a str,
    /// A value for each day; `None` where there is none.
    pub values: Vec<Option<f64>>,
}

/// A picture's class, width and height, in pixels.
type Size = (&'static str, f64, f64);
const SIZES: [Size; 2] = [("wide", 1140.0, 240.0), ("narrow", 376.0, 220.0)];
const LEFT: f64 = 64.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 26.0;

/// Shares, 0 to 1, as lines through the days that have one; the last stands in front. `label` is
/// for those who see no pictures.
#[must_use]
pub fn shares(days: &[Date], series: &[Series<'_>], label: &str) -> String {
    let of = |size| {
        let picture = Picture::new(size, days.len());
        let mut svg = picture.begin(label, &[0.0, 0.25, 0.5, 0.75, 1.0], percent);
        picture.dates(&mut svg, days, 0.0);
        for it in series {
            picture.line(&mut svg, it);
        }
        svg + "</svg>\n"
    };
    SIZES.map(of).concat()
}

/// Amounts, 0 or more, as bars; each can be pointed at, and says its day and what `word` calls it.
#[must_use]
pub fn amounts(days: &[Date], series: &Series<'_>, label: &str, word: impl Fn(f64) -> String) -> String {
    let most = series.values.iter().flatten().copied().filter(|it| it.is_finite()).fold(0.0, f64::max);
    let of = |size| {
        let picture = Picture::new(size, days.len() + 1);
        let ticks: &[f64] = if most > 0.0 { &[0.0, 0.5, 1.0] } else { &[0.0] };
        let mut svg = picture.begin(label, ticks, |share| word(share * most));
        picture.dates(&mut svg, days, 0.5);
        for ((place, day), value) in days.iter().enumerate().zip(&series.values) {
            let value = value.filter(|it| it.is_finite() && *it > 0.0 && most > 0.0);
            if let Some(value) = value {
                picture.bar(&mut svg, series.class, place, value / most, &format!("{day}: {}", word(value)));
            }
        }
        svg + "</svg>\n"
    };
    SIZES.map(of).concat()
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

/// A picture of so many places side by side.
struct Picture {
    size: Size,
    places: f64,
}

impl Picture {
    fn new(size: Size, places: usize) -> Self {
        Self { size, places: number(places.saturating_sub(1).max(1)) }
    }

    /// Where a place is, from the left, and a share, from above.
    fn at(&self, place: f64, share: f64) -> (f64, f64) {
        let (_, width, height) = self.size;
        let (inner_width, inner_height) = (width - LEFT - RIGHT, height - TOP - BOTTOM);
        (LEFT + inner_width * place / self.places, TOP + inner_height * (1.0 - share))
    }

    /// The frame, with a line for each of these shares.
    fn begin(&self, label: &str, ticks: &[f64], word: impl Fn(f64) -> String) -> String {
        let (class, width, height) = self.size;
        let mut svg = format!(
            "<svg class=\"{class}\" viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{}\">\n",
            escaped(label)
        );
        for tick in ticks {
            let ((_, y), end) = (self.at(0.0, *tick), width - RIGHT);
            // A string takes all that is written to it.
            let _ = writeln!(
                svg,
                "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{end}\" y2=\"{y:.1}\"/><text class=\"axis end\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                LEFT - 6.0,
                y + 4.0,
                escaped(&word(*tick))
            );
        }
        svg
    }

    /// The first day and the last.
    fn dates(&self, svg: &mut String, days: &[Date], middle: f64) {
        for (place, anchor) in [(0, "start"), (days.len().saturating_sub(1), "end")] {
            let Some(day) = days.get(place) else { continue };
            // Words at an end stand beside it.
            let middle = if anchor == "end" { 2.0 * middle } else { 0.0 };
            let (x, y) = (self.at(number(place) + middle, 0.0).0, self.size.2 - 8.0);
            let _ = writeln!(svg, "<text class=\"axis {anchor}\" x=\"{x:.1}\" y=\"{y:.1}\">{day}</text>");
        }
    }

    /// A line through the days on which there was something; each has a dot.
    fn line(&self, svg: &mut String, series: &Series<'_>) {
        let class = series.class;
        let points = series.values.iter().enumerate().filter_map(|(day, share)| {
            share.filter(|it| it.is_finite()).map(|share| self.at(number(day), share.clamp(0.0, 1.0)))
        });
        let points: Vec<_> = points.collect();
        if points.is_empty() {
            return;
        }
        let path: Vec<_> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let _ = writeln!(svg, "<polyline class=\"line {class}\" points=\"{}\"/>", path.join(" "));
        for (x, y) in points {
            let _ = writeln!(svg, "<circle class=\"dot {class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"/>");
        }
    }

    /// A bar in its place, so high, that says this.
    fn bar(&self, svg: &mut String, class: &str, place: usize, share: f64, says: &str) {
        let ((x, y), (next, foot)) = (self.at(number(place), share), self.at(number(place + 1), 0.0));
        let (width, height) = ((next - x) * 0.8, (foot - y).max(1.0));
        let _ = writeln!(
            svg,
            "<rect class=\"column {class}\" x=\"{:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"><title>{}</title></rect>",
            x + (next - x) * 0.1,
            foot - height,
            escaped(says)
        );
    }
}

#[expect(clippy::cast_precision_loss, reason = "a few days")]
fn number(number: usize) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn days() -> Vec<Date> {
        let first: Date = "2026-06-01".parse().unwrap();
        first.series(jiff::ToSpan::day(1)).take(3).collect()
    }

    #[test]
    fn shares_are_lines_within_the_frame() {
        let values = vec![Some(1.0), None, Some(7.0)];
        let svg = shares(&days(), &[Series { class: "packages", values }], "shares");
        assert_eq!(svg.matches("<svg ").count(), 2);
        assert!(
            svg.contains("<polyline class=\"line packages\" points=\"64.0,12.0 1128.0,12.0\"/>"),
            "{svg}"
        );
        assert!(svg.contains(">2026-06-01</text>") && svg.contains(">2026-06-03</text>"));
    }

    #[test]
    fn amounts_are_bars_that_say_what_they_are() {
        let values = vec![Some(10.0), Some(0.0), Some(f64::NAN)];
        let svg = amounts(&days(), &Series { class: "saved", values }, "<", |it| format!("{it:.0} s"));
        assert_eq!(svg.matches("<rect ").count(), 2);
        assert!(svg.contains("<title>2026-06-01: 10 s</title>") && svg.contains(">5 s</text>"), "{svg}");
        assert!(svg.contains("aria-label=\"&lt;\""));
    }

    #[test]
    fn without_days_or_amounts_there_is_a_frame() {
        for days in [days(), Vec::new()] {
            let series = Series { class: "saved", values: vec![None; days.len()] };
            let svg = amounts(&days, &series, "", |_| "0B".to_owned());
            assert!(!svg.contains("NaN") && !svg.contains("<rect") && svg.contains(">0B</text>"), "{svg}");
            assert!(!shares(&days, &[series], "").contains("NaN"));
        }
    }
}
