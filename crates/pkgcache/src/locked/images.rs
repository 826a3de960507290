//! A list of images: a reference on each line.

use super::{Listed, Locked, NotALock};
use crate::ecosystem::Ecosystem;

pub(super) fn read(text: &str) -> Result<Listed, NotALock> {
    let mut listed = Listed::default();
    for (number, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        if line.contains(char::is_whitespace) {
            return Err(NotALock::at(number + 1, "not a reference to an image"));
        }
        listed.packages.push(Locked {
            ecosystem: Ecosystem::Oci,
            name: line.to_owned(),
            ..Locked::default()
        });
    }
    Ok(listed)
}
