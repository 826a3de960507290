//! What `imgtar` prints, and its manual.

mod forms;
mod manual;
