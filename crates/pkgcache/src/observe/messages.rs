//! What the person who runs the server should know.

use std::fmt;
use std::sync::Arc;

/// How much a message matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// Something happened that was asked for.
    Note,
    /// Something went wrong that no client's answer tells.
    Warning,
}

/// Takes each message as it comes, from any thread. Strangers' text may stand in it: whoever shows
/// it takes care of control characters.
#[derive(Clone)]
pub struct Messages(Arc<Take>);

type Take = dyn Fn(Weight, &str) + Send + Sync;

impl Messages {
    /// Hands each message to `take`.
    pub fn new(take: impl Fn(Weight, &str) + Send + Sync + 'static) -> Self {
        Self(Arc::new(take))
    }

    /// Something went wrong.
    pub fn warning(&self, text: &str) {
        (self.0)(Weight::Warning, text);
    }

    /// Something happened.
    pub fn note(&self, text: &str) {
        (self.0)(Weight::Note, text);
    }
}

/// Hands them to nobody.
impl Default for Messages {
    fn default() -> Self {
        Self::new(|_, _| ())
    }
}

impl fmt::Debug for Messages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Messages")
    }
}
