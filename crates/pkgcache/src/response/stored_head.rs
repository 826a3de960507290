//! A response's head with all that the rules need to know of it, and its form in an entry file.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use jiff::Timestamp;
use storekit::{Digest, Level, StoredResponse};

use crate::ecosystem::ruling::{Freshness, Ruling};
use crate::rules::age::{self, Times};
use crate::rules::policy::Policy;
use crate::rules::request::Wishes;
use crate::rules::reuse::{self, Reuse};
use crate::rules::{freshness, merge, vary};

/// What never becomes stale is said to hold for so many seconds more.
const YEAR: i64 = 31_536_000;

/// The head of a response that is stored, or being stored.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answer {
    /// The response's status code.
    pub(crate) status: StatusCode,
    /// Its fields, those that are kept.
    pub(crate) headers: HeaderMap,
    /// What it says about caching.
    pub(crate) policy: Policy,
    /// When it was asked for and when it came.
    pub(crate) times: Times,
    /// For how many seconds it is fresh, from its beginning, by what it says itself.
    pub(crate) explicit: Option<i64>,
    /// The same by a guess, where one may be made.
    pub(crate) guess: Option<i64>,
    /// The names of the request headers that selected it.
    pub(crate) vary: Vec<String>,
    /// What they were.
    pub(crate) selecting: BTreeMap<String, String>,
}

impl Answer {
    /// A response that just came, as it is stored. `request` is what was asked.
    #[must_use]
    pub(crate) fn new(status: StatusCode, headers: &HeaderMap, request: &HeaderMap, times: Times) -> Self {
        let policy = Policy::of(headers);
        let mut headers = merge::stored_fields(headers, &policy);
        if !headers.contains_key(http::header::DATE) {
            // The recipient of a response without one adds it (RFC 9110, 6.6.1).
            headers.extend(field("date", &crate::rules::fields::date::format(times.received)));
        }
        let vary = vary::names(&headers).unwrap_or_default();
        let selecting = vary::selecting(&vary, request);
        Self { vary, selecting, ..Self::read(status, headers, times) }
    }

    fn read(status: StatusCode, headers: HeaderMap, times: Times) -> Self {
        let policy = Policy::of(&headers);
        let explicit = freshness::explicit(&headers, &policy, times);
        let guess = freshness::guess(status, &headers, &policy, times);
        let (vary, selecting) = (Vec::new(), BTreeMap::new());
        Self { status, headers, policy, times, explicit, guess, vary, selecting }
    }

    /// The same, after the server said that it still holds.
    #[must_use]
    pub(crate) fn freshened(&self, update: &HeaderMap, times: Times) -> Self {
        let headers = merge::freshened(&self.headers, update);
        let (vary, selecting) = (self.vary.clone(), self.selecting.clone());
        Self { vary, selecting, ..Self::read(self.status, headers, times) }
    }

    /// From an entry file. `None` where a field is not valid in HTTP.
    #[must_use]
    pub(crate) fn from_stored(stored: &StoredResponse) -> Option<Self> {
        let status = StatusCode::from_u16(stored.status).ok()?;
        let mut headers = HeaderMap::with_capacity(stored.headers.len());
        for (name, value) in &stored.headers {
            let (name, value) = field(name, value)?;
            headers.append(name, value);
        }
        let times = Times { requested: stored.requested.as_second(), received: stored.received.as_second() };
        let (vary, selecting) = (stored.vary.clone(), stored.selecting.clone());
        Some(Self { vary, selecting, ..Self::read(status, headers, times) })
    }

    /// For an entry file.
    #[must_use]
    pub(crate) fn to_stored(&self, digest: Digest, size: u64) -> StoredResponse {
        let text = |value: &HeaderValue| value.as_bytes().iter().copied().map(char::from).collect();
        let second = |seconds| Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH);
        StoredResponse {
            status: self.status.as_u16(),
            digest,
            size,
            part: None,
            announced: None,
            level: Level::None,
            requested: second(self.times.requested),
            received: second(self.times.received),
            headers: self.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
            vary: self.vary.clone(),
            selecting: self.selecting.clone(),
        }
    }

    /// For how many seconds it is fresh, from its beginning. A guess counts only where `heuristic`
    /// says so.
    #[must_use]
    pub(crate) fn lifetime(&self, heuristic: bool) -> i64 {
        self.explicit.or(self.guess.filter(|_| heuristic)).unwrap_or(0)
    }

    /// For how many more seconds it is fresh, by HTTP's rules or those of what it is.
    #[must_use]
    pub(crate) fn ttl(&self, ruling: &Ruling, heuristic: bool, now: i64) -> i64 {
        match ruling.freshness {
            Freshness::Http | Freshness::Never => self.lifetime(heuristic) - self.age(now),
            // A clock that was set back does not make it last.
            Freshness::For(_) if self.times.received > now => 0,
            Freshness::For(seconds) => seconds - (now - self.times.received),
            Freshness::Forever => YEAR,
        }
    }

    /// Whether it may stand in for an upstream that fails, where that hangs on what it is and not
    /// on HTTP's rules.
    #[must_use]
    pub(crate) fn stands_by_rule(&self, ruling: &Ruling, now: i64) -> Option<bool> {
        (!ruling.is_http())
            .then(|| self.status == StatusCode::OK && -self.ttl(ruling, false, now) <= ruling.stale)
    }

    /// What may be done with it. What cannot change, or holds for a time that is set here, does so
    /// whatever the client says.
    #[must_use]
    pub(crate) fn reuse(&self, ruling: &Ruling, heuristic: bool, wishes: &Wishes, now: i64) -> Reuse {
        match ruling.freshness {
            Freshness::Http | Freshness::Never => {
                reuse::decide(&self.policy, wishes, self.lifetime(heuristic), self.age(now))
            }
            Freshness::For(_) if self.ttl(ruling, heuristic, now) <= 0 => Reuse::AskFirst,
            Freshness::For(_) | Freshness::Forever => Reuse::Fresh,
        }
    }

    /// How old it is.
    #[must_use]
    pub(crate) fn age(&self, now: i64) -> i64 {
        age::current(&self.headers, self.times, now)
    }

    /// Whether it answers this request, as far as `Vary` goes.
    #[must_use]
    pub(crate) fn answers(&self, request: &HeaderMap) -> bool {
        vary::matches(&self.vary, &self.selecting, request, &self.headers)
    }
}

/// A field from the characters that stand for its bytes.
fn field(name: &str, value: &str) -> Option<(HeaderName, HeaderValue)> {
    let bytes: Option<Vec<u8>> = value.chars().map(|c| u8::try_from(c).ok()).collect();
    Some((HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_bytes(&bytes?).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::fields::tests::headers;

    #[test]
    fn an_answer_survives_its_file() {
        let response = headers("etag: \"ü\"\nvary: foo\ncache-control: max-age=5, no-cache=\"a\"\na: 1");
        let times = Times { requested: 784_111_776, received: 784_111_777 };
        let answer = Answer::new(StatusCode::OK, &response, &headers("foo: 1"), times);
        assert!(!answer.headers.contains_key("a") && answer.lifetime(false) == 5);
        assert_eq!(answer.headers["date"], "Sun, 06 Nov 1994 08:49:37 GMT");
        let stored = answer.to_stored(Digest::of(b"x"), 1);
        assert_eq!(Answer::from_stored(&stored).unwrap(), answer);
        assert!(answer.answers(&headers("foo: 1")) && !answer.answers(&headers("foo: 2")));
    }

    #[test]
    fn a_field_that_http_does_not_have_makes_no_answer() {
        let times = Times { requested: 0, received: 0 };
        let answer = Answer::new(StatusCode::OK, &headers("a: 1"), &HeaderMap::new(), times);
        for (name, value) in [("a b", "1"), ("a", "x\ny"), ("a", "\u{100}")] {
            let mut stored = answer.to_stored(Digest::of(b"x"), 1);
            stored.headers.push((name.to_owned(), value.to_owned()));
            assert_eq!(Answer::from_stored(&stored), None, "{name}: {value}");
        }
    }

    /// An entry file with two responses.
    fn entry_file() -> Vec<u8> {
        let key = storekit::PackageKey::new("generic", "a", "http://a/b".to_owned(), None);
        let mut entry = storekit::PackageEntry::new(key);
        let times = Times { requested: 784_111_776, received: 784_111_777 };
        for foo in ["1", "2"] {
            let response = headers("etag: \"ü\"\nvary: foo\ncache-control: max-age=5");
            let answer = Answer::new(StatusCode::OK, &response, &headers(&format!("foo: {foo}")), times);
            entry.responses.push(answer.to_stored(Digest::of(foo.as_bytes()), 1));
        }
        entry.to_text().into_bytes()
    }

    fn read(text: &[u8]) -> Option<Vec<Answer>> {
        let entry = storekit::PackageEntry::parse(text, camino::Utf8Path::new("x")).ok()?;
        Some(entry.responses.iter().filter_map(Answer::from_stored).collect())
    }

    #[test]
    fn an_entry_file_is_read_as_it_was_written() {
        assert_eq!(read(&entry_file()).map(|answers| answers.len()), Some(2));
    }

    proptest::proptest! {
        #[test]
        fn no_damage_to_an_entry_file_makes_it_panic(
            damage in proptest::collection::vec((0_usize..2000, 0_usize..4, proptest::num::u8::ANY), 1..5),
        ) {
            let mut text = entry_file();
            for (place, kind, byte) in damage {
                let Some(place) = place.checked_rem(text.len()) else { break };
                match kind {
                    0 => text[place] = byte,
                    1 => text.insert(place, byte),
                    2 => drop(text.drain(place..(place + usize::from(byte)).min(text.len()))),
                    _ => text.truncate(place + 1),
                }
            }
            for answer in read(&text).unwrap_or_default() {
                // Whatever it says now, it can be written, and means the same then.
                let again = Answer::from_stored(&answer.to_stored(Digest::of(b"x"), 1));
                proptest::prop_assert_eq!(again, Some(answer));
            }
        }

        #[test]
        fn no_entry_file_makes_it_panic(text in "(version = 1\n)?(\\[\\[response\\]\\]\n)?\\PC{0,80}") {
            if let Ok(entry) = storekit::PackageEntry::parse(text.as_bytes(), camino::Utf8Path::new("x")) {
                let _ = entry.responses.iter().map(Answer::from_stored).count();
            }
        }
    }
}
