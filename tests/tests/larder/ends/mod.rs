//! Bakes that end early, and engines that do not answer.

mod interrupted;
mod killed;
mod stopped;
