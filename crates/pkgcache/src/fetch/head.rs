//! What an answer says of a body before that comes.

use http::header::{HeaderValue, VARY};
use http::{HeaderMap, Response};
use hyper::body::{Body as _, Incoming};

use crate::fetch::ask::Ask;
use crate::fetch::redirect::From;
use crate::response::stored_head::Answer;
use crate::rules::age::Times;
use crate::rules::merge::take_cookies;

/// What is known of a body before it comes.
pub(super) struct Head {
    pub(super) answer: Answer,
    /// Its size, where that is said.
    pub(super) total: Option<u64>,
    /// The strong validator by which its upstream knows it again.
    pub(super) tag: Option<HeaderValue>,
    /// The number of the server that it comes from.
    pub(super) from: usize,
    pub(super) cookies: HeaderMap,
    /// Whether the body is kept.
    pub(super) is_kept: bool,
}

impl Head {
    /// What an upstream's answer says.
    pub(super) fn of(ask: &Ask, response: &Response<Incoming>, times: Times) -> Self {
        let mut headers = response.headers().clone();
        if let Some(fields) = &ask.ruling.fields {
            headers = HeaderMap::clone(fields);
        }
        if ask.ruling.negotiated {
            headers.append(VARY, HeaderValue::from_static("accept, accept-encoding"));
        }
        let mut cookies = HeaderMap::new();
        if !ask.target.keep_cookies {
            cookies = take_cookies(&mut headers);
        }
        let From(from) = response.extensions().get().copied().unwrap_or_default();
        Self {
            answer: Answer::new(response.status(), &headers, &ask.headers, times),
            total: response.body().size_hint().exact().or(ask.ruling.size()),
            tag: ask.validator(response.headers()).cloned(),
            from,
            cookies,
            is_kept: true,
        }
    }
}
