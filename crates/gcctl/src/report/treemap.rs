//! Rectangles whose areas are as weights: squarified, so that they are no longer than they have to
//! be.
//!
//! Source: Bruls, Huizing, van Wijk, "Squarified Treemaps", 2000.

/// A rectangle.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Rect {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) width: f64,
    pub(super) height: f64,
}

impl Rect {
    fn shorter(&self) -> f64 {
        self.width.min(self.height)
    }

    /// The rectangle without a border of so much on each side, and so much more at the top.
    pub(super) fn inset(self, border: f64, top: f64) -> Self {
        Self {
            x: self.x + border,
            y: self.y + border + top,
            width: (self.width - 2.0 * border).max(0.0),
            height: (self.height - 2.0 * border - top).max(0.0),
        }
    }
}

/// A rectangle for each weight, in their order; together they fill `space`. The weights are sorted,
/// the largest first; one of nothing gets none of it.
pub(super) fn squarified(weights: &[u64], space: Rect) -> Vec<Rect> {
    let total = sum(weights);
    let mut rects = vec![Rect::default(); weights.len()];
    if total <= 0.0 || space.width <= 0.0 || space.height <= 0.0 {
        return rects;
    }
    let scale = space.width * space.height / total;
    let (mut rest, mut from) = (space, 0);
    while from < weights.len() && sum(&weights[from..]) > 0.0 {
        let side = rest.shorter();
        let mut to = from + 1;
        while to < weights.len()
            && worst(&weights[from..=to], scale, side) <= worst(&weights[from..to], scale, side)
        {
            to += 1;
        }
        // The last row takes all that is left, rounding errors too.
        let is_last = sum(&weights[to..]) <= 0.0;
        rest = row(&weights[from..to], &mut rects[from..to], rest, scale, is_last);
        from = to;
    }
    rects
}

/// Lays a row along the shorter side. Returns what is left of the space.
fn row(weights: &[u64], rects: &mut [Rect], space: Rect, scale: f64, is_last: bool) -> Rect {
    let all = sum(weights);
    let is_column = space.width >= space.height;
    let side = space.shorter();
    let longer = space.width.max(space.height);
    let depth = if is_last { longer } else { (all * scale / side).min(longer) };
    let mut at = 0.0;
    for (weight, rect) in weights.iter().zip(rects) {
        let length = side * number(*weight) / all;
        *rect = if is_column {
            Rect { x: space.x, y: space.y + at, width: depth, height: length }
        } else {
            Rect { x: space.x + at, y: space.y, width: length, height: depth }
        };
        at += length;
    }
    if is_column {
        Rect { x: space.x + depth, width: space.width - depth, ..space }
    } else {
        Rect { y: space.y + depth, height: space.height - depth, ..space }
    }
}

/// How much longer than wide the worst of a row is.
fn worst(weights: &[u64], scale: f64, side: f64) -> f64 {
    let all = sum(weights) * scale;
    let ratio = |weight: &u64| {
        let area = number(*weight) * scale;
        let (one, other) = (side * side * area / (all * all), all * all / (side * side * area));
        one.max(other)
    };
    weights.iter().filter(|weight| **weight > 0).map(ratio).fold(1.0, f64::max)
}

fn sum(weights: &[u64]) -> f64 {
    weights.iter().map(|weight| number(*weight)).sum()
}

#[expect(clippy::cast_precision_loss, reason = "an area is not exact")]
fn number(weight: u64) -> f64 {
    weight as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPACE: Rect = Rect { x: 10.0, y: 20.0, width: 600.0, height: 400.0 };

    /// Areas are as weights, nothing overlaps, all of it is inside.
    #[track_caller]
    fn check(weights: &[u64]) -> Vec<Rect> {
        let rects = squarified(weights, SPACE);
        let total = sum(weights);
        for (weight, rect) in weights.iter().zip(&rects) {
            let area = rect.width * rect.height;
            let wanted = if total > 0.0 { number(*weight) / total * 240_000.0 } else { 0.0 };
            assert!((area - wanted).abs() < 0.01, "{weights:?}: {area} {wanted}");
            if *weight > 0 {
                assert!(rect.x >= 9.999 && rect.y >= 19.999, "{rect:?}");
                assert!(rect.x + rect.width <= 610.001 && rect.y + rect.height <= 420.001, "{rect:?}");
            }
        }
        for (place, one) in rects.iter().enumerate() {
            for other in &rects[..place] {
                let width = (one.x + one.width).min(other.x + other.width) - one.x.max(other.x);
                let height = (one.y + one.height).min(other.y + other.height) - one.y.max(other.y);
                assert!(width < 0.001 || height < 0.001, "{one:?} {other:?}");
            }
        }
        rects
    }

    #[test]
    fn areas_are_as_weights_whatever_these_are() {
        for weights in [
            &[][..],
            &[0, 0],
            &[1],
            &[6, 6, 4, 3, 2, 2, 1],
            &[u64::MAX / 2, u64::MAX / 4, 1, 0],
            &[1000, 1, 1, 1, 1, 0, 0],
        ] {
            check(weights);
        }
        let many: Vec<u64> = (0..300).rev().map(|it| it * it).collect();
        check(&many);
    }

    #[test]
    fn those_of_the_paper_are_nearly_square() {
        let rects = check(&[6, 6, 4, 3, 2, 2, 1]);
        let longest = rects.iter().map(|it| (it.width / it.height).max(it.height / it.width));
        assert!(longest.fold(0.0, f64::max) < 3.0, "{rects:?}");
    }
}
