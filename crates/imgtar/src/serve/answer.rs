//! Responses: their bodies, and the headers that all or many have.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use hyper::body::{Frame, SizeHint};
use serde_json::Value;
use storekit::Digest;
use tokio::sync::mpsc;

pub(crate) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");

/// The body of a response.
#[derive(Debug)]
pub(crate) enum ResponseBody {
    /// None.
    Empty,
    /// All of it.
    Whole(Bytes),
    /// What a thread reads and sends. Less than `left` bytes, or an error, breaks the connection
    /// off.
    Stream {
        /// Where it comes from.
        chunks: mpsc::Receiver<io::Result<Bytes>>,
        /// How many bytes are still to come.
        left: u64,
    },
}

impl ResponseBody {
    fn length(&self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::Whole(bytes) => bytes.len() as u64,
            Self::Stream { left, .. } => *left,
        }
    }
}

impl hyper::body::Body for ResponseBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match &mut *self {
            Self::Empty | Self::Stream { left: 0, .. } => Poll::Ready(None),
            Self::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Self::Empty;
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Self::Stream { chunks, left } => chunks.poll_recv(context).map(|chunk| match chunk {
                Some(Ok(bytes)) => {
                    *left = left.saturating_sub(bytes.len() as u64);
                    Some(Ok(Frame::data(bytes)))
                }
                Some(Err(error)) => Some(Err(error)),
                None => Some(Err(io::ErrorKind::UnexpectedEof.into())),
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.length() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length())
    }
}

/// A response without a body.
pub(crate) fn empty(status: StatusCode) -> Response<ResponseBody> {
    with_body(status, ResponseBody::Empty)
}

/// A response whose body is a JSON document.
pub(crate) fn json(status: StatusCode, document: &Value) -> Response<ResponseBody> {
    let response = with_body(status, ResponseBody::Whole(document.to_string().into()));
    with(response, header::CONTENT_TYPE, "application/json")
}

pub(crate) fn with_body(status: StatusCode, body: ResponseBody) -> Response<ResponseBody> {
    let length = body.length();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    if status != StatusCode::NO_CONTENT && status != StatusCode::NOT_MODIFIED {
        response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
    }
    response
}

/// Adds a header, where its value may be one.
pub(crate) fn with(
    mut response: Response<ResponseBody>,
    name: HeaderName,
    value: &str,
) -> Response<ResponseBody> {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
    response
}

/// Adds what names the content.
pub(crate) fn with_digest(response: Response<ResponseBody>, digest: &Digest) -> Response<ResponseBody> {
    let response = with(response, header::ETAG, &format!("\"{digest}\""));
    with(response, CONTENT_DIGEST, &digest.to_string())
}

/// Whether the client has this very content already (`If-None-Match`).
pub(crate) fn is_known(headers: &http::HeaderMap, digest: &Digest) -> bool {
    let tag = format!("\"{digest}\"");
    let listed = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    listed.flat_map(|list| list.split(',')).any(|one| one.trim().trim_start_matches("W/") == tag)
}

/// Last touches: what every response has, and no body for HEAD.
pub(crate) fn finished(mut response: Response<ResponseBody>, is_head: bool) -> Response<ResponseBody> {
    response.headers_mut().insert(API_VERSION, HeaderValue::from_static("registry/2.0"));
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if is_head {
        *response.body_mut() = ResponseBody::Empty;
    }
    response
}
