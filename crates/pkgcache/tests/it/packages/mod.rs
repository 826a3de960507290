//! What is known of packages: their indexes, and who vouches for files.

mod forms;
mod head;
mod indexes;
mod integrity;
mod npm_versions;
mod python_pages;
