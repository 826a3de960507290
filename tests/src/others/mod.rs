//! Servers of other people's, each started for a test alone.

pub mod daemon;
pub mod docker_registry;
pub mod moto;
mod quiet;
pub mod rclone;

pub use daemon::Daemon;
pub use docker_registry::DockerRegistry;
pub use moto::Moto;
pub use rclone::Rclone;
