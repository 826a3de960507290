//! Answers made from a stored (or growing) response: whole, a part, several parts, or none because
//! the client has it.
//!
//! Source: RFC 9110, 13.2, 14 and 15.3.7; RFC 9111, 4.3.2 and 5.1.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, AGE, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderValue, RANGE,
};
use http::{HeaderMap, Method, Response, StatusCode};
use hyper::ext::ReasonPhrase;

use crate::response::body::{Body, Piece, Source};
use crate::response::stored_head::Answer;
use crate::rules::conditional;
use crate::rules::fields::cache_status::{CACHE_STATUS, CacheStatus, UPSTREAM_FAILED};
use crate::rules::range::{Asking, Cut, content_range};

/// What a client asks of a response.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question<'a> {
    /// GET or HEAD.
    pub(crate) method: &'a Method,
    /// The request's headers.
    pub(crate) headers: &'a HeaderMap,
}

impl Question<'_> {
    /// The ranges that it asks for, if a range can be cut out of this response.
    #[must_use]
    pub(crate) fn ranges(&self, answer: &Answer) -> Option<Asking> {
        let can = *self.method == Method::GET
            && answer.status == StatusCode::OK
            && conditional::range_applies(self.headers, &answer.headers);
        let text = self.headers.get(RANGE).filter(|_| can)?;
        Asking::parse(text.to_str().ok()?)
    }
}

/// The answer to the question. `size` is that of the body, where it is known; ranges need it.
#[must_use]
pub(crate) fn reply(
    question: &Question<'_>,
    answer: &Answer,
    source: Source,
    size: Option<u64>,
    age: Option<i64>,
    status: &CacheStatus,
) -> Response<Body> {
    let mut headers = answer.headers.clone();
    headers.remove(CONTENT_LENGTH);
    if let Some(age) = age {
        headers.insert(AGE, HeaderValue::from(age.max(0)));
    }
    status.add_to(&mut headers);
    let answerable = answer.status.is_success() && conditional::has_condition(question.headers);
    if answerable && conditional::is_not_modified(question.headers, &answer.headers, answer.times) {
        return not_modified(headers);
    }
    if answer.status == StatusCode::OK && size.is_some() && !headers.contains_key(ACCEPT_RANGES) {
        headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    }
    match size.and_then(|size| Some((question.ranges(answer)?.cut(size), size))) {
        Some((Cut::Nothing, size)) => unsatisfiable(headers, size),
        Some((Cut::Ranges(ranges), size)) => partial(headers, source, &ranges, size),
        Some((Cut::Whole, _)) | None => whole(question, answer.status, headers, source, size),
    }
}

fn built(status: StatusCode, headers: HeaderMap, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

fn not_modified(mut headers: HeaderMap) -> Response<Body> {
    for name in [CONTENT_TYPE, CONTENT_ENCODING, CONTENT_RANGE] {
        headers.remove(name);
    }
    built(StatusCode::NOT_MODIFIED, headers, Body::empty())
}

fn unsatisfiable(mut headers: HeaderMap, size: u64) -> Response<Body> {
    for name in [CONTENT_TYPE, CONTENT_ENCODING] {
        headers.remove(name);
    }
    set(&mut headers, CONTENT_RANGE, &format!("bytes */{size}"));
    built(StatusCode::RANGE_NOT_SATISFIABLE, headers, Body::empty())
}

fn set(headers: &mut HeaderMap, name: http::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

fn whole(
    question: &Question<'_>,
    status: StatusCode,
    mut headers: HeaderMap,
    source: Source,
    size: Option<u64>,
) -> Response<Body> {
    let bodiless = status == StatusCode::NO_CONTENT || status == StatusCode::RESET_CONTENT;
    if let Some(size) = size.filter(|_| !bodiless) {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(size));
    }
    if bodiless || *question.method == Method::HEAD || size == Some(0) {
        return built(status, headers, Body::empty());
    }
    let all = Piece::Of(0..size.unwrap_or(u64::MAX));
    built(status, headers, Body::pieces(source, [all], size))
}

fn partial(mut headers: HeaderMap, source: Source, ranges: &[Range<u64>], size: u64) -> Response<Body> {
    let (pieces, sum) = match ranges {
        [range] => {
            set(&mut headers, CONTENT_RANGE, &content_range(range, size));
            (VecDeque::from([Piece::Of(range.clone())]), range.end - range.start)
        }
        ranges => {
            let kind = headers.get(CONTENT_TYPE).cloned();
            let boundary = boundary(&headers, ranges);
            set(&mut headers, CONTENT_TYPE, &format!("multipart/byteranges; boundary={boundary}"));
            multipart(ranges, size, kind.as_ref(), &boundary)
        }
    };
    headers.insert(CONTENT_LENGTH, HeaderValue::from(sum));
    built(StatusCode::PARTIAL_CONTENT, headers, Body::pieces(source, pieces, Some(sum)))
}

/// 60 characters that are most unlikely in the body, and the same for the same answer however old
/// it has become.
fn boundary(headers: &HeaderMap, ranges: &[Range<u64>]) -> String {
    let mut lasting = headers.clone();
    for name in [AGE.as_str(), CACHE_STATUS] {
        lasting.remove(name);
    }
    storekit::Digest::of(format!("{lasting:?}{ranges:?}").as_bytes()).hex().chars().take(60).collect()
}

/// The parts with their heads, and how many bytes that is.
fn multipart(
    ranges: &[Range<u64>],
    size: u64,
    kind: Option<&HeaderValue>,
    boundary: &str,
) -> (VecDeque<Piece>, u64) {
    let (mut pieces, mut sum) = (VecDeque::new(), 0);
    for range in ranges {
        let mut head =
            format!("\r\n--{boundary}\r\ncontent-range: {}\r\n", content_range(range, size)).into_bytes();
        for part in kind.iter().flat_map(|kind| [b"content-type: ", kind.as_bytes(), b"\r\n"]) {
            head.extend_from_slice(part);
        }
        head.extend_from_slice(b"\r\n");
        sum += head.len() as u64 + (range.end - range.start);
        pieces.extend([Piece::Bytes(Bytes::from(head)), Piece::Of(range.clone())]);
    }
    let end = format!("\r\n--{boundary}--\r\n");
    sum += end.len() as u64;
    pieces.push_back(Piece::Bytes(Bytes::from(end)));
    (pieces, sum)
}

/// What an answer of this program's own says is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reason(pub(crate) String);

/// The status line has no more bytes of a reason: apt reads no more of it.
const LONGEST: usize = 300;

/// The words of the status line. Most clients show no other: apt, npm, uv and yarn these, cargo the
/// body.
fn phrase(status: StatusCode, text: &str) -> Option<ReasonPhrase> {
    let visible = |c: char| if c == ' ' || c.is_ascii_graphic() { c } else { '?' };
    let words = format!("{}: {text}", status.canonical_reason()?);
    let words: String = words.chars().take(LONGEST).map(visible).collect();
    ReasonPhrase::try_from(words.into_bytes()).ok()
}

/// An answer of this program's own. Where it is a refusal, its status line says why.
#[must_use]
pub(crate) fn own(
    status: StatusCode,
    text: impl Into<String>,
    cache: Option<&CacheStatus>,
) -> Response<Body> {
    let mut text = text.into();
    let is_refusal = status.is_client_error() || status.is_server_error();
    let reason = is_refusal.then(|| (phrase(status, &text), Reason(text.clone())));
    text.push('\n');
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(text.len()));
    headers.insert(http::header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(cache) = cache {
        cache.add_to(&mut headers);
    }
    let mut response = built(status, headers, Body::text(text));
    if let Some((phrase, reason)) = reason {
        response.extensions_mut().insert(reason);
        phrase.and_then(|phrase| response.extensions_mut().insert(phrase));
    }
    response
}

/// Whether the client is yarn 1.
#[must_use]
pub(crate) fn is_yarn_classic(request: &HeaderMap) -> bool {
    let agent = request.get(http::header::USER_AGENT).and_then(|value| value.to_str().ok());
    agent.is_some_and(|agent| agent.starts_with("yarn/1."))
}

/// The refusal as yarn 1 shows it: after a server's error it tries again for a while, and then ends
/// with a trace of its own code. Of a client's error it shows the `error` of a JSON body. Where an
/// upstream gave no answer, trying again may help, so that stays as it is.
#[must_use]
pub(crate) fn for_yarn_classic(response: Response<Body>, reason: &str) -> Response<Body> {
    let status = response.headers().get(CACHE_STATUS).and_then(|it| it.to_str().ok()).unwrap_or_default();
    let is_final = matches!(response.status(), StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT);
    if !is_final || status.contains(UPSTREAM_FAILED) {
        return response;
    }
    let text = format!("{}\n", serde_json::json!({ "error": reason }));
    let (mut parts, _) = response.into_parts();
    parts.status = StatusCode::FAILED_DEPENDENCY;
    parts.extensions.remove::<ReasonPhrase>();
    parts.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(text.len()));
    Response::from_parts(parts, Body::text(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::age::Times;
    use crate::rules::fields::tests::headers;
    use http_body_util::BodyExt;
    use std::io::Write;
    use std::sync::Arc;

    fn ask(method: &Method, request: &str) -> (u16, HeaderMap, String) {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123456789").unwrap();
        let response =
            headers("etag: \"a\"\ncontent-type: text/x\nlast-modified: Sun, 06 Nov 1994 08:49:37 GMT");
        let times = Times { requested: 784_111_777, received: 784_111_777 };
        let answer = Answer::new(StatusCode::OK, &response, &HeaderMap::new(), times);
        let request = headers(request);
        let question = Question { method, headers: &request };
        let source = Source::whole(Arc::new(file));
        let response = reply(&question, &answer, source, Some(10), Some(5), &CacheStatus::hit(1));
        let (parts, body) = response.into_parts();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let bytes = runtime.block_on(body.collect()).unwrap().to_bytes();
        if let Some(length) = parts.headers.get(CONTENT_LENGTH).filter(|_| *method == Method::GET) {
            assert_eq!(length.to_str().unwrap(), bytes.len().to_string());
        }
        (parts.status.as_u16(), parts.headers, String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[track_caller]
    fn check(request: &str, status: u16, range: Option<&str>, body: &str) {
        let (found, headers, text) = ask(&Method::GET, request);
        let found_range = headers.get(CONTENT_RANGE).map(|value| value.to_str().unwrap());
        assert_eq!((found, found_range, text.as_str()), (status, range, body), "{request}");
    }

    #[test]
    fn ranges_are_cut_out() {
        check("x: y", 200, None, "0123456789");
        check("range: bytes=2-4", 206, Some("bytes 2-4/10"), "234");
        check("range: bytes=-3", 206, Some("bytes 7-9/10"), "789");
        check("range: bytes=20-", 416, Some("bytes */10"), "");
        check("range: bytes=x", 200, None, "0123456789");
        check("range: bytes=2-4\nif-range: \"a\"", 206, Some("bytes 2-4/10"), "234");
        check("range: bytes=2-4\nif-range: \"b\"", 200, None, "0123456789");
    }

    #[test]
    fn a_refusal_says_why_in_its_status_line() {
        let words = |status, text: &str| {
            let response = own(status, text, None);
            let words = response.extensions().get::<ReasonPhrase>().map(|it| it.as_bytes().to_vec());
            words.map(|it| String::from_utf8(it).unwrap())
        };
        let refused = words(StatusCode::BAD_GATEWAY, "it is `é`\r\nx: y\0\u{1b}").unwrap();
        assert_eq!(refused, "Bad Gateway: it is `?`??x: y??");
        assert_eq!(words(StatusCode::NOT_FOUND, &"é".repeat(1000)).unwrap().len(), LONGEST);
        assert_eq!(words(StatusCode::OK, "ok"), None);
    }

    #[test]
    fn the_parts_of_an_answer_are_parted_alike_when_it_is_older() {
        let boundary = |lines: &str| boundary(&headers(lines), &[0..1, 3..4]);
        let young = boundary("etag: \"a\"\nage: 1\ncache-status: pkgcache; hit; ttl=9");
        assert_eq!(young, boundary("etag: \"a\"\nage: 2\ncache-status: pkgcache; hit; ttl=8"));
        assert_ne!(young, boundary("etag: \"b\"\nage: 1"));
    }

    #[test]
    fn several_ranges_come_in_parts() {
        let (status, headers, text) = ask(&Method::GET, "range: bytes=0-1,8-");
        assert_eq!(status, 206);
        let kind = headers[CONTENT_TYPE].to_str().unwrap();
        let boundary = kind.strip_prefix("multipart/byteranges; boundary=").unwrap();
        let part = |range: &str, body: &str| {
            format!(
                "\r\n--{boundary}\r\ncontent-range: bytes {range}/10\r\ncontent-type: text/x\r\n\r\n{body}"
            )
        };
        assert_eq!(text, part("0-1", "01") + &part("8-9", "89") + &format!("\r\n--{boundary}--\r\n"));
    }

    #[test]
    fn what_the_client_has_is_not_sent() {
        check("if-none-match: \"a\"\nrange: bytes=0-1", 304, None, "");
        check("if-modified-since: Sun, 06 Nov 1994 08:49:37 GMT", 304, None, "");
        check("if-none-match: \"b\"", 200, None, "0123456789");
        let (status, headers, text) = ask(&Method::HEAD, "x: y");
        assert_eq!((status, headers[CONTENT_LENGTH].to_str().unwrap(), text.as_str()), (200, "10", ""));
        assert_eq!(
            (&headers[AGE], &headers["cache-status"]),
            (&"5".parse().unwrap(), &"pkgcache; hit; ttl=1".parse().unwrap())
        );
    }
}
