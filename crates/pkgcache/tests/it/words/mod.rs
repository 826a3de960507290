//! What the program prints, and what its commands do.

mod commands;
mod listing;
mod records;
mod running;
mod status;
