//! Which media type a client would rather have.
//!
//! Source: RFC 9110, 12.4.2 and 12.5.1.

/// How much a client wants a media type. A later one is wanted more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Wish {
    /// In thousandths.
    quality: u16,
    /// Whether the type itself is named, and not a range such as `*/*`.
    pub(crate) named: bool,
}

/// How much the `Accept` fields want a type; `None` where they do not.
#[must_use]
pub(crate) fn wish(accept: &str, media: &str) -> Option<Wish> {
    let ranges = accept.split(',').filter_map(|range| {
        let (range, parameters) = range.split_once(';').unwrap_or((range, ""));
        Some((closeness(range.trim(), media)?, quality(parameters)))
    });
    let (closeness, quality) = ranges.max_by_key(|(closeness, _)| *closeness)?;
    (quality > 0).then_some(Wish { quality, named: closeness == 2 })
}

/// How close a range is to a type; the closest one counts.
fn closeness(range: &str, media: &str) -> Option<u8> {
    let kind = range.strip_suffix("/*");
    if range.eq_ignore_ascii_case(media) {
        Some(2)
    } else if kind == Some("*") {
        Some(0)
    } else {
        let same = kind?.eq_ignore_ascii_case(media.split('/').next().unwrap_or_default());
        same.then_some(1)
    }
}

/// The `q` of a range, in thousandths. One that is not a number does not count.
fn quality(parameters: &str) -> u16 {
    let value = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then(|| value.trim())
    });
    let Some(value) = value else { return 1000 };
    let (whole, part) = value.split_once('.').unwrap_or((value, ""));
    let part: String = part.chars().chain("000".chars()).take(3).collect();
    let thousandths = part.parse::<u16>().ok().zip(whole.parse::<u16>().ok());
    thousandths.map_or(1000, |(part, whole)| whole.saturating_mul(1000).saturating_add(part).min(1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wished(accept: &str) -> Option<(u16, bool)> {
        wish(accept, "text/html").map(|wish| (wish.quality, wish.named))
    }

    #[test]
    fn the_closest_range_counts() {
        assert_eq!(wished("text/html;q=0.2, text/*;q=0.5, */*"), Some((200, true)));
        assert_eq!(wished("*/*;q=0.1,TEXT/*; Q=0.55"), Some((550, false)));
        assert_eq!(wished("*/*"), Some((1000, false)));
        assert_eq!(wished("text/html;level=1;q=1.5"), Some((1000, true)));
    }

    #[test]
    fn what_is_ruled_out_or_not_said_is_not_wanted() {
        for accept in ["", "text/plain", "text/html;q=0", "text/html;q=0.000, */*", "image/*", "html"] {
            assert_eq!(wished(accept), None, "{accept}");
        }
    }

    #[test]
    fn a_quality_that_is_not_a_number_is_as_if_it_were_not_there() {
        assert_eq!(wished("text/html;q=high"), Some((1000, true)));
    }
}
