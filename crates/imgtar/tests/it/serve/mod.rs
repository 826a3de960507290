//! `imgtar serve`.

pub(crate) mod serving;
mod serving_engines;
mod serving_forms;
