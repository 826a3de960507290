//! Settings of the form `[section]`, `key = value`, as Python's configparser reads them.

/// A line of settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    /// The section, as it is written; empty before the first.
    pub(super) section: String,
    /// The key in lower case.
    pub(super) key: String,
    /// The value; further lines of it follow behind line ends.
    pub(super) value: String,
}

/// The settings of a text, in order. Lines that are none are passed over.
#[must_use]
pub(super) fn read(text: &str) -> Vec<Setting> {
    let mut settings: Vec<Setting> = Vec::new();
    let mut section = String::new();
    for line in text.trim_start_matches('\u{feff}').lines() {
        let content = line.trim();
        if content.is_empty() || content.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = content.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            name.clone_into(&mut section);
        } else if let (true, Some(last)) = (line.starts_with([' ', '\t']), settings.last_mut()) {
            last.value.push('\n');
            last.value.push_str(content);
        } else if let Some((key, value)) = content.split_once(['=', ':']) {
            let key = key.trim().to_ascii_lowercase();
            settings.push(Setting { section: section.clone(), key, value: value.trim().to_owned() });
        }
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_may_go_on_in_further_lines() {
        let text = "; c\n[global]\nIndex-URL = https://a.example/simple\nextra-index-url: https://b.example/x\n   https://c.example/y\n  # no\n[install]\nno-index = yes\nnothing\n";
        let found: Vec<_> = read(text).into_iter().map(|it| (it.section, it.key, it.value)).collect();
        let expected = [
            ("global", "index-url", "https://a.example/simple"),
            ("global", "extra-index-url", "https://b.example/x\nhttps://c.example/y"),
            ("install", "no-index", "yes"),
        ];
        assert_eq!(found, expected.map(|(a, b, c)| (a.to_owned(), b.to_owned(), c.to_owned())));
    }
}
