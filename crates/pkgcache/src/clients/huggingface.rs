//! `huggingface_hub`: where its hub is.
//!
//! It has no file of settings for that; what it has built in, it is asked for.

use toolkit::Environment;

use crate::clients::{Ecosystem, Found, Role};

/// The variable that names the hub.
pub const ENDPOINT: &str = "HF_ENDPOINT";
/// What makes Python print the hub that the library has built in.
pub const PROGRAM: &str = "import os; os.environ.pop('HF_ENDPOINT', None); \
                           from huggingface_hub import constants; print(constants.ENDPOINT)";

/// What the variables say.
#[must_use]
pub fn huggingface(environment: &Environment) -> Found {
    let mut found = Found::default();
    if let Some(url) = environment.get(ENDPOINT) {
        found.index(Ecosystem::HuggingFace, Role::Default, url, ENDPOINT);
    }
    found
}

/// What the library printed of itself.
#[must_use]
pub fn built_in(said: &str) -> Option<Found> {
    let url = said.lines().next().unwrap_or_default().trim();
    let is_one = url.starts_with("https://") && !url.contains(char::is_whitespace);
    let mut found = Found::default();
    found.index(Ecosystem::HuggingFace, Role::Default, url, "huggingface_hub's built-in default");
    is_one.then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clients::tests::{environment, lines};

    #[test]
    fn the_variable_names_the_hub() {
        let found = huggingface(&environment(&[("HF_ENDPOINT", "https://me:word@hub.example")]));
        assert_eq!(lines(&found), ["default https://hub.example/* (HF_ENDPOINT)"]);
        assert!(lines(&huggingface(&environment(&[]))).is_empty());
        let set = huggingface(&environment(&[("HF_ENDPOINT", "file:///srv")]));
        assert!(set.has_default(Ecosystem::HuggingFace) && set.indexes.is_empty());
    }

    #[test]
    fn the_library_says_what_it_has_built_in() {
        let found = built_in("https://hub.example\n").unwrap();
        assert_eq!(lines(&found), ["default https://hub.example/ (huggingface_hub's built-in default)"]);
        for wrong in ["", "Traceback (most recent call last):", "https://a b", "hub.example"] {
            assert!(built_in(wrong).is_none(), "{wrong}");
        }
    }
}
