//! What a client is told when something cannot be done: a status, and a body as the
//! distribution-spec wants it.
//!
//! The store's own troubles are told in general words only: what exactly went wrong, with its path,
//! goes to the log.
//!
//! Source: OCI distribution-spec v1.1, "Error Codes".

use std::fmt::Display;

use http::header::{self, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use serde_json::{Value, json};

use crate::serve::answer::{self, ResponseBody};

/// Why a request is refused.
#[derive(Debug)]
pub(crate) struct Fault(Box<Inner>);

#[derive(Debug)]
struct Inner {
    status: StatusCode,
    code: &'static str,
    message: String,
    detail: Value,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// What only the log is told.
    cause: Option<String>,
}

/// The result of handling a request.
pub(crate) type Result<T, E = Fault> = std::result::Result<T, E>;

impl Fault {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            status,
            code,
            message: message.into(),
            detail: Value::Null,
            headers: Vec::new(),
            cause: None,
        }))
    }

    pub(crate) fn blob_unknown(digest: &impl ToString) -> Self {
        let fault = Self::new(StatusCode::NOT_FOUND, "BLOB_UNKNOWN", "the blob is not stored");
        fault.detail(json!({ "digest": shown(&digest.to_string()) }))
    }

    pub(crate) fn manifest_unknown(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", message)
    }

    pub(crate) fn manifest_invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "MANIFEST_INVALID", message)
    }

    /// The config that a manifest names is one with which no engine could load the image.
    pub(crate) fn config_invalid(config: &impl ToString, message: impl Into<String>) -> Self {
        Self::manifest_invalid(message).detail(json!({ "config": config.to_string() }))
    }

    pub(crate) fn manifest_blob_unknown(digest: &impl ToString, message: impl Into<String>) -> Self {
        let fault = Self::new(StatusCode::NOT_FOUND, "MANIFEST_BLOB_UNKNOWN", message);
        fault.detail(json!({ "digest": digest.to_string() }))
    }

    pub(crate) fn too_large(message: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "SIZE_INVALID", message)
    }

    pub(crate) fn size_invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "SIZE_INVALID", message)
    }

    pub(crate) fn digest_invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "DIGEST_INVALID", message)
    }

    pub(crate) fn name_invalid(name: &str) -> Self {
        let fault = Self::new(StatusCode::BAD_REQUEST, "NAME_INVALID", "this is not a repository's name");
        fault.detail(json!({ "name": shown(name) }))
    }

    pub(crate) fn name_unknown(name: &str) -> Self {
        let fault = Self::new(StatusCode::NOT_FOUND, "NAME_UNKNOWN", "there is no such repository");
        fault.detail(json!({ "name": shown(name) }))
    }

    pub(crate) fn tag_invalid(tag: &str) -> Self {
        let fault =
            Self::new(StatusCode::BAD_REQUEST, "MANIFEST_INVALID", "this is neither a tag nor a digest");
        fault.detail(json!({ "reference": shown(tag) }))
    }

    pub(crate) fn upload_unknown() -> Self {
        Self::new(StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN", "there is no such upload: begin it anew")
    }

    pub(crate) fn upload_invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BLOB_UPLOAD_INVALID", message)
    }

    pub(crate) fn upload_busy() -> Self {
        Self::new(StatusCode::CONFLICT, "BLOB_UPLOAD_INVALID", "another request writes to this upload")
    }

    pub(crate) fn out_of_order() -> Self {
        let message = "the chunk does not begin where the last one ended";
        Self::new(StatusCode::RANGE_NOT_SATISFIABLE, "BLOB_UPLOAD_INVALID", message)
    }

    pub(crate) fn out_of_range(size: u64) -> Self {
        Self::new(StatusCode::RANGE_NOT_SATISFIABLE, "SIZE_INVALID", "the range is outside the blob")
            .header(header::CONTENT_RANGE, &format!("bytes */{size}"))
    }

    pub(crate) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "UNSUPPORTED", "this is not a path of the distribution API")
    }

    pub(crate) fn method(allowed: &'static str) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", "this method is not allowed here")
            .header(header::ALLOW, allowed)
    }

    pub(crate) fn needed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", message).header(header::ALLOW, "GET, HEAD")
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "UNSUPPORTED", message)
    }

    pub(crate) fn denied(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "DENIED", message)
    }

    pub(crate) fn unauthorized() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "UNAUTHORIZED",
            "this registry requires its token, as the password",
        )
        .header(header::WWW_AUTHENTICATE, "Basic realm=\"larder\"")
    }

    pub(crate) fn too_many() -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS", "too many uploads are under way")
            .header(header::RETRY_AFTER, "30")
    }

    pub(crate) fn timed_out() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "BLOB_UPLOAD_INVALID", "the request's body stopped coming")
    }

    /// Stored bytes that do not match their digest. They were moved aside: a push mends the store.
    pub(crate) fn damaged(cause: &dyn Display) -> Self {
        let message = "what is stored is damaged and was moved aside; push it anew";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN", message).cause(cause)
    }

    fn trouble(status: StatusCode, message: &str, cause: &dyn Display) -> Self {
        Self::new(status, "UNKNOWN", message).cause(cause)
    }

    /// A failure that is the program's own.
    pub(crate) fn internal(cause: &dyn Display) -> Self {
        let message = "the registry failed; its log says why";
        Self::trouble(StatusCode::INTERNAL_SERVER_ERROR, message, cause)
    }

    fn detail(mut self, detail: Value) -> Self {
        self.0.detail = detail;
        self
    }

    fn cause(mut self, cause: &dyn Display) -> Self {
        self.0.cause = Some(cause.to_string());
        self
    }

    /// Adds a header, where its value may be one.
    pub(crate) fn header(mut self, name: HeaderName, value: &str) -> Self {
        self.0.headers.extend(HeaderValue::from_str(value).ok().map(|value| (name, value)));
        self
    }

    /// What the log should know of.
    pub(crate) fn to_log(&self) -> Option<&str> {
        self.0.cause.as_deref()
    }

    pub(crate) fn into_response(self) -> Response<ResponseBody> {
        let Inner { status, code, message, detail, headers, .. } = *self.0;
        let body = json!({ "errors": [{ "code": code, "message": message, "detail": detail }] });
        let mut response = answer::json(status, &body);
        response.headers_mut().extend(headers);
        response
    }
}

fn shown(text: &str) -> String {
    text.chars().take(300).collect()
}

impl From<storekit::Error> for Fault {
    fn from(error: storekit::Error) -> Self {
        use storekit::Error;
        match &error {
            Error::Missing { digest, .. } => {
                Self::manifest_blob_unknown(digest, "a blob that the manifest needs is not stored")
            }
            Error::Mismatch { announced, found } => {
                let message = format!("the bytes hash to `{found}`, not to `{announced}`");
                Self::digest_invalid(message)
            }
            Error::BadDocument { reason, .. } => Self::manifest_invalid(shown(reason)),
            Error::Locked { .. } => {
                let message = "the store is locked by another process; try again";
                Self::trouble(StatusCode::SERVICE_UNAVAILABLE, message, &error)
                    .header(header::RETRY_AFTER, "5")
            }
            Error::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
                let message = "the registry's disk is full";
                Self::trouble(StatusCode::INSUFFICIENT_STORAGE, message, &with_causes(&error))
            }
            _ if error.is_corrupt() => Self::damaged(&error),
            _ => Self::internal(&with_causes(&error)),
        }
    }
}

impl From<crate::Error> for Fault {
    fn from(error: crate::Error) -> Self {
        match error {
            crate::Error::Store(error) => error.into(),
            error => Self::internal(&with_causes(&error)),
        }
    }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}
