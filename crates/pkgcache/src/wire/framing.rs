//! Where requests begin and end on a connection, read more strictly than any server behind might.
//!
//! The parser behind this one takes bare line feeds, spaces before colons and `Content-Length`
//! beside `Transfer-Encoding`; two parsers that disagree about where a request ends let one request
//! hide in another. So bytes reach it only after this module has agreed with what they must mean.
//! It does not change them.
//!
//! Source: RFC 9112, 2 to 7 and 11.2.

use std::net::Ipv6Addr;

use crate::rules::fields::directives::is_token;

/// What is allowed to be how large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HeadLimits {
    /// Request line and fields together, in bytes.
    pub(crate) head: usize,
    /// Number of fields.
    pub(crate) fields: usize,
}

/// Why a request is refused: the status code that says so, and words for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// 400, 431, 501 or 505.
    pub(crate) status: u16,
    /// What is wrong with the request.
    pub(crate) reason: &'static str,
}

/// What can be done with the bytes at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Advance {
    /// So many bytes are good.
    Pass(usize),
    /// More bytes are needed to tell.
    More,
}

/// The place in the stream of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Head,
    Body(u64),
    ChunkSize,
    ChunkData(u64),
    ChunkEnd,
    LastEnd,
    /// Behind a CONNECT nothing is a request any more.
    Opaque,
}

/// Follows the requests of one connection.
#[derive(Debug)]
pub(crate) struct Framer {
    place: Part,
    limits: HeadLimits,
    /// How many bytes of an unfinished head were looked at.
    seen: usize,
}

const fn bad(reason: &'static str) -> Refusal {
    Refusal { status: 400, reason }
}

impl Framer {
    /// At the beginning of a connection.
    #[must_use]
    pub(crate) fn new(limits: HeadLimits) -> Self {
        Self { place: Part::Head, limits, seen: 0 }
    }

    /// Whether the next byte would begin a request.
    #[must_use]
    pub(crate) fn is_between_requests(&self) -> bool {
        self.place == Part::Head && self.seen == 0
    }

    /// Whether the next byte belongs to a request's head.
    #[must_use]
    pub(crate) fn is_in_head(&self) -> bool {
        self.place == Part::Head
    }

    /// Looks at the bytes that are next in the stream, and steps over those that it passes.
    ///
    /// # Errors
    /// What the client must not send; nothing behind it has a meaning then.
    pub(crate) fn advance(&mut self, bytes: &[u8]) -> Result<Advance, Refusal> {
        if bytes.is_empty() {
            return Ok(Advance::More);
        }
        match self.place {
            Part::Head => self.head(bytes),
            Part::Body(left) => Ok(self.data(left, bytes, Part::Body, Part::Head)),
            Part::ChunkData(left) => Ok(self.data(left, bytes, Part::ChunkData, Part::ChunkEnd)),
            Part::ChunkSize => self.chunk_size(bytes),
            Part::ChunkEnd => self.line_end(bytes, Part::ChunkSize, "a chunk is longer than it says"),
            Part::LastEnd => self.line_end(bytes, Part::Head, "a trailer behind the last chunk"),
            Part::Opaque => Ok(Advance::Pass(bytes.len())),
        }
    }

    fn data(&mut self, left: u64, bytes: &[u8], more: fn(u64) -> Part, then: Part) -> Advance {
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        let left = left - count as u64;
        self.place = if left == 0 { then } else { more(left) };
        Advance::Pass(count)
    }

    fn line_end(&mut self, bytes: &[u8], then: Part, otherwise: &'static str) -> Result<Advance, Refusal> {
        match bytes {
            [b'\r', b'\n', ..] => {
                self.place = then;
                Ok(Advance::Pass(2))
            }
            [b'\r'] => Ok(Advance::More),
            _ => Err(bad(otherwise)),
        }
    }

    /// `1a2b\r\n`: hex digits alone, for extensions mean nothing to us and something else to
    /// others.
    fn chunk_size(&mut self, bytes: &[u8]) -> Result<Advance, Refusal> {
        let digits = bytes.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        if digits > 15 {
            return Err(bad("a chunk size of too many digits"));
        }
        let (number, rest) = bytes.split_at(digits);
        match rest {
            [] | [b'\r'] => return Ok(Advance::More),
            [b'\r', b'\n', ..] if digits > 0 => {}
            _ => return Err(bad("a chunk size that is not a hex number")),
        }
        let number = number
            .iter()
            .fold(0, |sum, digit| sum << 4 | u64::from(char::from(*digit).to_digit(16).unwrap_or(0)));
        self.place = if number == 0 { Part::LastEnd } else { Part::ChunkData(number) };
        Ok(Advance::Pass(digits + 2))
    }

    fn head(&mut self, bytes: &[u8]) -> Result<Advance, Refusal> {
        // A line feed is looked at together with the byte before it.
        let unseen = bytes.get(self.seen..).unwrap_or_default();
        for (offset, _) in unseen.iter().enumerate().filter(|(_, byte)| **byte == b'\n') {
            let end = self.seen + offset + 1;
            let line_end = bytes.get(..end).unwrap_or_default();
            if !line_end.ends_with(b"\r\n") {
                return Err(bad("a line feed without a carriage return"));
            }
            if line_end.ends_with(b"\r\n\r\n") || line_end == b"\r\n" {
                return self.whole_head(line_end);
            }
        }
        self.seen = bytes.len();
        if bytes.len() > self.limits.head {
            return Err(Refusal { status: 431, reason: "a head that is too large" });
        }
        Ok(Advance::More)
    }

    fn whole_head(&mut self, head: &[u8]) -> Result<Advance, Refusal> {
        if head.len() > self.limits.head {
            return Err(Refusal { status: 431, reason: "a head that is too large" });
        }
        self.place = Head::read(head, self.limits.fields)?.place()?;
        self.seen = 0;
        Ok(Advance::Pass(head.len()))
    }
}

/// What of a head says where the request ends.
#[derive(Debug, Default)]
struct Head {
    connect: bool,
    old: bool,
    hosts: usize,
    length: Option<u64>,
    chunked: bool,
}

impl Head {
    fn read(head: &[u8], most: usize) -> Result<Self, Refusal> {
        let mut lines = head.strip_suffix(b"\n\r\n").unwrap_or_default().split(|byte| *byte == b'\n');
        let mut parsed = Self::request_line(trim_cr(lines.next().unwrap_or_default()))?;
        for (count, line) in lines.enumerate() {
            if count >= most {
                return Err(Refusal { status: 431, reason: "too many fields" });
            }
            parsed.field(trim_cr(line))?;
        }
        Ok(parsed)
    }

    fn request_line(line: &[u8]) -> Result<Self, Refusal> {
        let mut words = line.split(|byte| *byte == b' ');
        let (Some(method), Some(target), Some(version), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(bad("the request line is not three words"));
        };
        if method.is_empty() || !method.iter().copied().all(is_token) {
            return Err(bad("the method is not a token"));
        }
        if target.is_empty() || !target.iter().all(u8::is_ascii_graphic) {
            return Err(bad("the target has bytes that are not valid in a URL"));
        }
        let old = match version {
            b"HTTP/1.1" => false,
            b"HTTP/1.0" => true,
            version if version.starts_with(b"HTTP/") => {
                return Err(Refusal { status: 505, reason: "another version of HTTP" });
            }
            _ => return Err(bad("the request line has no version")),
        };
        Ok(Self { connect: method == b"CONNECT", old, ..Self::default() })
    }

    fn field(&mut self, line: &[u8]) -> Result<(), Refusal> {
        let colon = line.iter().position(|byte| *byte == b':').ok_or(bad("a field without a colon"))?;
        let (name, value) = line.split_at(colon);
        if matches!(name.first(), Some(b' ' | b'\t')) {
            return Err(bad("a folded line"));
        }
        if name.is_empty() || !name.iter().copied().all(is_token) {
            return Err(bad("a field name is not a token"));
        }
        let value = value.get(1..).unwrap_or_default();
        if !value.iter().all(|byte| matches!(byte, b'\t' | 0x20..=0x7e | 0x80..=0xff)) {
            return Err(bad("a field value with control characters"));
        }
        // No other name is so long as one of those that say something about framing.
        match name.len() {
            4 | 14 | 17 => self.framing(&name.to_ascii_lowercase(), value.trim_ascii()),
            _ => Ok(()),
        }
    }

    fn framing(&mut self, name: &[u8], value: &[u8]) -> Result<(), Refusal> {
        match name {
            b"host" if !is_host(value) => return Err(bad("the Host field is not a valid host")),
            b"host" => self.hosts += 1,
            b"content-length" if self.length.is_some() => return Err(bad("more than one Content-Length")),
            b"content-length" => {
                self.length = Some(length(value).ok_or(bad("Content-Length is not a number"))?);
            }
            b"transfer-encoding" if self.chunked => return Err(bad("more than one Transfer-Encoding")),
            b"transfer-encoding" if value.eq_ignore_ascii_case(b"chunked") => self.chunked = true,
            b"transfer-encoding" => {
                return Err(Refusal { status: 501, reason: "a Transfer-Encoding other than `chunked`" });
            }
            _ => {}
        }
        Ok(())
    }

    fn place(&self) -> Result<Part, Refusal> {
        if self.hosts > 1 || (self.hosts == 0 && !self.old) {
            return Err(bad("exactly one Host field is required"));
        }
        match (self.length, self.chunked) {
            (Some(_), true) => Err(bad("conflicting body lengths: Content-Length and Transfer-Encoding")),
            (_, true) if self.old => Err(bad("a Transfer-Encoding in HTTP/1.0")),
            (length, chunked) if self.connect => {
                let bare = !chunked && length.unwrap_or(0) == 0;
                bare.then_some(Part::Opaque).ok_or(bad("a body in a CONNECT"))
            }
            (None, true) => Ok(Part::ChunkSize),
            (None | Some(0), false) => Ok(Part::Head),
            (Some(length), false) => Ok(Part::Body(length)),
        }
    }
}

/// Whether this is `uri-host [ ":" port ]`, RFC 9110, 7.2; an empty one stands for a target without
/// a host.
fn is_host(value: &[u8]) -> bool {
    let (host, port) = match value.strip_prefix(b"[") {
        Some(rest) => {
            let Some(end) = rest.iter().position(|byte| *byte == b']') else { return false };
            let (address, port) = rest.split_at(end);
            let text = std::str::from_utf8(address).ok();
            if text.and_then(|text| text.parse::<Ipv6Addr>().ok()).is_none() {
                return false;
            }
            (&b""[..], port.get(1..).unwrap_or_default())
        }
        None => value.split_at(value.iter().position(|byte| *byte == b':').unwrap_or(value.len())),
    };
    let is_port = |port: &[u8]| port.len() <= 5 && port.iter().all(u8::is_ascii_digit);
    is_reg_name(host) && (port.is_empty() || port.strip_prefix(b":").is_some_and(is_port))
}

/// Whether this is a name or an address of version 4, RFC 3986, 3.2.2.
fn is_reg_name(mut name: &[u8]) -> bool {
    loop {
        name = match name {
            [] => return true,
            [b'%', high, low, rest @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => rest,
            [byte, rest @ ..] if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(byte) => rest,
            _ => return false,
        };
    }
}

fn trim_cr(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

fn length(value: &[u8]) -> Option<u64> {
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    digits.then(|| std::str::from_utf8(value).ok()?.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HeadLimits = HeadLimits { head: 1000, fields: 5 };

    /// Feeds the text in pieces of `step` bytes; what passed, and whether it ended in a refusal.
    fn fed(text: &[u8], step: usize) -> (usize, Option<Refusal>, bool) {
        let (mut framer, mut passed, mut end) = (Framer::new(LIMITS), 0, 0);
        while end < text.len() {
            end = (end + step).min(text.len());
            loop {
                match framer.advance(&text[passed..end]) {
                    Ok(Advance::Pass(count)) => passed += count,
                    Ok(Advance::More) => break,
                    Err(refusal) => return (passed, Some(refusal), false),
                }
            }
        }
        (passed, None, framer.is_between_requests())
    }

    #[track_caller]
    fn passes(text: &str) {
        for step in [1, 2, 7, 10_000] {
            assert_eq!(fed(text.as_bytes(), step), (text.len(), None, true), "{text:?} by {step}");
        }
    }

    #[track_caller]
    fn refused(text: &str, status: u16) {
        for step in [1, 3, 10_000] {
            let (passed, refusal, _) = fed(text.as_bytes(), step);
            assert_eq!(
                refusal.map(|it| it.status),
                Some(status),
                "{text:?} by {step}: {passed} bytes passed"
            );
        }
    }

    #[test]
    fn requests_pass_one_after_the_other() {
        passes("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /x?y HTTP/1.0\r\n\r\n");
        passes(
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n\n\n\n\n\nGET / HTTP/1.1\r\nhost:a\r\n\r\n",
        );
        passes(
            "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n5\r\nabcde\r\n0A\r\n0123456789\r\n0\r\n\r\n",
        );
    }

    #[test]
    fn behind_a_connect_everything_passes() {
        let text = b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n\n\x00\x16";
        assert_eq!(fed(text, 100), (text.len(), None, false));
    }

    #[test]
    fn whatever_two_parsers_could_read_in_two_ways_is_refused() {
        let host = "Host: a\r\n";
        for head in [
            "GET / HTTP/1.1\nHost: a\n\n",
            "GET / HTTP/1.1\r\nHost: a\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n",
            "GET / HTTP/1.1\r\n Host: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX\0: b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            "GET / HTTP/1.1\r\nX: a\r\n\r\n",
            "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / x HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /\u{fc} HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /\r\nHost: a\r\n\r\n",
            "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "G(T / HTTP/1.1\r\nHost: a\r\n\r\n",
        ] {
            refused(head, 400);
        }
        for fields in [
            "Content-Length: 5\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: chunked\r\nContent-Length: 5",
            "Content-Length: 5\r\nContent-Length: 5",
            "Content-Length: 5, 5",
            "Content-Length: +5",
            "Content-Length: 0x5",
            "Content-Length:",
            "Content-Length: 99999999999999999999",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        ] {
            refused(&format!("POST / HTTP/1.1\r\n{host}{fields}\r\n\r\n"), 400);
        }
        for coding in ["gzip, chunked", "chunked, identity", "xchunked", "identity", "\u{b}chunked"] {
            let status = if coding.starts_with('\u{b}') { 400 } else { 501 };
            refused(&format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding: {coding}\r\n\r\n"), status);
        }
        refused("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400);
        refused("GET / HTTP/1.0\r\r\n\r\n", 505);
        refused("CONNECT a:1 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n", 400);
    }

    #[test]
    fn a_host_is_a_host() {
        for host in ["", "a", "A.b:80", "a:", "127.0.0.1:8000", "[::1]", "[::1]:80", "a_b", "x%2f", "127.1"] {
            passes(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        }
        for host in [
            "a b",
            "a\tb",
            "user@a",
            "user:pw@a",
            "@",
            "a/b",
            "a?b",
            "a#b",
            "a\\b",
            "a:b",
            "a:80:80",
            "a:123456",
            "a,b c",
            "[::1",
            "[a]",
            "[::1]a",
            "[::1]80",
            "http://a",
            "<a>",
            "\u{fc}",
            "x%2",
            "\"a\"",
        ] {
            refused(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"), 400);
            refused(&format!("GET http://a/ HTTP/1.0\r\nHost: {host}\r\n\r\n"), 400);
        }
    }

    #[test]
    fn chunks_have_one_form() {
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        for chunks in [
            "5;x=y\r\nabcde\r\n0\r\n\r\n",
            "5 \r\nabcde\r\n0\r\n\r\n",
            "5\nabcde\n0\n\n",
            "0x5\r\nabcde\r\n",
            "-5\r\nabcde\r\n",
            "\r\n",
            "5\r\nabcdef\r\n",
            "5\r\nabcde\n",
            "1234567890abcdef1\r\n",
            "0\r\nX: y\r\n\r\n",
        ] {
            refused(&format!("{head}{chunks}"), 400);
        }
    }

    #[test]
    fn size_and_number_of_fields_are_limited() {
        refused(&format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(1000)), 431);
        refused(&format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "a: b\r\n".repeat(6)), 431);
        refused("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505);
    }

    proptest::proptest! {
        #[test]
        fn pieces_mean_what_the_whole_means(
            text in "(GET|POST) / HTTP/1.1\r\nHost: a\r\n(Content-Length: 3\r\n|Transfer-Encoding: chunked\r\n)?\r\n[3a\r\n0;]{0,12}",
            step in 1_usize..9,
        ) {
            let whole = fed(text.as_bytes(), usize::MAX / 2);
            proptest::prop_assert_eq!(fed(text.as_bytes(), step), whole);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200), step in 1_usize..50) {
            let _ = fed(&bytes, step);
        }
    }
}
