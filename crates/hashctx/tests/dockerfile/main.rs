//! What a build reads, from tables of the documented rules: for the syntax that the engines of the
//! property test are too old for, and for what an image cannot show.

mod case;
mod counts;
mod outside;
mod reads;
mod refusals;
