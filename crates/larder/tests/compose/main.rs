//! Compose files: read as compose and podman-compose read them, and written so that all of them
//! take the result.

mod agrees;
mod hostile;
mod kit;
mod specification;
