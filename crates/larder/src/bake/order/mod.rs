//! What there is to bake, and in which order: images and disks alike, as pieces; whose outputs one
//! of them reads (`feeds`); and the plan, in which each comes after what it is made from.
//!
//! Deliberately absent: when a piece is baked, which is the scheduler's; what became of those that
//! it comes after (`before`).

pub(super) mod feeds;
pub(super) mod pieces;
pub(super) mod plan;
