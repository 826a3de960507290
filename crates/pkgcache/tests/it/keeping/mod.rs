//! What is stored, how long, and what becomes of it.

mod caching;
mod crash;
mod lifetimes;
mod named;
mod resumed;
mod storage;
