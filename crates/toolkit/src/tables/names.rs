//! The tables that larder.toml may have, whichever tool reads them.

use storekit::printable;

use crate::nearest::nearest;

/// The names of the tables, those of all tools. One that begins with `x-` is its user's.
pub const TABLES: [&str; 14] = [
    "cache", "ci", "compose", "defaults", "disk", "extra", "gcctl", "image", "larder", "pkgcache", "profile",
    "service", "store", "tier",
];

const KNOWN: &str = "there are `[image.NAME]`, `[disk.NAME]`, `[service.NAME]`, `[compose]`, `[defaults]`, `[store]`, \
                     `[cache]`, `[ci]`, `[gcctl]`, `[pkgcache]`, `[[extra]]`, `[tier.NAME]`, `[profile.NAME]` and \
                     `[larder]`; a name that begins with `x-` is yours";

/// What is wrong with a table that no tool knows, and what may have been meant; `None` for one that
/// is known. A misspelt one would silently mean nothing.
#[must_use]
pub fn unknown_table(name: &str) -> Option<(String, String)> {
    if TABLES.contains(&name) || name.starts_with("x-") {
        return None;
    }
    let meant = nearest(name, TABLES).map(|table| format!("is `[{table}]` meant? ")).unwrap_or_default();
    Some((format!("no tool knows the table `{}`", printable(name)), format!("{meant}{KNOWN}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_table_is_told_with_the_nearest() {
        for (name, meant) in [("gcctll", "gcctl"), ("extras", "extra"), ("pkg-cache", "pkgcache")] {
            let (message, help) = unknown_table(name).unwrap();
            assert!(message.contains(name) && help.starts_with(&format!("is `[{meant}]` meant? there are ")));
        }
        let (_, help) = unknown_table("something").unwrap();
        assert!(help.starts_with("there are "), "{help}");
        assert!(TABLES.iter().chain(&["x-mine"]).all(|name| unknown_table(name).is_none()));
    }

    #[test]
    fn all_tables_are_named() {
        for name in TABLES {
            assert!([format!("[{name}]"), format!("[{name}.")].iter().any(|it| KNOWN.contains(it)), "{name}");
        }
    }
}
