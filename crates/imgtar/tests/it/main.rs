//! `imgtar` as its users meet it: archives, stores, engines.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(clippy::disallowed_methods, reason = "tests write files that nobody else reads")]

mod archives;
mod artifacts;
mod bombs;
mod containerd;
mod credentials;
mod daemons;
mod dice;
mod disks;
mod engines;
mod extracting;
mod foreign;
mod forms;
mod hostile;
mod loose;
mod manual;
mod many;
mod mutated;
mod names;
mod orphans;
mod packing;
mod platforms;
mod proxies;
mod refusals;
mod registries;
mod registry;
mod remotes;
mod repository;
mod saving;
mod serving;
mod serving_engines;
mod serving_forms;
mod session;
mod stored;
mod tars;
mod untrusted;
