//! Names of images, as each engine completes them. What they are in general is storekit's.
//!
//! Pure. Limit: what a user's registries.conf says of short names is not looked at.

pub(super) mod meant;

pub(crate) use storekit::image_name::{any_engines, full, is_digest, is_digest_of, is_name};

use toolkit::Engine;

/// The name in full that an image gets where it is built or loaded under this one.
pub(crate) fn given(name: &str, engine: Engine) -> String {
    match engine {
        Engine::Docker => full(name),
        Engine::Podman => storekit::image_name::complete(name, "localhost/"),
    }
}

/// The names in full that the engine looks for where a Dockerfile has this one, the first first.
pub(crate) fn sought(name: &str, engine: Engine) -> Vec<String> {
    let mut names = vec![given(name, engine), full(name)];
    names.dedup();
    names
}

/// Whether the name says a tag.
pub(crate) fn has_tag(name: &str) -> bool {
    name.rsplit('/').next().is_some_and(|last| last.contains(':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn podman_looks_for_its_own_images_first() {
        assert_eq!(given("app", Engine::Podman), "localhost/app:latest");
        assert_eq!(sought("app", Engine::Podman), ["localhost/app:latest", "docker.io/library/app:latest"]);
        assert_eq!(sought("localhost/app:1", Engine::Podman), ["localhost/app:1"]);
        assert_eq!(sought("app", Engine::Docker), ["docker.io/library/app:latest"]);
        assert_eq!(any_engines("localhost/app"), any_engines("app"));
    }
}
