//! What the tests of all crates share: a session at the shell, servers, the parts that a machine
//! may lack, engines.
//!
//! Nothing here knows how a tool works inside: the tools are run as their users run them. Their own
//! tests use this package for what they share; it uses none of them. What only one tool's tests
//! need (a registry's answers, a store of images) stands there, on top of this.
//!
//! - [`Session`]: a folder with a store and a home of its own, [`Ran`]: what a command gave.
//! - [`Server`]: a process that says where it listens; [`http`]: a server that a test plays, a
//!   client; [`Daemon`], [`DockerRegistry`], [`Rclone`], [`Moto`]: other people's, of a test's own.
//! - [`guide`]: plays a guide for people, line by line.
//! - [`have`]: the parts that a machine may lack. [`until()`]: waits for what happens.
#![expect(clippy::missing_panics_doc, reason = "whatever goes wrong here fails the test")]

pub mod guide;
pub mod http;
pub mod isolation;
pub mod mount;
pub mod others;
pub mod parts;
pub mod process;
pub mod ran;
pub mod reviewed;
pub mod server;
pub mod session;
pub mod tools;
pub mod until;

pub use isolation::{isolate, sh, stand_in, write};
pub use mount::Mount;
pub use others::{Daemon, DockerRegistry, Moto, Rclone};
pub use parts::{Part, have, not_run};
pub use process::{signal, until_it_listens, until_it_waits};
pub use ran::Ran;
pub use reviewed::reviewed;
pub use server::Server;
pub use session::Session;
pub use until::{until, until_some};
