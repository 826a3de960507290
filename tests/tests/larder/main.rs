//! `larder` with real engines and registries: what it bakes, when, and what it says of it.

mod bake;
mod closing;
mod composed;
mod disks;
mod fetched;
mod init;
mod interrupted;
mod killed;
mod levels;
mod lock;
mod outputs;
mod packages;
mod platforms;
mod prove;
mod settings;
mod side_by_side;
mod stopped;
mod tiers;
mod unbaked;
mod why;
