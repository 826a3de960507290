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
                "-f" | "--file" => self.file = own.or(value).map(|file| (at, file)),
                "--network" => self.has_network = true,
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

    /// The Dockerfiles that it may mean, the likeliest first. None where it comes from elsewhere
    /// than a folder.
    #[must_use]
    pub fn dockerfiles(&self) -> Vec<Utf8PathBuf> {
        if let Some((_, file)) = &self.file {
            return if file == "-" { Vec::new() } else { vec![file.into()] };
        }
        let context = self.context.as_deref().unwrap_or(".");
        if context == "-" || context.contains("://") || context.starts_with("git@") {
            return Vec::new();
        }
        let names: &[&str] = if self.podman { &["Containerfile", "Dockerfile"] } else { &["Dockerfile"] };
        names.iter().map(|name| Utf8Path::new(context).join(name)).collect()
    }

    /// The command with another Dockerfile, whose secrets lie in the folder under their names.
    #[must_use]
    pub fn through(&self, written: &Rewritten, file: &Utf8Path, folder: &Utf8Path) -> Vec<String> {
        let mut words: Vec<String> = self.words.iter().take(self.options).cloned().collect();
        words.extend(["--file".to_owned(), file.to_string()]);
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
                Some((own, _)) if *own == at => {
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
            |text: &str| parse(text).unwrap().through(&written, "/t/D".into(), "/t".into()).join(" ");
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
