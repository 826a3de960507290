//! What is on the books: lists, what would be free, what happened, whether it is sound.

mod info;
mod kinds;
mod measured;
mod notes;
mod odd;
mod report;
mod thrash;
mod verify;
mod what_if;
