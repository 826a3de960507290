//! `go.sum`: the sums of modules, and of go.mod files.
//!
//! Source: "Go Modules Reference", "go.sum files".

use std::collections::BTreeMap;

use super::{File, Listed, Locked, NotALock};
use crate::ecosystem::Ecosystem;
use crate::ecosystem::go::dirhash;

/// What a version's go.mod is called among its files.
pub(crate) const MOD: &str = "go.mod";
/// And its zip.
pub(crate) const ZIP: &str = "zip";

pub(super) fn read(text: &str) -> Result<Listed, NotALock> {
    let mut versions: BTreeMap<(&str, &str), Vec<File>> = BTreeMap::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let words: Vec<_> = line.split_whitespace().collect();
        let [module, version, sum] = words.as_slice() else {
            return Err(NotALock::at(number + 1, "not `MODULE VERSION SUM`"));
        };
        let (version, name) = version.strip_suffix("/go.mod").map_or((*version, ZIP), |it| (it, MOD));
        let files = versions.entry((module, version)).or_default();
        // A sum of a later kind says nothing here.
        if let Some(sum) = dirhash::sum(sum) {
            files.push(File { name: Some(name.to_owned()), sum: Some(sum), ..File::default() });
        }
    }
    let mut listed = Listed::default();
    for ((module, version), files) in versions {
        if files.is_empty() {
            listed.leave_out(format!("{module} {version}"), "has no sum that begins with `h1:`");
            continue;
        }
        let (name, version) = (module.to_owned(), version.to_owned());
        listed.packages.push(Locked { ecosystem: Ecosystem::Go, name, version, files, ..Locked::default() });
    }
    Ok(listed)
}
