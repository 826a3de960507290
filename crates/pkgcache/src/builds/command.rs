//! A command that builds an image, and the same through the cache.

use camino::{Utf8Path, Utf8PathBuf};

use crate::builds::dockerfile::Rewritten;

/// Options of `docker build` and `podman build` that take no value.
const FLAGS: [&str; 28] = [
    "--compress",
    "--disable-compression",
    "--disable-content-trust",
    "--force-rm",
    "--http-proxy",
    "--identity-label",
    "--inherit-labels",
    "--layers",
    "--load",
    "--no-cache",
    "--no-hostname",
    "--no-hosts",
    "--omit-history",
    "--pull",
    "--pull-always",
    "--pull-never",
    "--push",
    "--quiet",
    "--rm",
    "--skip-unused-stages",
    "--squash",
    "--squash-all",
    "--stdin",
    "--stream",
    "--tls-verify",
    "--all-platforms",
    "--debug",
    "-D",
];

/// A command that builds an image.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own about the command")]
pub struct BuildCommand {
    words: Vec<String>,
    /// Where the options of the build begin.
    options: usize,
    /// Whether podman, or buildah, builds.
    pub podman: bool,
    /// Whether it is sure that BuildKit builds.
    pub buildx: bool,
    file: Option<(usize, String)>,
    context: Option<String>,
    has_network: bool,
    /// Whether no step is taken from the engine's own cache.
    pub from_scratch: bool,
}

impl BuildCommand {
    /// The command, if it builds an image.
    #[must_use]
    pub fn parse(words: &[String]) -> Option<Self> {
        let program = Utf8Path::new(words.first()?).file_name()?;
        let podman = matches!(program, "podman" | "buildah");
        if !podman && program != "docker" {
            return None;
        }
        let build = |word: &String| matches!(word.as_str(), "build" | "bud");
        let at = words.iter().position(build)?;
        // Only the engine's own options, and the names of its groups of commands, come before.
        let groups = |word: &String| matches!(word.as_str(), "buildx" | "image" | "builder");
        let before = words.get(1..at)?;
        let buildx = before.iter().any(|word| word == "buildx");
        let plain = before.iter().zip(std::iter::once(&words[0]).chain(before)).all(|(word, previous)| {
            word.starts_with('-') || groups(word) || (previous.starts_with('-') && !previous.contains('='))
        });
        let mut command = Self {
            words: words.to_vec(),
            options: at + 1,
            podman,
            buildx,
            file: None,
            context: None,
            has_network: false,
            from_scratch: false,
        };
        plain.then(|| command.read_options()).map(|()| command)
    }

    fn read_options(&mut self) {
        let mut at = self.options;
        while let Some(word) = self.words.get(at).cloned() {
            let value = self.words.get(at + 1).cloned();
            let (name, own) = word
                .split_once('=')
                .map_or((word.as_str(), None), |(name, own)| (name, Some(own.to_owned())));
            let long = name.starts_with("--");
            let short = !long && name.len() > 1 && name.starts_with('-');
            match name {
                "-f" | "--file" => self.file = own.clone().or(value).map(|file| (at, file)),
                "--network" => self.has_network = true,
                "--no-cache" => self.from_scratch = own.as_deref().is_none_or(|own| own != "false"),
                _ if !long && !short => self.context = Some(word.clone()),
                _ => {}
            }
            let attached = short && name.len() > 2;
            if attached && let Some(file) = name.strip_prefix("-f") {
                self.file = Some((at, file.to_owned()));
            }
            let alone = word.contains('=') || attached || name == "-q" || FLAGS.contains(&name);
            at += if (long || short) && !alone { 2 } else { 1 };
        }
    }

    /// Whether its context, or its Dockerfile alone, comes on standard input.
    #[must_use]
    pub fn reads_stdin(&self) -> bool {
        self.is_piped() || self.file().is_some_and(|file| file == "-")
    }

    fn is_piped(&self) -> bool {
        self.context.as_deref() == Some("-")
    }

    fn file(&self) -> Option<&str> {
        self.file.as_ref().map(|(_, file)| file.as_str())
    }

    /// The places that the Dockerfile may have in a context that comes on standard input.
    #[must_use]
    pub fn inner_dockerfiles(&self) -> Vec<String> {
        match self.file() {
            Some(file) => vec![file.to_owned()],
            None => self.usual().iter().map(|&name| name.to_owned()).collect(),
        }
    }

    fn usual(&self) -> &'static [&'static str] {
        if self.podman { &["Containerfile", "Dockerfile"] } else { &["Dockerfile"] }
    }

    /// The files here that its Dockerfile may be, the likeliest first. None where it comes from
    /// elsewhere.
    #[must_use]
    pub fn dockerfiles(&self) -> Vec<Utf8PathBuf> {
        match self.file() {
            Some("-") => return Vec::new(),
            // Podman looks for it here first.
            Some(file) if self.podman || !self.is_piped() => return vec![file.into()],
            _ => {}
        }
        let context = self.context.as_deref().unwrap_or(".");
        if self.is_piped() || context.contains("://") || context.starts_with("git@") {
            return Vec::new();
        }
        self.usual().iter().map(|name| Utf8Path::new(context).join(name)).collect()
    }

    /// The command with another Dockerfile, if one is given, and with secrets that lie in the
    /// folder under their names.
    #[must_use]
    pub fn through(&self, written: &Rewritten, file: Option<&Utf8Path>, folder: &Utf8Path) -> Vec<String> {
        let mut words: Vec<String> = self.words.iter().take(self.options).cloned().collect();
        words.extend(file.into_iter().flat_map(|file| ["--file".to_owned(), file.to_string()]));
        for secret in &written.secrets {
            words.extend(["--secret".to_owned(), format!("id={0},src={folder}/{0}", secret.id)]);
        }
        for (name, value) in &written.arguments {
            words.extend(["--build-arg".to_owned(), format!("{name}={value}")]);
        }
        if !self.has_network {
            words.extend(["--network".to_owned(), "host".to_owned()]);
        }
        let mut rest = self.words.iter().enumerate().skip(self.options);
        while let Some((at, word)) = rest.next() {
            match &self.file {
                Some((own, _)) if *own == at && file.is_some() => {
                    // Its value is the next word, unless it is in this one.
                    if matches!(word.as_str(), "-f" | "--file") {
                        rest.next();
                    }
                }
                _ => words.push(word.clone()),
            }
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<BuildCommand> {
        BuildCommand::parse(&text.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    fn paths(names: &[&str]) -> Vec<Utf8PathBuf> {
        names.iter().map(Utf8PathBuf::from).collect()
    }

    #[track_caller]
    fn means(text: &str, dockerfiles: &[&str]) {
        assert_eq!(parse(text).unwrap().dockerfiles(), dockerfiles, "{text}");
    }

    #[test]
    fn builds_are_known_and_so_is_their_dockerfile() {
        means("docker build .", &["./Dockerfile"]);
        means("/usr/bin/docker build -t a:1 --no-cache ctx", &["ctx/Dockerfile"]);
        means("docker build -f d/X -t a .", &["d/X"]);
        means("docker build -fd/X .", &["d/X"]);
        means("docker build --file=d/X .", &["d/X"]);
        means("docker buildx build --load -t a ctx", &["ctx/Dockerfile"]);
        means("docker --context remote image build ctx -q", &["ctx/Dockerfile"]);
        means("podman build -t a -v a:b ctx", &["ctx/Containerfile", "ctx/Dockerfile"]);
        means("docker build https://example.org/x.git", &[]);
        means("docker build -", &[]);
        means("docker build -f - .", &[]);
    }

    #[test]
    fn a_context_on_standard_input_keeps_its_dockerfile() {
        let of = |text: &str| parse(text).unwrap();
        for (text, reads, files) in [
            ("docker build -", true, &[][..]),
            ("docker build -f - .", true, &[]),
            ("docker build -f X -", true, &[]),
            ("podman build -f X -", true, &["X"]),
            ("docker build .", false, &["./Dockerfile"]),
        ] {
            assert_eq!((of(text).reads_stdin(), of(text).dockerfiles()), (reads, paths(files)), "{text}");
        }
        assert_eq!(of("docker build -f d/X -t a -").inner_dockerfiles(), ["d/X"]);
        assert_eq!(of("docker build -").inner_dockerfiles(), ["Dockerfile"]);
        assert_eq!(of("podman build -").inner_dockerfiles(), ["Containerfile", "Dockerfile"]);
        let written = Rewritten { arguments: vec![("A", "b".into())], ..Rewritten::default() };
        let through = of("docker build -f X -t a -").through(&written, None, "/t".into()).join(" ");
        assert_eq!(through, "docker build --build-arg A=b --network host -f X -t a -");
    }

    #[test]
    fn a_build_from_scratch_is_known() {
        for (text, from_scratch) in [
            ("docker build .", false),
            ("docker build --no-cache .", true),
            ("podman build --no-cache=true -t --no-cache .", true),
            ("docker build --no-cache=false .", false),
            ("docker build -t --no-cache .", false),
        ] {
            assert_eq!(parse(text).unwrap().from_scratch, from_scratch, "{text}");
        }
    }

    #[test]
    fn other_commands_are_not() {
        for text in ["docker run build", "docker compose build", "make build", "podman images", "docker"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_command_gets_another_dockerfile_and_secrets() {
        let secrets = vec![super::super::dockerfile::Secret { id: "larder-pip", text: String::new() }];
        let written = Rewritten { secrets, arguments: vec![("A", "b c".into())], ..Rewritten::default() };
        let through =
            |text: &str| parse(text).unwrap().through(&written, Some("/t/D".into()), "/t".into()).join(" ");
        assert_eq!(
            through("docker build -f X -t a ."),
            "docker build --file /t/D --secret id=larder-pip,src=/t/larder-pip --build-arg A=b c --network host -t a ."
        );
        assert_eq!(
            through("docker build --network none --file=X ."),
            "docker build --file /t/D --secret id=larder-pip,src=/t/larder-pip --build-arg A=b c --network none ."
        );
    }
}
