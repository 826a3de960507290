//! The library behind `hashctx`.
