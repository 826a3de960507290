//! What a URL is, for a kind of client: the seam where knowledge of indexes and archives comes in.
//!
//! The engine itself knows nothing of packages: with [`Generic`] every URL is just that.

use std::fmt;

use http::Uri;
use storekit::Digest;

/// What is known of a URL before it is fetched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Class {
    /// Which kind of client it serves.
    pub ecosystem: String,
    /// The package's name.
    pub name: Option<String>,
    /// The package's version.
    pub version: Option<String>,
    /// The package's architecture.
    pub architecture: Option<String>,
    /// The digest that an index announced for the body.
    pub announced: Option<Digest>,
    /// Whether it is an artifact: a file that is published once and not changed. Where its answer
    /// names no lifetime, one may be guessed.
    pub artifact: bool,
}

/// Tells what URLs are.
pub trait Classify: fmt::Debug + Send + Sync {
    /// What the URL is, below the upstream or host of the given name.
    fn classify(&self, source: &str, url: &Uri) -> Class;
}

/// Knows nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Generic;

impl Classify for Generic {
    fn classify(&self, _source: &str, _url: &Uri) -> Class {
        Class { ecosystem: "generic".to_owned(), ..Class::default() }
    }
}
