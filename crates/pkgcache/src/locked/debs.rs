//! A list of packages for apt: names on each line, with `=VERSION` where that is pinned.

use super::{Listed, Locked, NotALock};
use crate::ecosystem::Ecosystem;

pub(super) fn read(text: &str) -> Result<Listed, NotALock> {
    let mut listed = Listed::default();
    for (number, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default();
        for word in line.split_whitespace() {
            let (name, version) = word.split_once('=').unwrap_or((word, ""));
            // `NAME:ARCHITECTURE` is NAME of that architecture.
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.:".contains(&byte);
            if name.is_empty() || !name.bytes().all(plain) {
                return Err(NotALock::at(number + 1, "not the name of a package"));
            }
            listed.packages.push(Locked {
                ecosystem: Ecosystem::Apt,
                name: name.to_owned(),
                version: version.to_owned(),
                ..Locked::default()
            });
        }
    }
    Ok(listed)
}
