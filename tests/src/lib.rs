//! What the end-to-end tests share: a session at the shell, the parts that a machine may lack,
//! engines.
//!
//! Nothing here knows how a tool works inside: the tools are run as their users run them. Their own
//! tests use this package for what they share; it uses none of them.

pub mod daemon;
pub mod isolation;
pub mod mount;
pub mod parts;
pub mod server;
pub mod session;
pub mod tools;

pub use daemon::Daemon;
pub use isolation::{isolate, stand_in};
pub use mount::Mount;
pub use parts::{Part, have, not_run};
pub use server::Server;
pub use session::{Ran, Session};
