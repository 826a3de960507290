//! Requests that need no parser: GET and HEAD without a body, and without a field that asks for
//! more than the stored response as it is.
//!
//! Reads only heads that [`crate::wire::framing`] has passed, and says no in every doubt: then the
//! request goes the ordinary way. It decides nothing about what is stored.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::rules::fields::hop;

/// Fields that mean something to the rules of caching, to the connection, or to the question which
/// clients may connect.
const MEANING: [&str; 20] = [
    "authorization",
    "cache-control",
    "content-length",
    "expect",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "keep-alive",
    "pragma",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "range",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
];

/// Such a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SimpleRequest<'a> {
    /// Whether only the head of the answer is wanted.
    pub(crate) head_only: bool,
    /// What is asked for: a path or a URL.
    pub(crate) target: &'a str,
    /// The lines of the fields, each with its end.
    fields: &'a [u8],
}

impl<'a> SimpleRequest<'a> {
    /// The request, if it is one. `head` is a whole head, with the empty line at its end.
    #[must_use]
    pub(crate) fn read(head: &'a [u8]) -> Option<Self> {
        let line = head.split(|byte| *byte == b'\n').next()?;
        let fields = head.get(line.len() + 1..)?.strip_suffix(b"\r\n")?;
        let line = line.strip_suffix(b" HTTP/1.1\r")?;
        let (head_only, target) = match (line.strip_prefix(b"GET "), line.strip_prefix(b"HEAD ")) {
            (Some(target), _) => (false, target),
            (_, Some(target)) => (true, target),
            (None, None) => return None,
        };
        let target = std::str::from_utf8(target).ok()?;
        let plain = Self { head_only, target, fields };
        plain.each().all(|(name, value)| means_nothing(name, value)).then_some(plain)
    }

    /// The fields that are not the connection's, for responses that vary with them. `None` where
    /// one is not valid in HTTP.
    #[must_use]
    pub(crate) fn headers(&self) -> Option<HeaderMap> {
        let mut headers = HeaderMap::new();
        for (name, value) in self.each() {
            headers.append(HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(value).ok()?);
        }
        hop::strip(&mut headers);
        Some(headers)
    }

    /// The fields, their values trimmed.
    fn each(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        self.fields.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(|line| {
            let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
            let (name, value) = line.split_at(colon);
            (name, value.strip_prefix(b":").unwrap_or(value).trim_ascii())
        })
    }
}

/// Whether the field changes nothing about the answer, unless a stored response varies with it.
fn means_nothing(name: &[u8], value: &[u8]) -> bool {
    let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
    if is("connection") || is("proxy-connection") {
        return value.eq_ignore_ascii_case(b"keep-alive");
    }
    if is("user-agent") {
        return !crate::index::login::is_ollama(value);
    }
    !name.is_empty() && !MEANING.iter().any(|other| is(other))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::framing::{Advance, Framer, HeadLimits};

    fn head(line: &str, fields: &str) -> Vec<u8> {
        format!("{line}\r\nHost: a\r\n{fields}\r\n").into_bytes()
    }

    #[track_caller]
    fn ordinary(line: &str, fields: &str) {
        assert_eq!(SimpleRequest::read(&head(line, fields)), None, "{line} {fields}");
    }

    #[test]
    fn a_client_that_is_told_more_is_answered_the_ordinary_way() {
        ordinary(
            "GET /v2/library/a/blobs/sha256:00 HTTP/1.1",
            "User-Agent: ollama/0.12.0 (amd64 linux) Go/go1.24\r\n",
        );
    }

    #[test]
    fn a_request_without_wishes_is_plain() {
        let fields = "User-Agent: x\r\nACCEPT:  a/b \r\nConnection: Keep-Alive\r\naccept: c\r\n";
        let head = head("GET /a?b HTTP/1.1", fields);
        let plain = SimpleRequest::read(&head).unwrap();
        assert_eq!((plain.head_only, plain.target), (false, "/a?b"));
        let expected = crate::rules::fields::tests::headers("host: a\nuser-agent: x\naccept: a/b\naccept: c");
        assert_eq!(plain.headers().unwrap(), expected);
        let head = b"HEAD http://a/ HTTP/1.1\r\nHost: a\r\n\r\n";
        assert_eq!(SimpleRequest::read(head).map(|it| (it.head_only, it.target)), Some((true, "http://a/")));
    }

    #[test]
    fn whatever_means_something_is_the_parsers() {
        for line in
            ["POST / HTTP/1.1", "GET / HTTP/1.0", "get / HTTP/1.1", "GETX / HTTP/1.1", "CONNECT a:1 HTTP/1.1"]
        {
            ordinary(line, "");
        }
        for name in MEANING {
            ordinary("GET / HTTP/1.1", &format!("{}: x\r\n", name.to_uppercase()));
        }
        for value in ["close", "keep-alive, close", "te", "", "upgrade"] {
            ordinary("GET / HTTP/1.1", &format!("connection: {value}\r\n"));
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = SimpleRequest::read(&bytes).map(|plain| plain.headers());
        }

        /// What is plain here has exactly this meaning for a parser of another make.
        #[test]
        fn another_parser_reads_the_same(
            bytes in "(GET|HEAD|G T|POST) [!-~]{0,9} HTTP/1\\.[012]\r\n(Host: a\r\n)?([!-~ \t]{0,9}(:|\r|\n|:\r\n)){0,4}\r\n\r\n",
        ) {
            let bytes = bytes.as_bytes();
            let passed = Framer::new(HeadLimits { head: 1000, fields: 9 }).advance(bytes);
            if let Ok(Advance::Pass(count)) = passed
                && let Some(plain) = SimpleRequest::read(&bytes[..count])
            {
                let mut fields = [httparse::EMPTY_HEADER; 9];
                let mut request = httparse::Request::new(&mut fields);
                proptest::prop_assert_eq!(request.parse(&bytes[..count]), Ok(httparse::Status::Complete(count)));
                proptest::prop_assert_eq!(request.path, Some(plain.target));
                proptest::prop_assert_eq!(request.method, Some(if plain.head_only { "HEAD" } else { "GET" }));
                let theirs: Vec<_> = request.headers.iter().map(|it| (it.name.as_bytes(), it.value.trim_ascii())).collect();
                proptest::prop_assert_eq!(plain.each().collect::<Vec<_>>(), theirs);
            }
        }
    }
}
