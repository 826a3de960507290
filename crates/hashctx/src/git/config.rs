//! The few settings of a repository's own `config` that change what its files mean.
//!
//! Absent on purpose: the user's and the system's settings, and `include`. They differ between
//! machines, so no key may hang on them; git itself reads the object format from this one file
//! only.

/// What is looked for in a repository's `config`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Config {
    /// `extensions.objectFormat`, in lower case.
    pub(super) object_format: Option<String>,
    /// `extensions.refStorage`, in lower case.
    pub(super) ref_storage: Option<String>,
    /// Whether git writes CRLF into the work tree where the repository holds LF: `core.autocrlf` or
    /// `core.eol`.
    pub(super) writes_crlf: bool,
    /// `core.bare`: there is no work tree beside the repository.
    pub(super) bare: bool,
}

impl Config {
    /// Reads a `config` file. Lines that make no sense are passed over: git has refused them long
    /// before.
    pub(super) fn parse(bytes: &[u8]) -> Self {
        let mut config = Self::default();
        let mut section = String::new();
        let mut autocrlf = None;
        let mut eol = None;
        for line in String::from_utf8_lossy(bytes).lines() {
            let line = match header(line) {
                Some((name, rest)) => {
                    section = name;
                    rest
                }
                None => line.trim(),
            };
            let Some((key, value)) = setting(line) else { continue };
            match (section.as_str(), key.as_str()) {
                ("extensions", "objectformat") => config.object_format = Some(value),
                ("extensions", "refstorage") => config.ref_storage = Some(value),
                ("core", "bare") => config.bare = matches!(value.as_str(), "true" | "yes" | "on" | "1"),
                ("core", "autocrlf") => autocrlf = Some(value),
                ("core", "eol") => eol = Some(value),
                _ => {}
            }
        }
        config.writes_crlf = match autocrlf.as_deref() {
            Some("true" | "yes" | "on" | "1") => true,
            Some("input") => false,
            _ => eol.as_deref() == Some("crlf"),
        };
        config
    }
}

/// `[name]` in lower case, and what follows on the line. `[name "sub"]` is kept whole, so that it
/// equals nothing.
fn header(line: &str) -> Option<(String, &str)> {
    let (name, rest) = line.trim().strip_prefix('[')?.split_once(']')?;
    Some((name.trim().to_ascii_lowercase(), rest.trim()))
}

/// `key = value`, both in lower case, without comment and quotes. A key alone means `true`.
fn setting(line: &str) -> Option<(String, String)> {
    let line = line.split(['#', ';']).next()?.trim();
    let (key, value) = line.split_once('=').unwrap_or((line, "true"));
    let key = key.trim().to_ascii_lowercase();
    let value = value.trim().trim_matches('"').to_ascii_lowercase();
    (!key.is_empty()).then_some((key, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn writes_crlf(text: &str, expected: bool) {
        assert_eq!(Config::parse(text.as_bytes()).writes_crlf, expected, "{text}");
    }

    #[test]
    fn the_object_format_is_found_however_it_is_written() {
        for text in
            ["[extensions]\n\tobjectformat = sha256\n", "[Extensions] ObjectFormat=\"SHA256\" # new\n"]
        {
            assert_eq!(Config::parse(text.as_bytes()).object_format.as_deref(), Some("sha256"), "{text}");
        }
        assert_eq!(Config::parse(b"[extensions \"x\"]\nobjectformat = sha256\n").object_format, None);
    }

    #[test]
    fn autocrlf_wins_over_eol() {
        writes_crlf("[core]\n\tautocrlf = true\n", true);
        writes_crlf("[core]\n\tautocrlf\n", true);
        writes_crlf("[core]\n\teol = crlf\n", true);
        writes_crlf("[core]\n\tautocrlf = input\n\teol = crlf\n", false);
        writes_crlf("[core]\n\tautocrlf = false\n; autocrlf = true\n", false);
        writes_crlf("[other]\n\tautocrlf = true\n", false);
    }
}
