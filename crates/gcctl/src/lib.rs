//! The library behind `gcctl`.
