//! What is made of what: order, levels, outputs.

mod disks;
mod levels;
mod outputs;
mod platforms;
mod side_by_side;
