//! What the shell of a step is told of clients that have neither a variable nor a settings file: a
//! vendor's index of wheels, which commands name by its URL, and Ollama.
//!
//! A vendor's URL in a step becomes a variable with that URL as its default, and variables that
//! have it get the cache's. `ollama pull` becomes a function: it pulls by a name that has the cache
//! in it, and gives the model its own name.
//!
//! Limit: the shell of the step itself is told, and no other that it starts (`sh -c`), nor what a
//! file of requirements names. `ollama run` of a model that is not there yet goes past the cache.

use std::fmt::Write;

/// A vendor's index of wheels, such as torch's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vendor {
    /// Its own URL, without a `/` at its end.
    url: String,
    /// The same at the cache.
    at: String,
}

/// A registry of Ollama's models, as the cache mirrors it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Models {
    /// Its host, with a port where it has one.
    registry: String,
    /// The cache's: `HOST:PORT`.
    authority: String,
}

/// Whether no shell, and no pattern of sed's, could take it for something else than letters.
fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || ":/._~%+-".contains(c))
}

impl Vendor {
    /// `None` where a shell could misread one of the URLs.
    #[must_use]
    pub fn new(url: &str, at: &str) -> Option<Self> {
        let [url, at] = [url, at].map(|it| it.trim_end_matches('/').to_owned());
        (is_plain(&url) && is_plain(&at)).then_some(Self { url, at })
    }

    /// What a variable has at the cache that has the vendor's URL; `None` for any other value.
    #[must_use]
    pub fn led(&self, value: &str) -> Option<String> {
        (value.trim_end_matches('/') == self.url).then(|| format!("{}/", self.at))
    }

    /// Whether the text begins with its URL.
    fn begins(&self, text: &str) -> bool {
        let goes_on = |c: char| c.is_ascii_alphanumeric() || "._~%+-".contains(c);
        text.strip_prefix(self.url.as_str()).is_some_and(|rest| !rest.starts_with(goes_on))
    }

    fn is_in(&self, text: &str) -> bool {
        text.match_indices(&self.url).any(|(at, _)| text.get(at..).is_some_and(|rest| self.begins(rest)))
    }
}

impl Models {
    /// `None` where a shell could misread one of the names.
    #[must_use]
    pub fn new(registry: &str, authority: &str) -> Option<Self> {
        let (registry, authority) = (registry.to_owned(), authority.to_owned());
        (is_plain(&registry) && is_plain(&authority)).then_some(Self { registry, authority })
    }

    /// The function, on one line. `real` is how its text calls Ollama itself: as words of the
    /// shell.
    #[must_use]
    pub fn function(&self, real: &str) -> String {
        let Self { registry, authority } = self;
        format!(
            "ollama() {{ if [ \"$1\" != pull ]; then {real} \"$@\"; return; fi; \
             larder_model=; for larder_word in \"$@\"; do case $larder_word in pull|-*) ;; *) larder_model=$larder_word ;; esac; done; \
             case $larder_model in \
             {registry}/*/*) larder_at=${{larder_model#*/}} ;; \
             */*/*|'') {real} \"$@\"; return ;; \
             */*) larder_at=$larder_model ;; \
             *) larder_at=library/$larder_model ;; esac; \
             larder_at={authority}/$larder_at; \
             {real} pull --insecure \"$larder_at\" && {real} cp \"$larder_at\" \"$larder_model\" \
             && {real} rm \"$larder_at\"; }};"
        )
    }
}

/// How a function of that name calls the program.
pub(super) const REAL: &str = "command ollama";

/// What tells a shell of the vendors, on one line.
#[must_use]
pub(super) fn variables(vendors: &[Vendor]) -> String {
    let mut text = String::new();
    for (number, Vendor { url, at }) in vendors.iter().enumerate() {
        let pattern = url.replace('.', "[.]");
        let _ = write!(
            text,
            "LARDER_INDEX_{number}={at}; export LARDER_INDEX_{number}; \
             eval \"$(env | sed -n 's#^\\([A-Za-z_][A-Za-z0-9_]*\\)={pattern}/\\{{0,1\\}}$#export \\1={at}/#p')\"; "
        );
    }
    text.trim_end().to_owned()
}

/// The text of a step's shell with variables in the place of vendors' URLs, and whether one stands
/// where the shell expands nothing.
#[must_use]
pub(super) fn with_variables(text: &str, vendors: &[Vendor]) -> (String, bool) {
    let mut written = Written { text: String::with_capacity(text.len()), quote: None, is_left: false };
    for line in text.split_inclusive('\n') {
        // The builder takes a comment within a step away before the shell comes to it.
        if line.trim_start().starts_with('#') {
            written.text.push_str(line);
        } else {
            written.take(line, vendors);
        }
    }
    (written.text, written.is_left)
}

struct Written {
    text: String,
    /// The quote that is open.
    quote: Option<char>,
    is_left: bool,
}

impl Written {
    fn take(&mut self, line: &str, vendors: &[Vendor]) {
        let mut rest = line;
        while let Some(c) = rest.chars().next() {
            let named = vendors.iter().enumerate().filter(|(_, vendor)| vendor.begins(rest));
            let mut taken = c.len_utf8();
            if let Some((number, Vendor { url, .. })) = named.max_by_key(|(_, vendor)| vendor.url.len()) {
                taken = url.len();
                if self.quote == Some('\'') {
                    self.is_left = true;
                } else {
                    let _ = write!(self.text, "${{LARDER_INDEX_{number}:-{url}}}");
                    rest = rest.get(taken..).unwrap_or_default();
                    continue;
                }
            }
            match (c, self.quote) {
                ('\\', None | Some('"')) => taken += rest.chars().nth(1).map_or(0, char::len_utf8),
                ('\'' | '"', None) => self.quote = Some(c),
                (_, Some(own)) if own == c => self.quote = None,
                _ => {}
            }
            let (head, tail) = rest.split_at_checked(taken).unwrap_or((rest, ""));
            self.text.push_str(head);
            rest = tail;
        }
    }
}

/// Whether the text names one of the vendors.
#[must_use]
pub(super) fn names_a_vendor(text: &str, vendors: &[Vendor]) -> bool {
    vendors.iter().any(|vendor| vendor.is_in(text))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn vendors() -> Vec<Vendor> {
        let vendor = |url: &str, at: &str| Vendor::new(url, at).unwrap();
        vec![
            vendor("https://t.example/whl/cpu/", "http://127.0.0.1:1/torch/"),
            vendor("https://t.example/whl", "http://127.0.0.1:1/all"),
        ]
    }

    fn sh(text: &str, folder: &std::path::Path) -> String {
        let path = format!("{}:/usr/bin:/bin", folder.display());
        let ran = Command::new("sh").args(["-c", text]).env_clear().env("PATH", path).output().unwrap();
        String::from_utf8(ran.stdout).unwrap() + &String::from_utf8(ran.stderr).unwrap()
    }

    #[test]
    fn a_url_in_a_step_is_a_variable_where_the_shell_expands_it() {
        let first = "${LARDER_INDEX_0:-https://t.example/whl/cpu}";
        let second = "${LARDER_INDEX_1:-https://t.example/whl}";
        for (text, expected, is_left) in [
            (" pip -i https://t.example/whl/cpu torch", format!(" pip -i {first} torch"), false),
            ("a \"https://t.example/whl/cpu/\"", format!("a \"{first}/\""), false),
            ("--index-url=https://t.example/whl/cu121 x", format!("--index-url={second}/cu121 x"), false),
            ("a 'https://t.example/whl/cpu'", "a 'https://t.example/whl/cpu'".to_owned(), true),
            ("x \\\n# it's\n https://t.example/whl", format!("x \\\n# it's\n {second}"), false),
            ("it\\'s https://t.example/whl", format!("it\\'s {second}"), false),
            (
                "https://t.example/whl2 https://t.example",
                "https://t.example/whl2 https://t.example".to_owned(),
                false,
            ),
        ] {
            assert_eq!(with_variables(text, &vendors()), (expected, is_left), "{text}");
        }
    }

    #[test]
    fn a_shell_goes_to_the_cache_where_it_is_told_and_to_the_vendor_where_not() {
        let folder = tempfile::tempdir().unwrap();
        let step = "A=https://t.example/whl/cpu B=https://t.example/whl/cpu/ C=x; export A B C";
        let asks = with_variables("echo https://t.example/whl/cpu/x; echo \"$A $B $D\"", &vendors()).0;
        let told = sh(&format!("{step}; {} {asks}", variables(&vendors())), folder.path());
        assert_eq!(
            told,
            "http://127.0.0.1:1/torch/x\nhttp://127.0.0.1:1/torch/ http://127.0.0.1:1/torch/ \n"
        );
        let untold = sh(&format!("{step}; {asks}"), folder.path());
        assert_eq!(
            untold,
            "https://t.example/whl/cpu/x\nhttps://t.example/whl/cpu https://t.example/whl/cpu/ \n"
        );
    }

    #[test]
    fn what_a_shell_could_misread_is_not_led() {
        for url in
            ["https://t.example/a'b", "https://t.example/$(x)", "https://t.example/a b", "https://[::1]/x"]
        {
            assert_eq!(Vendor::new(url, "http://127.0.0.1:1/t"), None, "{url}");
        }
        assert_eq!(Models::new("a;b", "127.0.0.1:1"), None);
    }

    #[test]
    fn ollama_pulls_through_the_cache_and_has_the_model_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        program(&folder.path().join("ollama"));
        let models = Models::new("r.example", "127.0.0.1:1").unwrap();
        let runs = |line: &str| sh(&format!("{} {line}", models.function(REAL)), folder.path());
        let through = |at: &str, name: &str| {
            format!(
                "<pull --insecure 127.0.0.1:1/{at}>\n<cp 127.0.0.1:1/{at} {name}>\n<rm 127.0.0.1:1/{at}>\n"
            )
        };
        for (line, expected) in [
            ("ollama pull tiny", through("library/tiny", "tiny")),
            ("ollama pull team/tiny:1b", through("team/tiny:1b", "team/tiny:1b")),
            (
                "(ollama pull --insecure r.example/team/tiny) & wait",
                through("team/tiny", "r.example/team/tiny"),
            ),
            ("ollama pull hub.example/a/b", "<pull hub.example/a/b>\n".to_owned()),
            ("ollama serve", "<serve>\n".to_owned()),
            ("ollama pull", "<pull>\n".to_owned()),
        ] {
            assert_eq!(runs(line), expected, "{line}");
        }
        // A pull that fails gives nothing a name, and fails the step.
        assert_eq!(runs("ollama pull bad; echo $?"), "<pull --insecure 127.0.0.1:1/library/bad>\n1\n");
    }

    /// Stands for Ollama: says what it is told to do.
    fn program(path: &std::path::Path) {
        use std::os::unix::fs::PermissionsExt;
        std::fs::write(path, "#!/bin/sh\necho \"<$*>\"\ncase $* in *bad) exit 1 ;; esac\n").unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
}
