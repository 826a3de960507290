//! `larder` with real engines and registries: what it bakes, when, and what it says of it.

mod bake;
mod closing;
mod closure;
mod composed;
mod emitted;
mod ends;
mod fetched;
mod graph;
mod init;
mod lock;
mod odd_files;
mod packages;
mod prove;
mod settings;
mod steps;
mod tiers;
mod unbaked;
mod why;
