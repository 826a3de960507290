//! The library behind `imgtar`.
