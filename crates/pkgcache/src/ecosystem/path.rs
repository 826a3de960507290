//! Paths in one spelling, so that a file has one name whichever client asks.
//!
//! Source: RFC 3986, 6.2.2.

/// The path with escapes of unreserved characters decoded, other escapes in upper case, and `+` and
/// `:` as themselves: package clients differ in how they write these two. What is not a valid
/// escape stays as it is.
#[must_use]
pub(crate) fn canonical(path: &str) -> String {
    let mut written = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        let (before, escaped) = rest.split_at(at);
        written.push_str(before);
        let hex = escaped.get(1..3).filter(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let Some(byte) = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) else {
            written.push('%');
            rest = escaped.get(1..).unwrap_or_default();
            continue;
        };
        let c = char::from(byte);
        if c.is_ascii_alphanumeric() || "-._~+:".contains(c) {
            written.push(c);
        } else {
            written.extend(escape(byte));
        }
        rest = escaped.get(3..).unwrap_or_default();
    }
    written.push_str(rest);
    written
}

/// The byte as an escape.
#[must_use]
pub(crate) fn escape(byte: u8) -> [char; 3] {
    let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap_or('0').to_ascii_uppercase();
    ['%', digit(byte >> 4), digit(byte & 15)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_file_has_one_spelling() {
        for spelling in ["/a/lib%2bx~1", "/a/lib%2Bx%7e1", "/a/lib+x%7E1", "/%61/lib+x~1"] {
            assert_eq!(canonical(spelling), "/a/lib+x~1", "{spelling}");
        }
        assert_eq!(canonical("/a%2fb%20c%3a1"), "/a%2Fb%20c:1");
        assert_eq!(canonical("%"), "%");
        assert_eq!(canonical("/%zz%4"), "/%zz%4");
        assert_eq!(canonical("/%é%+1"), "/%é%+1");
    }
}
